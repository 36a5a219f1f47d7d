"""Time `convnext_dcls_tiny` beside timm's `convnext_tiny` and the authors' layers on this CPU.

python benchmarks/backbones.py [--threads 1] [--seconds 60]

Three models are timed by turns in one process: this package's, in channels_last; timm's ConvNeXt;
and the same with the layers of the authors' package `dcls` 0.1.1 (which comes with the `test`
extra) in place of its depthwise convolutions, positions shared within a stage. All positions are
drawn uniformly over the 17x17 kernel, so that no kernel could be cropped. Printed are medians of
inference at batch 1 and 8 and of a training step (loss, gradients, AdamW) at batch 8, their
quartiles, what the others take of the time here, and the peak memory of a training step.
"""

import argparse
import logging
import statistics
from collections.abc import Callable

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

import dcls
from tasks.benchmark.memory import peak_bytes
from tasks.benchmark.models import spread_positions
from tasks.benchmark.timing import burst_length, time_by_turns, using_threads, warm_up

CPU = torch.device("cpu")
POINTS = 34
SIDE = 17
Step = Callable[[], None]


def build_models() -> dict[str, nn.Module]:
    here = dcls.create_backbone("convnext_dcls_tiny").to(memory_format=torch.channels_last)
    spread_positions(here, seed=0)
    return {"here": here, "timm": timm.create_model("convnext_tiny"), "authors": authors_model()}


def authors_model() -> nn.Module:
    """A ConvNeXt of timm with the authors' layers."""
    logging.disable(logging.WARNING)  # each layer tells that it has no CUDA operator
    from DCLS.construct.modules import Dcls2d

    model = timm.create_model("convnext_tiny")
    for stage in model.stages:
        layers = []
        for block in stage.blocks:
            channels = block.conv_dw.in_channels
            block.conv_dw = Dcls2d(
                channels,
                channels,
                kernel_count=POINTS,
                padding=SIDE // 2,
                dilated_kernel_size=SIDE,
                groups=channels,
                version="v0",
            )
            layers.append(block.conv_dw)
        nn.init.uniform_(layers[0].P, -(SIDE // 2), SIDE // 2)
        for layer in layers[1:]:
            layer.P = layers[0].P
    return model


def inference(model: nn.Module, images: Tensor) -> Step:
    def step() -> None:
        model.eval()
        with torch.inference_mode():
            model(images)

    return step


def training(model: nn.Module, images: Tensor) -> Step:
    optimizer = torch.optim.AdamW(model.parameters())
    labels = torch.arange(len(images))

    def step() -> None:
        model.train()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def compare(steps: dict[str, Step], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each model's steps."""
    bursts = {name: burst_length(warm_up(step, CPU)) for name, step in steps.items()}
    timings = time_by_turns(steps, bursts, CPU, seconds)
    return {name: [1e3 * t for own in r for t in own] for name, r in timings.rounds.items()}


def line(what: str, samples: dict[str, list[float]]) -> str:
    medians = {name: statistics.median(own) for name, own in samples.items()}
    cells = []
    for name, own in samples.items():
        low, _, high = statistics.quantiles(own, n=4)
        cells.append(f"{medians[name]:.0f} ({low:.0f} to {high:.0f})")
    ratios = [f"{medians[name] / medians['here']:.2f}" for name in ("timm", "authors")]
    return f"| {what} | {' | '.join([*cells, *ratios])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="per row of the table")
    options = parser.parse_args()
    torch.manual_seed(0)
    models = build_models()
    print("| milliseconds | here | timm | authors | timm / here | authors / here |")
    print("| --- | --- | --- | --- | --- | --- |")
    with using_threads(options.threads):
        for what, make, batch in (
            ("inference, batch 1", inference, 1),
            ("inference, batch 8", inference, 8),
            ("training step, batch 8", training, 8),
        ):
            images = torch.randn(batch, 3, 224, 224)
            last = images.contiguous(memory_format=torch.channels_last)
            steps = {n: make(m, last if n == "here" else images) for n, m in models.items()}
            print(line(what, compare(steps, options.seconds)), flush=True)
        peaks = [f"{peak_bytes(step, CPU) / 2**20:.0f}" for step in steps.values()]
    print(f"Peak MiB of a training step (here, timm, authors): {', '.join(peaks)}")


if __name__ == "__main__":
    main()
