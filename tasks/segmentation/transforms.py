"""From an image and its mask to bytes for the network, by mmsegmentation's own augmentations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.errors import SettingError
from tasks.segmentation.inference import view_scales
from tasks.segmentation.masks import Mask
from tasks.segmentation.model import IGNORED
from tasks.segmentation.openmmlab import (
    Compose,
    PhotoMetricDistortion,
    RandomCrop,
    RandomFlip,
    RandomResize,
    Resize,
    bgr2rgb,
    imrescale,
)

Image = NDArray[np.uint8]
"""(H, W, 3), BGR, as OpenCV reads it."""
_CROP_TRIES = 10


@dataclass(frozen=True)
class SegRecipe:
    """How images are resized, augmented and normalised.

    Args:
        image_size: side of the training crop; smaller images are padded.
        resize: longest and shortest side, ratio kept: of evaluation, and before `ratio_range`;
            None: images keep their size.
        ratio_range: smallest and largest random factor on `resize` in training, or None.
        max_class_share: a crop is drawn again, up to ten times, while one class fills more of it.
        flip: probability of a horizontal flip.
        distort: photometric distortion of brightness, contrast, saturation and hue.
        tta: test-time augmentation, which says at what scales evaluation reads an image.
        mean: per channel (RGB), of values in 0..1.
        std: per channel, likewise.
    """

    image_size: int
    resize: Sequence[int] | None
    ratio_range: Sequence[float] | None
    max_class_share: float
    flip: float
    distort: bool
    tta: str
    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        if self.image_size < 1 or not 0 < self.max_class_share <= 1:
            raise SettingError(
                f"dataset.image_size={self.image_size} must be at least 1, and "
                f"dataset.recipe.max_class_share={self.max_class_share} within (0, 1]."
            )
        if self.ratio_range is not None and self.resize is None:
            raise SettingError(
                f"dataset.recipe.ratio_range={self.ratio_range} scales dataset.recipe.resize, "
                "which is null. Set it, such as resize=[2048,512], or set ratio_range=null."
            )


class CountingCrop(RandomCrop):  # type: ignore[misc] # mmsegmentation has no types
    """mmsegmentation's random crop, the same crops, but pixels are counted without being sorted."""

    def crop_bbox(self, results: dict[str, Any]) -> tuple[int, int, int, int]:
        """Top, bottom, left and right of a crop in which no class has too large a share."""
        mask = results["gt_seg_map"]
        box = self._draw(mask)
        if self.cat_max_ratio < 1:
            for _ in range(_CROP_TRIES):
                counts = np.bincount(self.crop(mask, box).ravel(), minlength=IGNORED + 1)
                counts = counts[:IGNORED]
                # A crop of one class alone is drawn again, whatever its share.
                several = np.count_nonzero(counts) > 1
                if several and counts.max() / counts.sum() < self.cat_max_ratio:
                    break
                box = self._draw(mask)
        return box

    def _draw(self, mask: Mask) -> tuple[int, int, int, int]:
        height, width = self.crop_size
        top = np.random.randint(0, max(mask.shape[0] - height, 0) + 1)
        left = np.random.randint(0, max(mask.shape[1] - width, 0) + 1)
        return top, top + height, left, left + width


class TrainTransform:
    """Resize, crop, flip and distort an image together with its mask."""

    def __init__(self, recipe: SegRecipe) -> None:
        steps: list[Any] = []
        if recipe.resize is not None:
            scale = tuple(recipe.resize)
            ratio = recipe.ratio_range
            steps.append(
                Resize(scale=scale, keep_ratio=True)
                if ratio is None
                else RandomResize(scale=scale, ratio_range=tuple(ratio), keep_ratio=True)
            )
        side = recipe.image_size
        steps.append(CountingCrop(crop_size=(side, side), cat_max_ratio=recipe.max_class_share))
        if recipe.flip:
            steps.append(RandomFlip(prob=recipe.flip))
        if recipe.distort:
            steps.append(PhotoMetricDistortion())
        self._steps = Compose(steps)
        self._side = side

    def __call__(self, image: Image, mask: Mask) -> dict[str, Any]:
        """`image` (S, S, 3) uint8, `label` (S, S) uint8 and `size`, the part that is no padding."""
        done = self._steps(
            {
                "img": image,
                "gt_seg_map": mask,
                "seg_fields": ["gt_seg_map"],
                "img_shape": image.shape[:2],
            }
        )
        size = done["gt_seg_map"].shape
        pixels = as_rgb(done["img"])
        label = torch.from_numpy(np.ascontiguousarray(done["gt_seg_map"]))
        if min(size) < self._side:
            pixels, label = self._padded(pixels, 0), self._padded(label, IGNORED)
        return {"image": pixels, "label": label, "size": (size[0], size[1])}

    def _padded(self, content: Tensor, value: int) -> Tensor:
        """Content (h, w, ...) at the top left of a square of one value."""
        square = content.new_full((self._side, self._side, *content.shape[2:]), value)
        square[: content.shape[0], : content.shape[1]] = content
        return square


class EvalTransform:
    """Resize an image as evaluation does; its mask keeps its size."""

    def __init__(self, recipe: SegRecipe) -> None:
        self._resize = recipe.resize
        self._scales = view_scales(recipe.tta)

    def __call__(self, image: Image, mask: Mask) -> dict[str, Any]:
        """`views`: the image (h, w, 3), uint8, at each scale; `label` (H, W), uint8."""
        views = [as_rgb(self._scaled(image, scale)) for scale in self._scales]
        return {"views": views, "label": torch.from_numpy(mask)}

    def _scaled(self, image: Image, scale: float) -> Image:
        if self._resize is None and scale == 1.0:
            return image
        target: Any = scale
        if self._resize is not None:
            target = tuple(int(side * scale + 0.5) for side in self._resize)
        resized: Image = imrescale(image, target, interpolation="bilinear")
        return resized


def as_rgb(image: Image) -> Tensor:
    """BGR as an RGB tensor of bytes, (H, W, 3) both."""
    return torch.from_numpy(bgr2rgb(np.ascontiguousarray(image)))
