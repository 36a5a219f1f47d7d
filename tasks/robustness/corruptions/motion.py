"""The blur of a straight motion, which fades along its way."""

import math

import numpy as np
import torch

from tasks.robustness.corruptions.pixels import FloatImage, Values, folded

Shifts = dict[tuple[int, int], float]


def line_blur(values: FloatImage | Values, radius: int, sigma: float, angle: float) -> Values:
    """Mean of shifted copies of `values` ((H, W) or (H, W, 3)), weighted by half a Gaussian.

    Args:
        values: what moves; beyond its border the outermost values go on, as in ImageMagick.
        radius: half of the number of copies.
        sigma: standard deviation of the Gaussian, in copies.
        angle: direction of the motion in degrees, from the x axis towards the bottom.
    """
    height, width = values.shape[:2]
    channels = values[0, 0].size
    shifts = _shifts(radius, sigma, angle)
    downs, rights = [down for down, _ in shifts], [right for _, right in shifts]
    top, left = min(0, *downs), min(0, *rights)
    padded = values.astype(np.float32)
    padded = padded.take(folded(top, height + max(0, *downs), height, "edge"), axis=0)
    padded = padded.take(folded(left, width + max(0, *rights), width, "edge"), axis=1)
    rows = torch.from_numpy(padded.reshape(padded.shape[0], -1))
    blurred = torch.zeros(height, width * channels)
    for (down, right), weight in shifts.items():
        row, column = down - top, (right - left) * channels
        blurred.add_(rows[row : row + height, column : column + width * channels], alpha=weight)
    return blurred.numpy().reshape(values.shape)


def _shifts(radius: int, sigma: float, angle: float) -> Shifts:
    """Where (down, right) the copies are read, and the weight of each place."""
    count = 2 * radius + 1
    weights = np.exp(-0.5 * (np.arange(count) / sigma) ** 2)
    weights /= weights.sum()
    down, right = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    shifts: Shifts = {}
    for step, weight in enumerate(weights.tolist()):
        place = math.ceil(step * down - 0.5), math.ceil(step * right - 0.5)
        shifts[place] = shifts.get(place, 0.0) + weight
    return shifts
