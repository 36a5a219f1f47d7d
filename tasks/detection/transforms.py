"""From an image and its objects to bytes for the network, by torchvision's transforms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as ops

from tasks.detection.records import Size
from tasks.errors import SettingError

Content = dict[str, Any]
"""`image` (tv_tensors.Image), `boxes` (BoundingBoxes), `labels` and perhaps `masks` (Mask)."""
_JITTER = (0.1, 2.0)
_SMALLEST = 1.0
"""Objects of which less than so many pixels of a side are left after a crop are dropped."""


@dataclass(frozen=True)
class DetRecipe:
    """How images are resized, augmented and normalised.

    Args:
        resize: longest and shortest side, ratio kept, of evaluation; None: images keep their
            size, in training too.
        scales: shortest sides from which training draws, the longest one kept below that of
            `resize`.
        crop: half of the training images are first resized to a shortest side of `crop_scales`
            and cropped to sides within this range, as DETR does (arXiv 2005.12872); None: none.
        crop_scales: see `crop`.
        jitter: side of a square for large-scale jitter (arXiv 2012.07177) in place of `scales` and
            `crop`: images fill it 0.1 to 2 times and are cropped to it; None: off.
        flip: probability of a horizontal flip.
        mean: per channel (RGB), of values in 0..1.
        std: per channel, likewise.
    """

    resize: Sequence[int] | None
    scales: Sequence[int]
    crop: Sequence[int] | None
    crop_scales: Sequence[int]
    jitter: int | None
    flip: float
    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        if self.resize is not None and not 1 <= min(self.resize) <= max(self.resize):
            raise SettingError(
                f"dataset.recipe.resize={list(self.resize)} must hold the longest and the shortest "
                "side in pixels, such as [1333,800], or be null."
            )
        if self.resize is None or self.jitter is not None:
            return  # what follows is not used
        if not self.scales:
            raise SettingError(
                "dataset.recipe.scales is empty. Give the shortest sides of training images, "
                "such as [480,640,800], or dataset.recipe.resize=null."
            )
        if self.crop is not None and not self.crop_scales:
            raise SettingError(
                f"dataset.recipe.crop={list(self.crop)} needs dataset.recipe.crop_scales, the "
                "shortest sides before the crop, such as [400,500,600]; or set "
                "dataset.recipe.crop=null."
            )


class RandomSizedCrop(v2.Transform):  # type: ignore[misc] # torchvision is partly typed
    """A crop whose sides are drawn from a range, no larger than the image.

    Args:
        low: least side in pixels.
        high: largest side.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def make_params(self, flat_inputs: list[Any]) -> dict[str, int]:
        """Place and size of the crop, by torchvision's hook."""
        sides = v2.query_size(flat_inputs)
        height, width = (_within(min(s, self.low), min(s, self.high)) for s in sides)
        return {
            "top": _within(0, sides[0] - height),
            "left": _within(0, sides[1] - width),
            "height": height,
            "width": width,
        }

    def transform(self, inpt: Any, params: dict[str, int]) -> Any:
        """The crop of one input, by torchvision's hook."""
        return ops.crop(inpt, **params)


class RandomFitted(v2.Transform):  # type: ignore[misc]
    """A resize to a shortest side drawn from several, ratio kept.

    Args:
        scales: shortest sides in pixels.
        longest: the longest side at most.
    """

    def __init__(self, scales: Sequence[int], longest: int) -> None:
        super().__init__()
        self.scales = scales
        self.longest = longest

    def make_params(self, flat_inputs: list[Any]) -> dict[str, list[int]]:
        """The new size, by torchvision's hook."""
        height, width = v2.query_size(flat_inputs)
        shortest = self.scales[_within(0, len(self.scales) - 1)]
        return {"size": list(fitted((height, width), (self.longest, shortest)))}

    def transform(self, inpt: Any, params: dict[str, list[int]]) -> Any:
        """One input resized, by torchvision's hook."""
        return _resized(inpt, params["size"])


