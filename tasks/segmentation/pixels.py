"""Images as the network sees them: normalised on the device, from bytes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Pixels(nn.Module):
    """Normalises images of bytes.

    Args:
        mean: per channel (RGB), of values in 0..1.
        std: per channel, likewise.
        channels_last: memory layout of the result.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], channels_last: bool = True
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for name, values in (("mean", mean), ("std", std)):
            tensor = 255.0 * torch.tensor(list(values)).view(1, -1, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Normalised (N, 3, H, W), float32, of uint8 images.

        Args:
            images: (N, 3, H, W), uint8.
            sizes: (N, 2), height and width of the part that is image; what is beyond was padded
                and becomes 0 after normalisation, as in mmsegmentation. None: all is image.
        """
        pixels = images.to(memory_format=self.memory_format, dtype=torch.float32)
        pixels = (pixels - self.mean) / self.std
        if sizes is None:
            return pixels
        inside = [
            torch.arange(images.shape[axis + 2], device=images.device) < sizes[:, axis, None]
            for axis in (0, 1)
        ]
        mask = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return pixels * mask
