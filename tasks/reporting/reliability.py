"""Whether a classifier's confidence says how often it is right."""

import numpy as np

from tasks.reporting.calibration import BINS, ConfidenceBins
from tasks.reporting.drawing import COLOURS, new_figure, styled
from tasks.reporting.page import ReportFigure


@styled
def reliability_figure(bins: ConfidenceBins) -> ReportFigure:
    """Accuracy against confidence in bins of equal width, and the share of images in each."""
    edges = np.linspace(0, 1, BINS + 1)
    width = edges[1]
    middles = edges[:-1] + width / 2
    shares = bins.images / max(1.0, float(bins.images.sum()))
    figure, axes = new_figure(1, 2, 7.6, 3.2)
    reliability, histogram = axes[0]
    reliability.plot([0, 1], [0, 1], color="#8a94a3", linestyle="--", linewidth=1)
    reliability.bar(middles, np.nan_to_num(bins.bin_accuracy), 0.92 * width, color=COLOURS[5])
    reliability.plot(bins.bin_confidence, bins.bin_accuracy, "o", color=COLOURS[0], markersize=4)
    reliability.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    reliability.set_title(f"Reliability: error {bins.error:.2%}")
    histogram.bar(middles, shares, 0.92 * width, color=COLOURS[0])
    histogram.set(xlabel="confidence", ylabel="share of images", xlim=(0, 1))
    histogram.set_title("Confidence")
    caption = (
        "On the dashed line a prediction is right as often as its confidence says. The dots stand "
        "at the mean confidence of their bin; the calibration error is their distance from the "
        "line, averaged over images."
    )
    return ReportFigure("reliability", figure, "Reliability diagram", caption)
