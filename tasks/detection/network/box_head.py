"""The head that classifies and refines the boxes of regions."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dcls.dtypes import widened
from tasks.detection.network.boxes import BoxCoder, giou_loss
from tasks.detection.network.convolution import Convolution
from tasks.detection.network.settings import BoxHeadSettings
from tasks.detection.records import Size

POOLED = 7
"""Cells per side of the features of a region."""
_DECODED_WEIGHT = 10.0


@dataclass(frozen=True)
class BoxTargets:
    """What a head should say of the sampled regions of a batch, those with an object first.

    Args:
        labels: (n,), class of each region; the number of classes is the background.
        boxes: (p, 4), the true box of each region with an object.
        positive: (p,), indices of those regions.
    """

    labels: Tensor
    boxes: Tensor
    positive: Tensor


class BoxHead(nn.Module):
    """Convolutions and fully connected layers, then class logits and deltas per class.

    Args:
        channels: of the features.
        num_classes: K; the background is one more, the last.
        coder: of the deltas.
        settings: layers and loss.
    """

    def __init__(
        self, channels: int, num_classes: int, coder: BoxCoder, settings: BoxHeadSettings
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.coder = coder
        self.decoded = settings.decoded
        self.shared_convs = nn.ModuleList(
            Convolution(channels, channels, 3, norm=True, active=True)
            for _ in range(settings.convolutions)
        )
        widths = [channels * POOLED**2, *[settings.width] * settings.layers]
        self.shared_fcs = nn.ModuleList(
            nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)
        )
        self.fc_cls = nn.Linear(widths[-1], num_classes + 1)
        self.fc_reg = nn.Linear(widths[-1], 4 * num_classes)
        self._initialise()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, K + 1) and deltas (n, K, 4), float32 at least, of features (n, C, 7, 7)."""
        for convolve in self.shared_convs:
            features = convolve(features)
        hidden = features.flatten(1)
        for layer in self.shared_fcs:
            hidden = torch.relu(layer(hidden))
        deltas = self.fc_reg(hidden).view(-1, self.num_classes, 4)
        return widened(self.fc_cls(hidden)), widened(deltas)

    def losses(
        self, logits: Tensor, deltas: Tensor, regions: Tensor, targets: BoxTargets
    ) -> dict[str, Tensor]:
        """Losses by mmdetection's names; both are divided by the number of all regions.

        Args:
            logits: (n, K + 1).
            deltas: (n, K, 4).
            regions: (n, 4), from where the deltas lead.
            targets: what should have been said.
        """
        count = max(1, len(logits))
        positive = targets.positive
        own = deltas[positive, targets.labels[positive]]
        if self.decoded:
            boxes = self.coder.decode(regions[positive], own)
            box_loss = _DECODED_WEIGHT * giou_loss(boxes, targets.boxes).sum()
        else:
            wanted = self.coder.encode(regions[positive], targets.boxes)
            box_loss = F.l1_loss(own, wanted, reduction="sum")
        return {
            "loss_cls": F.cross_entropy(logits, targets.labels, reduction="sum") / count,
            "loss_bbox": box_loss / count,
        }

    def refine(self, regions: Tensor, deltas: Tensor, classes: Tensor, size: Size) -> Tensor:
        """Boxes (n, 4), by the deltas of the given class (n,) of each, clipped to the image."""
        own = deltas[torch.arange(len(deltas), device=deltas.device), classes]
        return self.coder.decode(regions, own, size)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.normal_(self.fc_reg.weight, std=0.001)
