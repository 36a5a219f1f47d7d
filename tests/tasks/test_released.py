"""Whole trainings against a plain loop, written after the authors' training code.

Source: `main.py`, `engine.py`, `optim_factory.py` of ConvNeXt-dcls and, for dense tasks, its
`mmcv_custom/layer_decay_optimizer_constructor.py`. The authors' average of weights is timm's.
"""

import math
from dataclasses import replace

import pytest
import torch
from builds import composed
from omegaconf import OmegaConf
from optimization import SETTINGS
from timm.utils import ModelEma
from torch.nn import functional as F
from torch.utils.data import DataLoader

import dcls
from tasks.data.loaders import Loading, TaskData
from tasks.engine.accumulation import drop_incomplete_step
from tasks.engine.task import Task
from tasks.engine.trainer import build_trainer

EPOCHS, BATCHES, ACCUMULATED = 3, 7, 3
LR, FLOOR, DECAY, AVERAGE = 0.02, 0.001, 0.05, 0.6
LAYER_DECAY, LAYERS = 0.7, 6
LIMIT = 8


def network():
    """In float64, two blocks share positions, of which some lie just within the border."""
    torch.manual_seed(0)
    model = dcls.create_backbone(
        "convnext_dcls_atto",
        num_classes=3,
        depths=(2, 1, 1, 1),
        dims=(4, 4, 8, 8),
        stem_stride=2,
        layer_scale=1.0,
    )
    far = model.stages[0][0].dwconv.P.data[..., ::2]
    far.copy_(7.9999 * far.sign())
    return model.double()


def batches():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(BATCHES, 2, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (BATCHES, 2), generator=generator)
    return [{"image": x, "label": y} for x, y in zip(images, labels, strict=True)]


class Small(Task):
    """A classifier; `dense` ones are clamped like segmentation and detection."""

    def __init__(self, optimization):
        super().__init__(optimization, "val/loss")
        self.backbone = network()

    def shared_step(self, batch, stage):
        return F.cross_entropy(self.backbone(batch["image"]), batch["label"])


class SmallClassifier(Small):
    clamps_as_released = True


class Batches(TaskData):
    class_names = ("a", "b", "c")

    def __init__(self):
        super().__init__("batches", Loading(batch_size=2, workers=0))

    def train_dataloader(self):
        return DataLoader(batches(), batch_size=None)


def trained(folder, recipe, dense, clip):
    """Raw and averaged weights of a training by this project, and its number of steps."""
    optimization = replace(
        SETTINGS,
        lr=LR,
        weight_decay=DECAY,
        warmup_epochs=1,
        min_lr=FLOOR,
        ema_decay=AVERAGE,
        positions=recipe,
        layer_decay=LAYER_DECAY if dense else 1.0,
        layer_scheme="stage_wise",
        layer_count=LAYERS,
    )
    task = (Small if dense else SmallClassifier)(optimization)
    settings = composed(
        "trainer=cpu",
        f"trainer.max_epochs={EPOCHS}",
        f"trainer.accumulate_grad_batches={ACCUMULATED}",
        f"trainer.gradient_clip_val={clip or 'null'}",
        "trainer.limit_val_batches=0",
        "trainer.precision=64-true",
    ).trainer
    trainer = build_trainer(OmegaConf.to_container(settings), task, folder, [], [])
    if optimization.as_released:
        drop_incomplete_step(trainer, BATCHES)
    trainer.fit(task, datamodule=Batches())
    saved = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    raw, average = (
        {name.removeprefix("backbone."): value for name, value in saved[part].items()}
        for part in ("current_model_state", "state_dict")
    )
    return raw, average, trainer.global_step


def rate_of(name, recipe, dense):
    """Factor of a parameter's rate."""
    factor = 5.0 if name.endswith(".P") and (recipe == "intended" or not dense) else 1.0
    if not dense:
        return factor
    head = LAYERS + 1
    if name.startswith("downsample_layers"):
        layer = 0
    elif name.startswith("stages"):
        layer = int(name.split(".")[1]) + 1
    else:
        layer = head
    return factor * LAYER_DECAY ** (head - layer)


