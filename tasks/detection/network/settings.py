"""What a detector is made of; the defaults are the published ones."""

from dataclasses import dataclass, replace
from typing import Literal

from tasks.detection.network.boxes import BoxCoder
from tasks.detection.network.matching import Matcher, Sampler
from tasks.errors import SettingError

Kind = Literal["faster_rcnn", "mask_rcnn", "cascade_mask_rcnn"]
_ANCHOR_MATCHER, _ANCHOR_SAMPLER = Matcher(0.7, 0.3, low_quality=0.3), Sampler(256, 0.5)
_REGION_SAMPLER = Sampler(512, 0.25)


@dataclass(frozen=True)
class ProposalSettings:
    """How proposals are picked from what the region proposal network finds.

    Args:
        per_level: best ones of each map before non-maximum suppression.
        total: best ones of an image behind it.
        overlap: IoU from which of two proposals of one map the worse is dropped.
    """

    per_level: int
    total: int
    overlap: float = 0.7

    def times(self, share: float) -> "ProposalSettings":
        """So many times as many proposals, at least one."""
        per_level, total = (max(1, round(n * share)) for n in (self.per_level, self.total))
        return replace(self, per_level=per_level, total=total)


@dataclass(frozen=True)
class RpnSettings:
    """The region proposal network and its training.

    Args:
        anchor_scale: side of an anchor in strides of its map.
        beta: where the smooth L1 loss becomes linear; 0: L1.
        inside_only: train only on anchors that lie wholly in the image.
        train: proposals in training.
        test: proposals otherwise.
        matcher: of anchors with objects.
        sampler: of anchors.
    """

    anchor_scale: float = 8.0
    beta: float = 0.0
    inside_only: bool = False
    train: ProposalSettings = ProposalSettings(2000, 1000)
    test: ProposalSettings = ProposalSettings(1000, 1000)
    matcher: Matcher = _ANCHOR_MATCHER
    sampler: Sampler = _ANCHOR_SAMPLER


@dataclass(frozen=True)
class StageSettings:
    """One stage of the box and mask heads: a cascade has three, the others one.

    Args:
        matcher: of proposals with objects.
        stds: of the box coder.
        weight: of the stage's losses.
    """

    matcher: Matcher
    stds: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    weight: float = 1.0

    @property
    def coder(self) -> BoxCoder:
        """The box coder of the stage."""
        return BoxCoder(self.stds)


@dataclass(frozen=True)
class BoxHeadSettings:
    """Layers and loss of the box heads.

    Args:
        convolutions: shared 3x3 ones with batch norm, before the fully connected layers.
        layers: fully connected ones.
        width: of those.
        decoded: boxes are trained by generalised IoU, with ten times the weight; else the deltas
            by L1.
    """

    convolutions: int = 0
    layers: int = 2
    width: int = 1024
    decoded: bool = False


@dataclass(frozen=True)
class DetectorSettings:
    """A detector as it was published.

    Args:
        channels: of the pyramid's maps and of all convolutions behind it.
        rpn: the region proposal network.
        stages: one, or the stages of a cascade.
        box_head: layers and loss of the box heads.
        masks: with a mask head.
        sampler: of proposals in training.
        score: least score of a detection.
        overlap: IoU from which of two detections of one class the worse is dropped.
        detections: the most per image.
    """

    channels: int = 256
    rpn: RpnSettings = RpnSettings()
    stages: tuple[StageSettings, ...] = (StageSettings(Matcher(0.5, 0.5)),)
    box_head: BoxHeadSettings = BoxHeadSettings()
    masks: bool = True
    sampler: Sampler = _REGION_SAMPLER
    score: float = 0.05
    overlap: float = 0.5
    detections: int = 100


PUBLISHED: dict[str, DetectorSettings] = {
    "faster_rcnn": DetectorSettings(masks=False),
    "mask_rcnn": DetectorSettings(stages=(StageSettings(Matcher(0.5, 0.5, low_quality=0.5)),)),
    "cascade_mask_rcnn": DetectorSettings(
        rpn=RpnSettings(beta=1 / 9, inside_only=True, train=ProposalSettings(2000, 2000)),
        stages=(
            StageSettings(Matcher(0.5, 0.5), (0.1, 0.1, 0.2, 0.2), 1.0),
            StageSettings(Matcher(0.6, 0.6), (0.05, 0.05, 0.1, 0.1), 0.5),
            StageSettings(Matcher(0.7, 0.7), (0.033, 0.033, 0.067, 0.067), 0.25),
        ),
        box_head=BoxHeadSettings(convolutions=4, layers=1, decoded=True),
    ),
}
"""Faster R-CNN (arXiv 1506.01497), Mask R-CNN (1703.06870) and Cascade Mask R-CNN (1906.09756) as
ConvNeXt (2201.03545) and DCLS-ConvNeXt (2112.03740) trained them in mmdetection."""


SIZES = ("channels", "width", "proposals", "samples")
"""Arguments of `sized`."""


def published(kind: str) -> DetectorSettings:
    """The settings of a detector by name.

    Raises:
        SettingError: no such detector.
    """
    if kind not in PUBLISHED:
        raise SettingError(f"detector={kind} does not exist; choose one of {', '.join(PUBLISHED)}.")
    return PUBLISHED[kind]


def sized(kind: str, channels: int, width: int, proposals: int, samples: int) -> DetectorSettings:
    """A published detector in another size.

    Args:
        kind: name of the detector.
        channels: of the pyramid and all convolutions (256 as published).
        width: of the fully connected layers (1024).
        proposals: per image, in evaluation (1000); in training in proportion.
        samples: proposals per image that are trained on (512).

    Raises:
        SettingError: no such detector, or a number below 1.
    """
    settings = published(kind)
    if min(channels, width, proposals, samples) < 1:
        raise SettingError(
            f"task.channels={channels}, task.width={width}, task.proposals={proposals} and "
            f"task.samples={samples} must be at least 1."
        )
    rpn, share = settings.rpn, proposals / settings.rpn.test.total
    return replace(
        settings,
        channels=channels,
        rpn=replace(rpn, train=rpn.train.times(share), test=rpn.test.times(share)),
        box_head=replace(settings.box_head, width=width),
        sampler=replace(settings.sampler, count=samples),
    )
