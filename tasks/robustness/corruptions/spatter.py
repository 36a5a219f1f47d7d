"""Drops of water and of mud on the lens."""

import numpy as np
from numpy.random import Generator

from tasks.opencv import require_cv2
from tasks.robustness.corruptions.gaussian import gaussian_filter
from tasks.robustness.corruptions.pixels import FloatImage, Values, to_bytes
from tasks.robustness.corruptions.severities import Strength

_WATER = np.array([175, 238, 238], np.float32)
_MUD = np.array([63, 42, 20], np.float32)
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def spatter(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Water at severities 1 to 3, mud at 4 and 5."""
    mean, spread, sigma, threshold, amount, mud = strength
    noise = draws.standard_normal(image.shape[:2], np.float32)
    noise *= np.float32(spread)
    noise += np.float32(mean)
    liquid = gaussian_filter(noise, sigma)
    liquid[liquid < threshold] = 0
    if not mud:
        shine = _shine((liquid * 255).astype(np.uint8))
        shine *= np.float32(amount / max(float(shine.max()), 1.0))
        return to_bytes(image + shine[..., None] * _WATER)
    cover = gaussian_filter((liquid > threshold).astype(np.float32), amount)
    cover[cover < 0.8] = 0
    return to_bytes(image * (1 - cover[..., None]) + cover[..., None] * _MUD)


def _shine(liquid: FloatImage) -> Values:
    """How bright the water is (H, W): embossed by the distance to its edges."""
    cv2 = require_cv2("corruption spatter")
    edges = cv2.Canny(liquid, 50, 150)
    distance = cv2.distanceTransform(cv2.bitwise_not(edges), cv2.DIST_L2, 5)
    near = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    embossed = cv2.filter2D(cv2.equalizeHist(near), cv2.CV_8U, _EMBOSS)
    return np.asarray(liquid * cv2.blur(embossed, (3, 3)).astype(np.float32), np.float32)
