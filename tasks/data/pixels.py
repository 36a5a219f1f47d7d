"""Images as the network sees them: normalised on the device, from bytes."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, cast

import torch
from torch import Tensor, nn

from tasks.errors import SettingError

Size = tuple[int, int]


class Pixels(nn.Module):
    """Normalises images of bytes.

    Args:
        mean: per channel (RGB), of values in 0..1.
        std: per channel, likewise.
        channels_last: memory layout of the result.

    Raises:
        SettingError: if no finite number could come out.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], channels_last: bool = True
    ) -> None:
        super().__init__()
        _check(mean, std)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        scale = 1 / (255 * torch.tensor(list(std)))
        shift = -torch.tensor(list(mean)) / torch.tensor(list(std))
        self._dtype = torch.float32
        self._exact = {"scale": scale.view(1, -1, 1, 1), "shift": shift.view(1, -1, 1, 1)}
        for name, values in self._exact.items():
            self.register_buffer(name, values, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Pixels":
        # Converted only after normalisation: float64 networks must not see rounded pixels.
        cast(Any, super())._apply(fn, recurse)
        self._dtype = fn(torch.empty(0, dtype=self._dtype)).dtype
        for name, values in self._exact.items():
            setattr(self, name, values.to(getattr(self, name).device))
        return self

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> Tensor:
        """Normalised (N, 3, H, W), of the network's type, of bytes as they come from a file.

        Args:
            images: (N, H, W, 3), uint8, RGB.
            sizes: of each image, height and width of the part that is image; what is beyond was
                padded and becomes 0 after normalisation, as in mmsegmentation. None: all is image.
        """
        raw = images.permute(0, 3, 1, 2)  # channels_last, without a copy
        pixels = torch.addcmul(self.shift, raw.float(), self.scale)
        for image, (height, width) in zip(pixels, sizes or (), strict=False):
            image[:, height:] = 0
            image[:, :, width:] = 0
        return pixels.to(self._dtype).contiguous(memory_format=self.memory_format)


def _check(mean: Sequence[float], std: Sequence[float]) -> None:
    if not all(isfinite(value) for value in (*mean, *std)) or min(std) <= 0:
        raise SettingError(
            f"dataset.recipe.mean={list(mean)} must be finite and dataset.recipe.std={list(std)} "
            "above 0: images are normalised by (value - mean) / std, of values in 0..1."
        )
