"""Colours of classes."""

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

Palette = NDArray[np.uint8]
"""(classes, 3), RGB."""


def generic_palette(count: int) -> Palette:
    """Colours that can be told apart, as far as there are enough: matplotlib's, then a spectrum."""
    if count <= 21:
        # The strong colours of tab20 stand at even places, their pale versions at odd ones.
        listed = mpl.colormaps["tab20"]([*range(0, 20, 2), *range(1, 20, 2)])[:, :3]
        colours = np.concatenate([[(0.15, 0.15, 0.15)], listed])[:count]
    else:
        colours = mpl.colormaps["gist_ncar"](np.linspace(0.03, 0.97, count))[:, :3]
    return np.round(255 * colours).astype(np.uint8)
