"""What the corruptions work on, and the way back to bytes."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB, as Pillow reads it."""
Values = NDArray[np.float32]
"""(H, W, 3) or (H, W): the same on a scale of 0 to 255, before it is cut to bytes."""
_SHORTFALL = np.float32(1e-3)


def to_bytes(values: NDArray[np.floating[Any]]) -> Picture:
    """Cut to 0 .. 255 and drop the fraction, as the published code does (it never rounds).

    Float32 sums may end a hair below a whole level, which would cost that level: hence the excess.
    """
    picture: Picture = np.clip(values + _SHORTFALL, 0, 255).astype(np.uint8)
    return picture


def gaussian_taps(sigma: float, truncate: float) -> Values:
    """Weights (2r + 1,) of a Gaussian that ends `truncate` standard deviations from its middle."""
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps: Values = (weights / weights.sum()).astype(np.float32)
    return taps


def gaussian_filter(
    values: Picture | Values,
    sigma: float,
    truncate: float = 4.0,
    border: int = cv2.BORDER_REPLICATE,
) -> Values:
    """Values smoothed by a Gaussian, every channel alone; shapes are kept, float32."""
    taps = gaussian_taps(sigma, truncate)
    return np.asarray(
        cv2.sepFilter2D(values, cv2.CV_32F, taps, taps, borderType=border), np.float32
    )