def rates(steps_per_epoch):
    """One per step: linear from 0, then half a cosine."""
    warmup, total = steps_per_epoch, steps_per_epoch * EPOCHS
    rising = torch.linspace(0, LR, warmup, dtype=torch.float64).tolist()
    left = total - warmup
    falling = [FLOOR + (LR - FLOOR) * (1 + math.cos(math.pi * i / left)) / 2 for i in range(left)]
    return rising + falling


def optimizer_of(model, recipe, dense):
    groups = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim == 1 or name.endswith((".bias", ".P"))
        decay, scale = 0.0 if plain else DECAY, rate_of(name, recipe, dense)
        groups.append({"params": [parameter], "weight_decay": decay, "scale": scale})
    return torch.optim.AdamW(groups, lr=LR, betas=SETTINGS.betas, eps=SETTINGS.eps)


class OncePerTensor:
    """Our average: begins as the weights after the first step, and takes each tensor once."""

    def __init__(self, model):
        self.ema = None

    def update(self, model):
        now = {name: value.clone() for name, value in model.state_dict().items()}
        before = self.ema or now
        self.ema = {name: AVERAGE * before[name] + (1 - AVERAGE) * now[name] for name in now}
        if before is now:
            self.ema = now


def clamp(model):
    for name, parameter in model.named_parameters():
        if name.endswith(".P"):
            parameter.data.clamp_(-LIMIT, LIMIT)


def expected(recipe, dense, clip):
    """What `trained` must give, by a plain loop."""
    model, data = network(), batches()
    released = recipe == "released"
    average = ModelEma(model, decay=AVERAGE) if released else OncePerTensor(model)
    optimizer = optimizer_of(model, recipe, dense)
    whole = len(data) // ACCUMULATED
    schedule = iter(rates(whole if released else whole + 1))
    steps = 0
    for _ in range(EPOCHS):
        for index, batch in enumerate(data):
            if released and index // ACCUMULATED >= whole:
                continue
            loss = F.cross_entropy(model(batch["image"]), batch["label"])
            (loss / ACCUMULATED).backward()
            last = not released and index + 1 == len(data)
            if (index + 1) % ACCUMULATED and not last:
                continue
            rate = next(schedule)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
            steps += 1
            if released:
                average.update(model)
            if not (released and dense):
                clamp(model)
            if not released:
                average.update(model)
    averaged = average.ema.state_dict() if released else average.ema
    return model.state_dict(), averaged, steps


CASES = {
    "classification, released": ("released", False, None),
    "classification, released and clipped": ("released", False, 0.05),
    "dense, released": ("released", True, None),
    "classification, intended": ("intended", False, 0.05),
    "dense, intended": ("intended", True, None),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def both(request, tmp_path_factory):
    ours = trained(tmp_path_factory.mktemp("run"), *request.param)
    return request.param, ours, expected(*request.param)


def farthest(weights):
    return max(float(v.abs().max()) for name, v in weights.items() if name.endswith(".P"))


def test_as_many_steps_are_done(both):
    (recipe, *_), (*_, steps), (*_, wanted) = both
    assert steps == wanted == EPOCHS * (2 if recipe == "released" else 3)


def test_weights_and_positions_are_those_of_the_plain_loop(both):
    (recipe, dense, _), (raw, *_), (wanted, *_) = both
    torch.testing.assert_close(raw, wanted, rtol=1e-9, atol=1e-10)
    assert (farthest(wanted) > LIMIT) is (recipe == "released" and dense)  # the case is not empty


def test_the_average_is_that_of_the_plain_loop(both):
    (recipe, *_), (_, average, _), (_, wanted, _) = both
    torch.testing.assert_close(average, wanted, rtol=1e-9, atol=1e-10)
    assert (farthest(wanted) > LIMIT) is (recipe == "released")  # taken before the clamp
