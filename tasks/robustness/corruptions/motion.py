"""The blur of a straight motion, which fades along its way."""

import math

import cv2
import numpy as np

from tasks.robustness.corruptions.pixels import Picture, Values

Shifts = dict[tuple[int, int], float]


def line_blur(values: Picture | Values, radius: int, sigma: float, angle: float) -> Values:
    """Mean of shifted copies of `values` ((H, W) or (H, W, 3)), weighted by half a Gaussian.

    Args:
        values: what moves; beyond its border the outermost values go on.
        radius: half of the number of copies.
        sigma: standard deviation of the Gaussian, in copies.
        angle: direction of the motion in degrees, from the x axis towards the bottom.
    """
    height, width = values.shape[:2]
    shifts = _shifts(radius, sigma, angle, height, width)
    downs, rights = [down for down, _ in shifts], [right for _, right in shifts]
    top, left = max(0, -min(downs)), max(0, -min(rights))
    bottom, right = max(0, *downs), max(0, *rights)
    padded = cv2.copyMakeBorder(
        values.astype(np.float32), top, bottom, left, right, cv2.BORDER_REPLICATE
    )
    blurred = np.zeros(values.shape, np.float32)
    for (down, right), weight in shifts.items():
        row, column = top + down, left + right
        part = padded[row : row + height, column : column + width]
        cv2.scaleAdd(part, weight, blurred, blurred)
    return blurred


def _shifts(radius: int, sigma: float, angle: float, height: int, width: int) -> Shifts:
    """Where (down, right) the copies are read, and the weight of each place.

    The motion ends where it would leave the picture, and the weights beyond are lost, as in the
    package `imagecorruptions`; only pictures of less than about 40 pixels are that small.
    """
    count = 2 * radius + 1
    weights = np.exp(-0.5 * (np.arange(count) / sigma) ** 2)
    weights /= weights.sum()
    down, right = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    shifts: Shifts = {}
    for step, weight in enumerate(weights.tolist()):
        place = math.ceil(step * down - 0.5), math.ceil(step * right - 0.5)
        if abs(place[0]) >= height or abs(place[1]) >= width:
            break
        shifts[place] = shifts.get(place, 0.0) + weight
    return shifts
