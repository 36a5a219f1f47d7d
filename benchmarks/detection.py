"""Heads and post-processing of Mask R-CNN beside torchvision's, in one process.

    python benchmarks/detection.py --repeats 5

Both sides get the same maps of a feature pyramid, the same weights and images of the same size;
measured is everything behind the pyramid: proposals, heads, suppression, and masks pasted into the
image. torchvision rounds anchors, samples regions more coarsely and has the background first, so
that detections are alike but not equal.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import roi_align

import dcls
from tasks.detection.network.cell_sums import align_by_sums
from tasks.detection.network.detector import Detector
from tasks.detection.network.paste import pasted
from tasks.detection.network.settings import PUBLISHED

CLASSES = 80


def main() -> None:
    options = _options()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    size = (options.height, options.width)
    theirs, ours = _models()
    maps = [
        torch.randn(1, 256, -(-size[0] // stride), -(-size[1] // stride)).contiguous(
            memory_format=torch.channels_last
        )
        for stride in (4, 8, 16, 32, 64)
    ]
    sides = {"here": _here(ours, maps, size), "torchvision": _torchvision(theirs, maps, size)}
    print(f"torch {torch.__version__}, {options.threads} threads, one image of {size[1]}x{size[0]}")
    found = {name: run() for name, run in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print("| what | here, s | torchvision, s | here / torchvision |")
    print("| --- | --- | --- | --- |")
    ratio = medians["here"] / medians["torchvision"]
    print(
        f"| behind the pyramid, {found['here']} and {found['torchvision']} detections "
        f"| {medians['here']:.2f} | {medians['torchvision']:.2f} | {ratio:.2f} |"
    )
    _print_regions()


def _print_regions() -> None:
    """RoIAlign alone: 500 regions of 256 channels, 7x7 bins, medians of 4 interleaved repeats."""
    maps = torch.randn(1, 256, 200, 272).contiguous(memory_format=torch.channels_last)
    print("| side, pixels | threads | here, ms | torchvision, ms | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for side in (10, 40, 80, 110):
        low = torch.rand(500, 2) * torch.tensor([1000.0, 700.0])
        extent = side * (0.5 + torch.rand(500, 2))
        regions = torch.cat([torch.zeros(500, 1), low, low + extent], 1)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(4):
                start = time.perf_counter()
                align_by_sums(maps, regions, 7, 0.25)
                middle = time.perf_counter()
                roi_align(maps, regions, 7, 0.25, -1, aligned=True)
                times[0].append(middle - start)
                times[1].append(time.perf_counter() - middle)
            ours, theirs = (1000 * statistics.median(part) for part in times)
            print(f"| {side} | {threads} | {ours:.0f} | {theirs:.0f} | {theirs / ours:.1f} |")


def _here(model: Detector, maps: list[Tensor], size: tuple[int, int]) -> Callable[[], int]:
    @torch.inference_mode()
    def run() -> int:
        logits, deltas = model.rpn_head(maps)
        proposals = model.rpn_head.propose(logits, deltas, [size])
        (found,) = model.roi_head.detect(maps, proposals, [size], [size])
        assert found.masks is not None
        masks = [torch.from_numpy(mask) for mask in pasted(found.masks, found.boxes, size)]
        return len(masks)

    return run


def _torchvision(model: nn.Module, maps: list[Tensor], size: tuple[int, int]) -> Callable[[], int]:
    images = ImageList(torch.zeros(1, 3, *size), [size])
    features = dict(zip(("0", "1", "2", "3", "pool"), maps, strict=True))

    @torch.inference_mode()
    def run() -> int:
        proposals, _ = model.rpn(images, features)
        found, _ = model.roi_heads(features, proposals, [size])
        found = model.transform.postprocess(found, [size], [size])
        return len(found[0]["masks"] >= 0.5)

    return run


def _models() -> tuple[nn.Module, Detector]:
    """Torchvision's model, and ours with its weights; random, but with a hundred detections."""
    theirs = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, box_detections_per_img=100
    ).eval()
    with torch.no_grad():
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(60)
    backbone = dcls.create_backbone("convnext_tiny", features=True)
    ours = Detector(backbone, CLASSES, PUBLISHED["mask_rcnn"]).eval()
    box, mask = theirs.roi_heads.box_head, theirs.roi_heads.mask_head
    heads = ours.roi_head
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (ours.rpn_head.rpn_conv, theirs.rpn.head.conv[0][0]),
        (ours.rpn_head.rpn_cls, theirs.rpn.head.cls_logits),
        (ours.rpn_head.rpn_reg, theirs.rpn.head.bbox_pred),
        (heads.box_heads[0].shared_fcs[0], box.fc6),
        (heads.box_heads[0].shared_fcs[1], box.fc7),
        *((own.conv, other[0]) for own, other in zip(heads.mask_heads[0].convs, mask, strict=True)),
        (heads.mask_heads[0].upsample, theirs.roi_heads.mask_predictor.conv5_mask),
    ]
    for own, other in pairs:
        own.load_state_dict(other.state_dict())
    _without_background(heads.box_heads[0].fc_cls, theirs.roi_heads.box_predictor.cls_score, 1)
    _without_background(heads.box_heads[0].fc_reg, theirs.roi_heads.box_predictor.bbox_pred, 4)
    logits = theirs.roi_heads.mask_predictor.mask_fcn_logits
    _without_background(heads.mask_heads[0].conv_logits, logits, 1)
    return theirs, ours


def _without_background(own: nn.Module, other: nn.Module, rows: int) -> None:
    """Copy weights whose first `rows` are the background's; ours has it last, or not at all."""
    for name, value in other.state_dict().items():
        moved = torch.cat([value[rows:], value[:rows]])
        target = own.get_parameter(name)
        target.data.copy_(moved[: len(target)])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--width", type=int, default=1088)
    return parser.parse_args()


if __name__ == "__main__":
    main()
