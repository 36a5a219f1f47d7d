"""Losses of resolution and of a codec, and elastic deformation."""

import io

import numpy as np
from numpy.random import Generator
from PIL import Image

from tasks.robustness.corruptions.gaussian import gaussian_filter
from tasks.robustness.corruptions.pixels import FloatImage, Values, to_bytes
from tasks.robustness.corruptions.resampling import sampled
from tasks.robustness.corruptions.severities import Strength


def pixelate(image: FloatImage, strength: Strength) -> FloatImage:
    """Shrink by means of boxes and enlarge by repeating pixels."""
    (share,) = strength
    height, width = image.shape[:2]
    small = max(1, int(width * share)), max(1, int(height * share))
    shrunk = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.array(shrunk.resize((width, height), Image.Resampling.NEAREST))


def jpeg_compression(image: FloatImage, strength: Strength) -> FloatImage:
    """Write and read the image as a JPEG of low quality."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(strength[0]))
    return np.array(Image.open(file))


def elastic_transform(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Move three corners at random, then every pixel along two smooth random fields.

    As in the code that made ImageNet-C, whose lengths are meant for one size of images; here they
    grow with the shorter side. The package `imagecorruptions` has another algorithm.
    """
    height, width = image.shape[:2]
    reach, sigma, shift = (min(height, width) * share for share in strength)
    turned = _sheared(image, shift, draws)
    if not reach:
        return to_bytes(turned)
    across, down = (
        gaussian_filter(draws.random((height, width), np.float32) * 2 - 1, sigma, 3.0, "symmetric")
        * np.float32(reach)
        for _ in range(2)
    )
    across += np.arange(width, dtype=np.float32)
    down += np.arange(height, dtype=np.float32)[:, None]
    return to_bytes(sampled(turned, across, down, twice=True))


def _sheared(image: FloatImage, shift: float, draws: Generator) -> Values:
    """The affine image under which three corners of a middle square move by up to `shift`."""
    height, width = image.shape[:2]
    reach = max(1, min(height, width) // 3)
    middle = np.array([width // 2, height // 2])
    corners = middle + np.array([[reach, reach], [reach, -reach], [-reach, -reach]], np.float64)
    moved = corners + draws.uniform(-shift, shift, corners.shape).astype(np.float32)
    # for each pixel of the result, the place it comes from
    columns, rows, origin = np.linalg.solve(np.c_[moved, np.ones(3)], corners)
    x, y = np.arange(width), np.arange(height)[:, None]
    across, down = (columns[i] * x + (rows[i] * y + origin[i]) for i in range(2))
    return sampled(image.astype(np.float32), across, down, twice=False)
