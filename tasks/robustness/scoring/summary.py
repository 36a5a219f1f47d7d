"""How robustness to corruptions is summed up (ImageNet-C, arXiv 1903.12261)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.robustness.corruptions import SEVERITIES

CLEAN_ALEXNET = 0.4348
"""Error of AlexNet on the clean validation set."""
ALEXNET: dict[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""Errors of AlexNet, the mean over the five severities, of the fifteen that count."""
ALEXNET_EXTRA: dict[str, float] = {
    "speckle_noise": 0.845388,
    "gaussian_blur": 0.787108,
    "spatter": 0.717512,
    "saturate": 0.658248,
}
"""Likewise, of the four that do not."""
Cells = Mapping[tuple[str, int], float]
"""A figure, 0 to 1, by corruption and severity."""


@dataclass(frozen=True)
class CorruptionSummary:
    """The figures of a set of cells; each is over the corruptions that have all five severities.

    Args:
        mce: mean of the errors divided by AlexNet's, 1 being AlexNet.
        mean_error: mean error.
        relative_mce: mean of what corruption adds to the clean error, divided by what it adds to
            AlexNet's; nan without a clean error.
        errors: mean error of each complete corruption.
        missing: the cells of the fifteen corruptions that have no figure; with any of them the
            three figures are not comparable with published ones.
    """

    mce: float
    mean_error: float
    relative_mce: float
    errors: dict[str, float]
    missing: tuple[tuple[str, int], ...]


def over_severities(cells: Cells, corruption: str) -> float:
    """Mean of a figure over the five severities; nan if one of them is missing."""
    return _mean(cells.get((corruption, severity), math.nan) for severity in SEVERITIES)


def corruption_summary(cells: Cells, clean_error: float | None) -> CorruptionSummary:
    """Sum up the cells of the fifteen corruptions; others are left out.

    Args:
        cells: errors.
        clean_error: of the same model on clean images, or None.
    """
    missing = tuple(
        (name, severity)
        for name in ALEXNET
        for severity in SEVERITIES
        if (name, severity) not in cells
    )
    broken = {name for name, _ in missing}
    errors = {name: over_severities(cells, name) for name in ALEXNET if name not in broken}
    relative = float("nan")
    if clean_error is not None:
        relative = _mean(
            (error - clean_error) / (ALEXNET[name] - CLEAN_ALEXNET)
            for name, error in errors.items()
        )
    return CorruptionSummary(
        mce=_mean(error / ALEXNET[name] for name, error in errors.items()),
        mean_error=_mean(errors.values()),
        relative_mce=relative,
        errors=errors,
        missing=missing,
    )


@dataclass(frozen=True)
class PerformanceSummary:
    """Performance of a dense task under corruption (arXiv 1907.07484).

    Args:
        clean: on clean images.
        mpc: mean performance under corruption, over the corruptions that are complete.
        rpc: `mpc` as a share of `clean`.
        missing: cells without a figure.
    """

    clean: float
    mpc: float
    rpc: float
    missing: tuple[tuple[str, int], ...]


def performance_summary(
    cells: Cells, clean: float, corruptions: Sequence[str] = tuple(ALEXNET)
) -> PerformanceSummary:
    """Mean performance under corruption, such as mIoU or box AP, and its share of the clean one.

    Args:
        cells: performance, the more the better.
        clean: on clean images.
        corruptions: those that count.
    """
    wanted = [(name, severity) for name in corruptions for severity in SEVERITIES]
    missing = tuple(cell for cell in wanted if cell not in cells)
    broken = {name for name, _ in missing}
    mpc = _mean(cells[cell] for cell in wanted if cell[0] not in broken)
    return PerformanceSummary(clean, mpc, mpc / clean if clean else float("nan"), missing)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else float("nan")
