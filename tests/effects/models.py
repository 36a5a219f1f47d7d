"""Settings of group `task`, and those that a task's file puts at the top."""

import torch

from effects.rows import Effect, Elsewhere, Exempt, Refused

NAMED = Exempt("names the composition: `dataset.tasks` and folders go by it, see dataset.tasks")


def no_channels_last(case):
    """Whether training and evaluation give the backbone plainly ordered images."""
    images = [one for stage in ("train", "test") for one in case.inputs(stage)]
    return [one.is_contiguous(memory_format=torch.channels_last) for one in images]


def monitors(case):
    """What picks the best checkpoint of the trainer."""
    return {one.monitor for one in case.job.trainer.checkpoint_callbacks} - {None}


def shapes_in_test(case):
    return [tuple(one.shape) for one in case.inputs("test")]


def auxiliary_head(case):
    return type(case.task.segmenter.auxiliary_head).__name__


def has_classifier_weights(case):
    return bool(case.task.segmenter.decode_head.conv_seg.weight.any())


MONITOR = Effect("val/chosen", monitors, expected={"val/chosen"})
CLS = {
    "task._target_": Refused("effects.nothing.Here", "effects.nothing.Here"),
    "task.name": NAMED,
    "task.shapes": Refused("tasks.segmentation.data.Shapes", "does not take the settings"),
    "task.features": Effect(True, lambda case: case.backbone.has_stage_norms, expected=True),
    "task.monitor": MONITOR,
    "task.channels_last": Effect(False, no_channels_last, expected=[False, False]),
    "task.mixing.mixup": Elsewhere(
        "test_training_step.py::test_images_and_targets_are_mixed_alike"
    ),
    "task.mixing.cutmix": Elsewhere(
        "test_training_step.py::test_images_and_targets_are_mixed_alike"
    ),
    "task.mixing.smoothing": Elsewhere(
        "test_training_step.py::test_images_and_targets_are_mixed_alike"
    ),
}

WINDOWS = {
    "eval": "slide",
    "task.inference.crop": 16,
    "task.inference.stride": 16,
    "task.inference.window_batch": 1,
    "dataset.counts.test": 1,
}
"""The image of 32 pixels in four windows."""
SLIDING = Effect(
    "slide",
    shapes_in_test,
    tasks=("seg",),
    expected=[(1, 3, 16, 16)] * 4,
    base={key: value for key, value in WINDOWS.items() if key != "eval"},
)
MIRRORED = Effect(
    "flip",
    shapes_in_test,
    tasks=("seg",),
    expected=[(1, 3, 32, 32)] * 2,
    base={"dataset.counts.test": 1},
)
VIEWS = Effect(
    "ms_flip",
    lambda case: len(case.batch("val")["scenes"][0]["views"]),
    expected=6,
    tasks=("seg",),
)
"""What the data set makes of the same setting."""
SEG = {
    "task._target_": CLS["task._target_"],
    "task.name": NAMED,
    "task.shapes": Refused("tasks.classification.data.Shapes", "does not take the settings"),
    "task.features": Effect(False, lambda case: case.backbone.has_stage_norms, expected=False),
    "task.monitor": MONITOR,
    "task.channels_last": Effect(False, no_channels_last, expected=[False, False]),
    "task.inference.crop": Effect(32, shapes_in_test, expected=[(1, 3, 32, 32)], base=WINDOWS),
    "task.inference.stride": Effect(8, shapes_in_test, expected=[(1, 3, 16, 16)] * 9, base=WINDOWS),
    "task.inference.window_batch": Effect(
        2, shapes_in_test, expected=[(2, 3, 16, 16)] * 2, base=WINDOWS
    ),
    "task.decode_head.type": Effect(
        "FCNHead", lambda case: type(case.task.segmenter.decode_head).__name__, expected="FCNHead"
    ),
    "task.decode_head.channels": Effect(
        12, lambda case: case.task.segmenter.decode_head.conv_seg.in_channels, expected=12
    ),
    "task.auxiliary_head.type": Effect("PSPHead", auxiliary_head, expected="PSPHead"),
    "task.auxiliary_head.channels": Effect(
        12, lambda case: case.task.segmenter.auxiliary_head.conv_seg.in_channels, expected=12
    ),
    "task.classifier_std": Effect(0.0, has_classifier_weights, expected=False),
}


def parts(case):
    """What a detector is made of: its box heads and its mask heads."""
    head = case.task.detector.roi_head
    return len(head.box_heads), len(head.mask_heads)


def channels(case):
    """Channels of the pyramid's maps."""
    parts = case.task.detector.neck.modules()
    return {part.out_channels for part in parts if hasattr(part, "out_channels")}


def regions(stage):
    """How many regions of one image the box head is given in a step of a stage."""

    def probe(case):
        with case.watching(case.task.detector.roi_head.bbox_head.shared_fcs[0]) as seen:
            case.step(stage)
        return len(seen[0])

    return probe


ONE_IMAGE = {"dataset.batch_size": 1}
DETECTOR = Effect("cascade_mask_rcnn", parts, expected=(3, 3), tasks=("det",))
CHANNELS = Effect(12, channels, expected={12})
WIDTH = Effect(
    24, lambda case: case.task.detector.roi_head.bbox_head.shared_fcs[0].out_features, expected=24
)
PROPOSALS = Effect(10, regions("test"), expected=10, base=ONE_IMAGE)
SAMPLES = Effect(6, regions("train"), expected=6, base=ONE_IMAGE)
DET = {
    "task._target_": CLS["task._target_"],
    "task.name": NAMED,
    "task.shapes": Refused("tasks.classification.data.Shapes", "does not take the settings"),
    "task.features": Effect(False, lambda case: case.backbone.has_stage_norms, expected=False),
    "task.monitor": MONITOR,
    "task.channels_last": Effect(False, no_channels_last, expected=[False, False]),
    "task.channels": CHANNELS,
    "task.width": WIDTH,
    "task.proposals": PROPOSALS,
    "task.samples": SAMPLES,
}

MODELS = {"cls": CLS, "seg": SEG, "det": DET, "robustness": CLS}