class RandomScale(v2.Transform):  # type: ignore[misc]
    """A resize, ratio kept, to a random multiple of what fits a square.

    Args:
        side: of the square in pixels.
        low: least factor.
        high: largest factor.
    """

    def __init__(self, side: int, low: float, high: float) -> None:
        super().__init__()
        self.side = side
        self.low = low
        self.high = high

    def make_params(self, flat_inputs: list[Any]) -> dict[str, list[int]]:
        """The new size, by torchvision's hook."""
        height, width = v2.query_size(flat_inputs)
        side = self.side * (self.low + (self.high - self.low) * float(torch.rand(())))
        return {"size": list(fitted((height, width), (side, side)))}

    def transform(self, inpt: Any, params: dict[str, list[int]]) -> Any:
        """One input resized, by torchvision's hook."""
        return _resized(inpt, params["size"])


class TrainTransform:
    """Flip, resize and crop an image together with its objects."""

    def __init__(self, recipe: DetRecipe) -> None:
        steps: list[Any] = [v2.RandomHorizontalFlip(recipe.flip)] if recipe.flip else []
        if recipe.jitter is not None:
            side = recipe.jitter
            steps += [RandomScale(side, *_JITTER), RandomSizedCrop(side, side)]
        elif recipe.resize is not None:
            steps.append(_multi_scale(recipe, max(recipe.resize)))
        steps += [v2.ClampBoundingBoxes(), v2.SanitizeBoundingBoxes(_SMALLEST)]
        self._steps = v2.Compose(steps)

    def __call__(self, content: Content) -> Content:
        """`image` (H, W, 3), uint8; `boxes` (k, 4), float32; `labels`; perhaps `masks`."""
        done: Content = self._steps(content)
        return _plain(done)


class EvalTransform:
    """Resize an image as evaluation does; its objects are not needed."""

    def __init__(self, recipe: DetRecipe) -> None:
        self._resize = recipe.resize

    def __call__(self, image: Tensor) -> Tensor:
        """(3, H, W) to (h, w, 3), uint8 both."""
        if self._resize is not None:
            size = fitted((image.shape[1], image.shape[2]), self._resize)
            image = ops.resize(image, list(size), antialias=False)
        return image.permute(1, 2, 0).contiguous()


def fitted(size: Size, resize: Sequence[float]) -> Size:
    """Size of an image, ratio kept, that neither exceeds longest side nor shortest side.

    Args:
        size: of the image.
        resize: longest and shortest side, in any order.
    """
    factor = min(max(resize) / max(size), min(resize) / min(size))
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    return height, width


def _multi_scale(recipe: DetRecipe, longest: int) -> v2.Transform:
    resized = RandomFitted(recipe.scales, longest)
    if recipe.crop is None:
        return resized
    low, high = recipe.crop
    cropped = [RandomFitted(recipe.crop_scales, longest), RandomSizedCrop(low, high)]
    return v2.RandomChoice([resized, v2.Compose([*cropped, resized])])


def _plain(content: Content) -> Content:
    plain = {
        "image": content["image"].as_subclass(Tensor).permute(1, 2, 0).contiguous(),
        "boxes": content["boxes"].as_subclass(Tensor).float(),
        "labels": content["labels"],
    }
    if "masks" in content:
        plain["masks"] = content["masks"].as_subclass(Tensor)
    return plain


def _resized(inpt: Any, size: list[int]) -> Any:
    if isinstance(inpt, tv_tensors.Mask):  # torchvision's own nearest pixel is off by half of one
        exact = ops.resize_image(inpt, size, interpolation=InterpolationMode.NEAREST_EXACT)
        return tv_tensors.wrap(exact, like=inpt)
    # OpenCV, with which the published models were trained, does not smooth before it shrinks.
    return ops.resize(inpt, size, antialias=False)


def _within(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))


def as_content(image: Tensor, boxes: Tensor, labels: Tensor, masks: Tensor | None) -> Content:
    """Tensors with what torchvision's transforms need to know of them.

    Args:
        image: (3, H, W), uint8.
        boxes: (k, 4), x0, y0, x1, y1 in pixels.
        labels: (k,).
        masks: (k, H, W), uint8, or None.
    """
    size = (image.shape[1], image.shape[2])
    kind: Literal["XYXY"] = "XYXY"
    content: Content = {
        "image": tv_tensors.Image(image),
        "boxes": tv_tensors.BoundingBoxes(boxes, format=kind, canvas_size=size),
        "labels": labels,
    }
    return content if masks is None else content | {"masks": tv_tensors.Mask(masks)}
