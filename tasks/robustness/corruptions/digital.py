"""Losses of resolution and of a codec, and elastic deformation."""

import io
from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image

from tasks.robustness.corruptions.pixels import (
    Picture,
    Values,
    gaussian_filter,
    gaussian_taps,
    to_bytes,
)

_ELASTIC = (
    (2.0, 0.7, 0.1),
    (2.0, 0.08, 0.2),
    (0.05, 0.01, 0.02),
    (0.07, 0.01, 0.02),
    (0.12, 0.01, 0.02),
)
_UNIT = 244 / 224


def pixelate(image: Picture, severity: int) -> Picture:
    """Shrink by means of boxes and enlarge by repeating pixels."""
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    height, width = image.shape[:2]
    small = max(1, int(width * share)), max(1, int(height * share))
    shrunk = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.array(shrunk.resize((width, height), Image.Resampling.NEAREST))


def jpeg_compression(image: Picture, severity: int) -> Picture:
    """Write and read the picture as a JPEG of low quality."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
    return np.array(Image.open(file))


def elastic_transform(image: Picture, severity: int, draws: Generator) -> Picture:
    """Move three corners at random, then every pixel along two smooth random fields.

    As in the code that made ImageNet-C, whose lengths are meant for a side of 224 (it says 244);
    here they grow with the shorter side. The package `imagecorruptions` has another algorithm.
    """
    height, width = image.shape[:2]
    side = _UNIT * min(height, width)
    strength, sigma, shift = (side * value for value in _ELASTIC[severity - 1])
    turned = _sheared(image, shift, draws)
    across, down = (
        _smooth(draws.random((height, width), np.float32) * 2 - 1, sigma) * np.float32(strength)
        for _ in range(2)
    )
    across += np.arange(width, dtype=np.float32)
    down += np.arange(height, dtype=np.float32)[:, None]
    moved = cv2.remap(turned, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return to_bytes(np.asarray(moved))


def _sheared(image: Picture, shift: float, draws: Generator) -> Values:
    """The affine image under which three corners of a middle square move by up to `shift`."""
    height, width = image.shape[:2]
    reach = max(1, min(height, width) // 3)
    middle = np.array([width // 2, height // 2])
    corners = (middle + np.array([[reach, reach], [reach, -reach], [-reach, -reach]])).astype(
        np.float32
    )
    moved = corners + draws.uniform(-shift, shift, corners.shape).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved)
    values = image.astype(np.float32)
    turned = cv2.warpAffine(values, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(turned, np.float32)


def _smooth(field: Values, sigma: float) -> Values:
    """A field (H, W) smoothed by a Gaussian of three standard deviations, its edges mirrored."""
    if 3 * sigma < min(field.shape) / 4:
        return gaussian_filter(field, sigma, 3.0, cv2.BORDER_REFLECT)
    # A Gaussian wider than the picture would be a thousand taps; as a matrix it is a side's worth.
    down, right = (_mirrored(length, sigma) for length in field.shape)
    return np.asarray(down @ field @ right.T, np.float32)


@lru_cache(maxsize=4)
def _mirrored(length: int, sigma: float) -> Values:
    """Matrix (length, length) of the Gaussian along a side whose mirror images go on for ever."""
    taps = gaussian_taps(sigma, 3.0)
    radius = len(taps) // 2
    places = np.arange(length)[:, None] + np.arange(-radius, radius + 1)
    folded = places % (2 * length)
    folded = np.minimum(folded, 2 * length - 1 - folded)
    matrix = np.zeros((length, length), np.float32)
    np.add.at(matrix, (np.arange(length)[:, None], folded), taps)
    return matrix
