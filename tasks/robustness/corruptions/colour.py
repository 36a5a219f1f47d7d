"""The corruptions of single colours: brightness, contrast and saturation.

The published code goes to hue, saturation and value and back. Hue is kept by all of them, so what
becomes of a channel depends on two or three bytes alone and is looked up.
"""

from functools import lru_cache

import numpy as np
from PIL import Image

from tasks.robustness.corruptions.pixels import FloatImage, Values, to_bytes
from tasks.robustness.corruptions.severities import Strength


def brightness(image: FloatImage, strength: Strength) -> FloatImage:
    """Raise the largest channel by a constant, and the others in proportion."""
    largest = _extremes(image)[0].astype(np.intp)
    largest <<= 8
    return _brightened(strength[0]).take(largest[..., None] + image)


@lru_cache(maxsize=5)
def _brightened(share: float) -> FloatImage:
    """New byte (65536,) of a channel, by the pixel's largest channel times 256 plus the channel."""
    gain = 255 * share
    largest = np.arange(256)[:, None]
    raised = np.minimum(largest + gain, 255)
    values = raised * np.arange(256) / np.maximum(largest, 1)
    values[0] = gain  # black has no proportions: it turns grey
    return to_bytes(values).ravel()


def contrast(image: FloatImage, strength: Strength) -> FloatImage:
    """Pull every channel towards its mean."""
    (kept,) = strength
    height, width = image.shape[:2]
    sums = image.reshape(height, -1).sum(axis=0, dtype=np.uint64).reshape(width, 3).sum(axis=0)
    table = np.arange(256)[:, None] * kept + sums / (height * width) * (1 - kept)
    return np.array(Image.fromarray(image).point(to_bytes(table).T.ravel().tolist()))


def saturate(image: FloatImage, strength: Strength) -> FloatImage:
    """Scale the saturation and raise it; a grey pixel counts as a pale red."""
    largest, smallest = _extremes(image)
    places = largest.astype(np.intp)
    places <<= 8
    places += smallest
    gap = largest[..., None] - image
    scale, raised = strength
    values = gap * -_spread(scale, raised).take(places)[..., None]
    values += largest[..., None]
    if raised:
        # Hue 0, red, is what the published code gives to pixels without one.
        grey = largest == smallest
        values[grey, 1:] = largest[grey, None] * np.float32(1 - raised)
    return to_bytes(values)


@lru_cache(maxsize=5)
def _spread(scale: float, raised: float) -> Values:
    """Factor (65536,) on distances to the largest channel, by that times 256 plus the smallest."""
    largest, smallest = np.arange(256.0)[:, None], np.arange(256.0)
    gap = np.maximum(largest - smallest, 1)
    saturation = np.clip(gap / np.maximum(largest, 1) * scale + raised, 0, 1)
    return np.asarray(saturation * largest / gap, np.float32).ravel()


def _extremes(image: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Largest and smallest channel (H, W) of every pixel."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    largest = np.maximum(np.maximum(red, green), blue)
    smallest = np.minimum(np.minimum(red, green), blue)
    return largest, smallest
