"""From images to a label per pixel: whole or by windows, plain or averaged over views."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from tasks.errors import SettingError
from tasks.segmentation.model import Segmenter
from tasks.segmentation.windows import Size, resized_bands, slide_bands

Mode = Literal["whole", "slide"]
Augmentation = Literal["none", "flip", "ms_flip"]
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""Scales of `ms_flip`, relative to the evaluation's own size (arXiv 2201.03545)."""


def view_scales(tta: str) -> tuple[float, ...]:
    """The scales at which each image is to be read, given the test-time augmentation."""
    return SCALES if tta == "ms_flip" else (1.0,)


@dataclass(frozen=True)
class Inference:
    """How an image is labelled.

    Args:
        mode: the `whole` image at once, or `slide`: by overlapping windows.
        tta: `none`; `flip`: the mean of the probabilities of the image and its mirror image;
            `ms_flip`: likewise over six scales.
        crop: side of a window, pixels.
        stride: step of the windows.
        window_batch: windows of each image computed at a time.
    """

    mode: Mode = "whole"
    tta: Augmentation = "none"
    crop: int = 512
    stride: int = 341
    window_batch: int = 2

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise SettingError(f"eval={self.mode} does not exist; choose whole or slide.")
        if self.tta not in get_args(Augmentation):
            raise SettingError(f"tta={self.tta} does not exist; choose none, flip or ms_flip.")
        if not 1 <= self.stride <= self.crop or self.window_batch < 1:
            raise SettingError(
                f"task.inference: stride={self.stride} must lie between 1 and crop={self.crop}, "
                f"and window_batch={self.window_batch} be at least 1."
            )

    def without_augmentation(self) -> "Inference":
        """The same on one view of each image."""
        return replace(self, tta="none")

    def label(self, segmenter: Segmenter, views: Sequence[Tensor], size: Size) -> Tensor:
        """Label every pixel.

        Without augmentation memory is bounded by the windows and the width of the image; with it,
        by the probabilities of the whole result.

        Args:
            segmenter: in evaluation mode.
            views: the same images at each of `view_scales(tta)`: (N, 3, h, w), normalised.
            size: height and width of the result.

        Returns:
            (N, *size), int64.
        """
        if self.tta == "none":
            bands = self._bands(segmenter, views[0], size)
            return torch.cat([band.argmax(1) for band in bands], 1)
        total: Tensor | None = None
        for view in views:
            for mirrored in (False, True):
                images = view.flip(3) if mirrored else view
                bands = self._bands(segmenter, images, size)
                shares = torch.cat([band.float().softmax(1) for band in bands], 2)
                shares = shares.flip(3) if mirrored else shares
                total = shares if total is None else total.add_(shares)
        assert total is not None
        return total.argmax(1)

    def _bands(self, segmenter: Segmenter, images: Tensor, size: Size) -> Iterator[Tensor]:
        """Logits at the size of the result, in bands of rows."""
        if self.mode == "whole":
            bands: Iterator[Tensor] = iter([segmenter(images)])
        else:
            bands = slide_bands(segmenter, images, self.crop, self.stride, self.window_batch)
        return resized_bands(bands, (images.shape[2], images.shape[3]), size)
