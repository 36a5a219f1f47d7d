"""Colours of classes."""

import matplotlib as mpl
import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray

Palette = NDArray[np.uint8]
"""(classes, 3), RGB."""
_GOLDEN = 0.618034


def generic_palette(count: int) -> Palette:
    """Colours that can be told apart: those of matplotlib, for many classes hues far apart."""
    if count <= 21:
        # The strong colours of tab20 stand at even places, their pale versions at odd ones.
        listed = mpl.colormaps["tab20"]([*range(0, 20, 2), *range(1, 20, 2)])[:, :3]
        colours = np.concatenate([[(0.15, 0.15, 0.15)], listed])[:count]
    else:
        number = np.arange(count)
        hues = number * _GOLDEN % 1  # neighbours in the list lie far apart on the circle
        shades = np.stack([hues, 0.55 + 0.4 * (number % 2), 0.95 - 0.2 * (number % 3)], 1)
        colours = hsv_to_rgb(shades)
    return np.round(255 * colours).astype(np.uint8)
