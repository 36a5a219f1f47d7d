"""Where the labels of boxes find room in an image."""

from collections.abc import Iterable, Iterator, Sequence

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1; y grows downwards."""
_ROOMY = 4
"""Boxes taller than so many lines may have their label inside."""


def place_labels(
    boxes: Sequence[Box], sizes: Sequence[tuple[float, float]], panel: Box
) -> list[Box | None]:
    """The place of the label of each box: at an edge of it, in the panel, apart from all others.

    Args:
        boxes: the first ones choose first.
        sizes: width and height of each label.
        panel: where labels may lie.

    Returns:
        A place per box, None where there is no room.
    """
    taken: list[Box] = []
    places: list[Box | None] = []
    for box, size in zip(boxes, sizes, strict=True):
        place = next((p for p in _candidates(box, size, panel) if _free(p, taken, panel)), None)
        places.append(place)
        if place is not None:
            taken.append(place)
    return places


def _candidates(box: Box, size: tuple[float, float], panel: Box) -> Iterator[Box]:
    """Above the box, else under its upper or lower edge; flush left, then right."""
    x0, y0, x1, y1 = box
    width, height = size
    inside = y1 - y0 > _ROOMY * height  # it would hide most of a small object
    for y in (y0 - height, y0, y1, y1 - height) if inside else (y0 - height, y1, y0):
        for x in (x0, x1 - width):
            left = min(max(x, panel[0]), panel[2] - width)
            yield left, y, left + width, y + height


def _free(place: Box, taken: Iterable[Box], panel: Box) -> bool:
    inside = panel[0] <= place[0] and panel[1] <= place[1]
    inside = inside and place[2] <= panel[2] + 1e-9 and place[3] <= panel[3] + 1e-9
    return inside and not any(
        place[0] < other[2] and other[0] < place[2] and place[1] < other[3] and other[1] < place[3]
        for other in taken
    )
