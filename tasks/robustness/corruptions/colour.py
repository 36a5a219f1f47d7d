"""The corruptions of single colours: brightness, contrast and saturation.

The published code goes to hue, saturation and value and back. Hue is kept by all of them, so what
becomes of a channel depends on two or three bytes alone and is looked up.
"""

from functools import lru_cache

import cv2
import numpy as np

from tasks.robustness.corruptions.pixels import Picture, Values, to_bytes


def brightness(image: Picture, severity: int) -> Picture:
    """Raise the largest channel by a constant, and the others in proportion."""
    largest = _extremes(image)[0].astype(np.intp)
    largest <<= 8
    return _brightened(severity).take(largest[..., None] + image)


@lru_cache(maxsize=5)
def _brightened(severity: int) -> Picture:
    """New byte (65536,) of a channel, by the pixel's largest channel times 256 plus the channel."""
    gain = 255 * (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]
    largest = np.arange(256)[:, None]
    raised = np.minimum(largest + gain, 255)
    values = raised * np.arange(256) / np.maximum(largest, 1)
    values[0] = gain  # black has no proportions: it turns grey
    return to_bytes(values).ravel()


def contrast(image: Picture, severity: int) -> Picture:
    """Pull every channel towards its mean."""
    kept = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    means = np.array(cv2.mean(image)[:3])
    table = np.arange(256)[:, None] * kept + means * (1 - kept)
    return np.asarray(cv2.LUT(image, to_bytes(table)[None]), np.uint8)


def saturate(image: Picture, severity: int) -> Picture:
    """Scale the saturation and raise it; a grey pixel counts as a pale red."""
    largest, smallest = _extremes(image)
    places = largest.astype(np.intp)
    places <<= 8
    places += smallest
    gap = largest[..., None] - image
    values = gap * -_spread(severity).take(places)[..., None]
    values += largest[..., None]
    _, raised = _saturation(severity)
    if raised:
        # Hue 0, red, is what the published code gives to pixels without one.
        grey = largest == smallest
        values[grey, 1:] = largest[grey, None] * np.float32(1 - raised)
    return to_bytes(values)


def _saturation(severity: int) -> tuple[float, float]:
    return ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[severity - 1]


@lru_cache(maxsize=5)
def _spread(severity: int) -> Values:
    """Factor (65536,) on distances to the largest channel, by that times 256 plus the smallest."""
    scale, raised = _saturation(severity)
    largest, smallest = np.arange(256.0)[:, None], np.arange(256.0)
    gap = np.maximum(largest - smallest, 1)
    saturation = np.clip(gap / np.maximum(largest, 1) * scale + raised, 0, 1)
    return np.asarray(saturation * largest / gap, np.float32).ravel()


def _extremes(image: Picture) -> tuple[Picture, Picture]:
    """Largest and smallest channel (H, W) of every pixel."""
    red, green, blue = cv2.split(image)
    largest = cv2.max(cv2.max(red, green), blue)
    smallest = cv2.min(cv2.min(red, green), blue)
    return np.asarray(largest, np.uint8), np.asarray(smallest, np.uint8)
