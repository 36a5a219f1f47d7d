"""The head that draws the masks of regions (arXiv 1703.06870)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from dcls.dtypes import widened
from tasks.detection.network.convolution import Convolution

POOLED = 14
"""Cells per side of the features of a region; its mask has twice as many."""
_CONVOLUTIONS = 4


class MaskHead(nn.Module):
    """Four convolutions, one that doubles the size, and a mask per class.

    Args:
        channels: of the features and of all layers.
        num_classes: K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            Convolution(channels, channels, 3, active=True) for _ in range(_CONVOLUTIONS)
        )
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.conv_logits = nn.Conv2d(channels, num_classes, 1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, K, 28, 28) of features (n, C, 14, 14)."""
        count = len(features)
        if features.device.type == "cpu":
            # oneDNN prepares and keeps a program for every shape: a new number of regions in each
            # step would cost time and a gigabyte in a hundred steps.
            features = F.pad(features, (0, 0, 0, 0, 0, 0, 0, _round_number(count) - count))
        for convolve in self.convs:
            features = convolve(features)
        logits: Tensor = self.conv_logits(torch.relu(self.upsample(features)))
        return logits[:count]

    def loss(self, logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy, the mean over all cells of the masks of the true classes.

        Args:
            logits: (n, K, 28, 28).
            labels: (n,).
            targets: (n, 28, 28), 0 or 1.
        """
        if not len(logits):
            return logits.sum()
        own = widened(logits[torch.arange(len(logits), device=logits.device), labels])
        return F.binary_cross_entropy_with_logits(own, targets.to(own))


def _round_number(count: int) -> int:
    """The least number with three binary digits and zeros behind them that is not below."""
    step = 1 << max(0, count.bit_length() - 3)
    return -(-count // step) * step


def mask_targets(masks: Tensor, which: Tensor, regions: Tensor) -> Tensor:
    """The part of a mask that lies in each region, at the size of the head's masks, 0 or 1.

    Args:
        masks: (k, H, W), uint8, of the objects of one image.
        which: (n,), index of the mask of each region.
        regions: (n, 4).

    Returns:
        (n, 28, 28), of the type of `regions`.
    """
    if not len(regions):
        return regions.new_zeros(0, 2 * POOLED, 2 * POOLED)
    placed = torch.cat([which[:, None].to(regions), regions], 1)
    cut: Tensor = roi_align(masks[:, None].to(regions), placed, 2 * POOLED, 1.0, -1, aligned=True)
    return (cut[:, 0] >= 0.5).to(regions)
