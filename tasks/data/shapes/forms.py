"""The forms that are drawn: ten classes, and fragments that belong to no class.

A form is a function of two planes `u` (to the right) and `v` (downwards) in its own units: it gives
the signed distance to its outline, negative inside, exact near the outline. Every form fits in
about the unit circle. Only operations that IEEE 754 rounds exactly are used (+, -, *, /, sqrt, min,
max), so an image is the same on every platform.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]  # float32 when it runs
Form = Callable[[Plane, Plane], Plane]


def _union(one: Plane, other: Plane) -> Plane:
    distance: Plane = np.minimum(one, other)
    return distance


def _common(one: Plane, other: Plane) -> Plane:
    distance: Plane = np.maximum(one, other)
    return distance


def _disc(u: Plane, v: Plane, radius: float) -> Plane:
    distance: Plane = np.sqrt(u * u + v * v)
    return distance - radius


def _box(u: Plane, v: Plane, half_width: float, half_height: float) -> Plane:
    return _common(np.abs(u) - half_width, np.abs(v) - half_height)


def circle(u: Plane, v: Plane) -> Plane:
    """A filled disc."""
    return _disc(u, v, 0.85)


def square(u: Plane, v: Plane) -> Plane:
    """A filled square."""
    return _box(u, v, 0.75, 0.75)


def triangle(u: Plane, v: Plane) -> Plane:
    """An equilateral triangle standing on its base."""
    v = v - 0.15
    return _common(v - 0.5, 0.866 * np.abs(u) - 0.5 * v - 0.5)


def star(u: Plane, v: Plane) -> Plane:
    """A five-pointed star: the plane is folded onto one half of one point."""
    u, v = np.abs(u), -v
    for nx, ny in ((0.809017, -0.587785), (-0.809017, -0.587785)):
        beyond = 2.0 * np.maximum(nx * u + ny * v, 0.0)
        u, v = u - nx * beyond, v - ny * beyond
    # From the tip (0, 1) to the notch (0.259, 0.356) between two points.
    return 0.928 * np.abs(u) + 0.3727 * (v - 1.0)


def cross(u: Plane, v: Plane) -> Plane:
    """Two crossed bars."""
    return _union(_box(u, v, 0.9, 0.28), _box(u, v, 0.28, 0.9))


def ring(u: Plane, v: Plane) -> Plane:
    """A circle with a wide hole."""
    return np.abs(_disc(u, v, 0.66)) - 0.22


def crescent(u: Plane, v: Plane) -> Plane:
    """A disc out of which another disc has bitten."""
    return _common(_disc(u, v, 0.92), -_disc(u - 0.45, v, 0.75))


def heart(u: Plane, v: Plane) -> Plane:
    """A square on its corner with a half disc on each upper side."""
    right, left = 0.70711 * (v + u) - 0.1, 0.70711 * (v - u) - 0.1
    lobes = _union(_disc(right, left + 0.5, 0.5), _disc(right + 0.5, left, 0.5))
    return _union(lobes, _box(right, left, 0.5, 0.5))


def arrow(u: Plane, v: Plane) -> Plane:
    """A shaft with a triangular head, pointing upwards."""
    head = _common(v - 0.05, 0.8 * np.abs(u) - 0.6 * v - 0.57)
    return _union(head, _box(u, v - 0.4, 0.25, 0.5))


def hourglass(u: Plane, v: Plane) -> Plane:
    """Two triangles that meet at their tips."""
    down = np.abs(v)
    return _common(down - 0.82, 0.76 * np.abs(u) - 0.65 * down - 0.06)


def streak(u: Plane, v: Plane) -> Plane:
    """A long thin bar."""
    return _box(u, v, 1.0, 0.16)


def ellipse(u: Plane, v: Plane) -> Plane:
    """A flat ellipse, far from a circle."""
    return 0.5 * _disc(u, 2.5 * v, 1.0)


def arc(u: Plane, v: Plane) -> Plane:
    """A quarter of a thin ring."""
    return _common(np.abs(_disc(u, v, 0.9)) - 0.12, _common(u, v))


def corner(u: Plane, v: Plane) -> Plane:
    """Two thin bars that meet at a right angle."""
    return _union(_box(u + 0.7, v, 0.14, 0.84), _box(u, v - 0.7, 0.84, 0.14))


CLASS_FORMS: Final[dict[str, Form]] = {
    form.__name__: form
    for form in (
        circle, square, triangle, star, cross, ring, crescent, heart, arrow, hourglass,
    )
}  # fmt: skip
CLASS_NAMES: Final[tuple[str, ...]] = tuple(CLASS_FORMS)
FRAGMENTS: Final[tuple[Form, ...]] = (streak, ellipse, arc, corner)
OCCLUDERS: Final[tuple[Form, ...]] = (streak, ellipse)
