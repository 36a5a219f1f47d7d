"""Whether a classifier's confidence says how often it is right."""

import numpy as np
from numpy.typing import NDArray

from tasks.reporting.drawing import COLOURS, new_figure, styled
from tasks.reporting.page import Picture


@styled
def reliability_picture(
    counts: NDArray[np.float64], confidence: NDArray[np.float64], accuracy: NDArray[np.float64]
) -> Picture:
    """Accuracy against confidence in bins of equal width, and the share of images in each.

    Args:
        counts: images per bin of confidence, from 0 to 1.
        confidence: mean confidence in each bin; nan where it is empty.
        accuracy: share of right predictions in each bin; nan where it is empty.
    """
    edges = np.linspace(0, 1, len(counts) + 1)
    width = edges[1]
    middles = edges[:-1] + width / 2
    shares = counts / max(1.0, float(counts.sum()))
    figure, axes = new_figure(1, 2, 7.6, 3.2)
    reliability, histogram = axes[0]
    reliability.plot([0, 1], [0, 1], color="#8a94a3", linestyle="--", linewidth=1)
    reliability.bar(middles, np.nan_to_num(accuracy), 0.92 * width, color=COLOURS[5])
    reliability.plot(confidence, accuracy, "o", color=COLOURS[0], markersize=4)
    reliability.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    error = calibration_error(counts, confidence, accuracy)
    reliability.set_title(f"Reliability: error {error:.2%}")
    histogram.bar(middles, shares, 0.92 * width, color=COLOURS[0])
    histogram.set(xlabel="confidence", ylabel="share of images", xlim=(0, 1))
    histogram.set_title("Confidence")
    caption = (
        "On the dashed line a prediction is right as often as its confidence says. The dots stand "
        "at the mean confidence of their bin; the calibration error is their distance from the "
        "line, averaged over images."
    )
    return Picture("reliability", figure, "Reliability diagram", caption)


def calibration_error(
    counts: NDArray[np.float64], confidence: NDArray[np.float64], accuracy: NDArray[np.float64]
) -> float:
    """Expected calibration error (arXiv 1706.04599) of bins as in `reliability_picture`."""
    gaps = np.nan_to_num(np.abs(confidence - accuracy))
    return float((counts * gaps).sum() / max(1.0, float(counts.sum())))
