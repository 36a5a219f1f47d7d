"""The region proposal network (arXiv 1506.01497)."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dcls.dtypes import widened
from tasks.detection.network.anchors import Anchors
from tasks.detection.network.boxes import BoxCoder, grouped_nms
from tasks.detection.network.settings import ProposalSettings, RpnSettings
from tasks.detection.records import Size

_CODER = BoxCoder((1.0, 1.0, 1.0, 1.0))


class RegionProposals(nn.Module):
    """Proposes boxes that may hold an object of any class.

    Args:
        channels: of the maps.
        strides: pixels per cell of the maps.
        settings: anchors, proposals and training.
    """

    def __init__(self, channels: int, strides: Sequence[int], settings: RpnSettings) -> None:
        super().__init__()
        self.settings = settings
        self.anchors = Anchors(tuple(strides), settings.anchor_scale)
        per_cell = len(self.anchors.ratios)
        self.rpn_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(channels, per_cell, 1)
        self.rpn_reg = nn.Conv2d(channels, 4 * per_cell, 1)
        for layer in (self.rpn_conv, self.rpn_cls, self.rpn_reg):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(cast(Tensor, layer.bias), 0.0)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per map the logits (N, A, H, W) and deltas (N, 4A, H, W) of the anchors of each cell."""
        hidden = [torch.relu(self.rpn_conv(x)) for x in maps]
        return [self.rpn_cls(x) for x in hidden], [self.rpn_reg(x) for x in hidden]

    @torch.no_grad()
    def propose(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], sizes: Sequence[Size]
    ) -> list[Tensor]:
        """The proposals (n, 4) of each image of that size, best first; no gradient."""
        settings = self.settings.train if self.training else self.settings.test
        scores = [widened(_per_anchor(x, 1)[..., 0]).sigmoid() for x in logits]
        grids = self.anchors.grids([_shape(x) for x in logits], scores[0])
        moves = [_per_anchor(x, 4) for x in deltas]
        return [
            _best(grids, [s[i] for s in scores], [m[i] for m in moves], size, settings)
            for i, size in enumerate(sizes)
        ]

    def losses(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        sizes: Sequence[Size],
        truths: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """The losses by mmdetection's names, of images with true boxes (k_i, 4)."""
        shapes = [_shape(x) for x in logits]
        scores = widened(torch.cat([_per_anchor(x, 1)[..., 0] for x in logits], 1))
        moves = widened(torch.cat([_per_anchor(x, 4) for x in deltas], 1))
        anchors = torch.cat(self.anchors.grids(shapes, scores))
        object_loss, box_loss, count = scores.sum() * 0, moves.sum() * 0, 0
        for i, (size, boxes) in enumerate(zip(sizes, truths, strict=True)):
            inside = anchors if self.settings.inside_only else None
            usable = self.anchors.usable(shapes, size, inside).to(anchors.device)
            places = torch.where(usable)[0]
            matched = self.settings.matcher.match(anchors[places], boxes)
            positive, negative = self.settings.sampler.sample(matched)
            targets = _CODER.encode(anchors[places[positive]], boxes[matched[positive]])
            chosen = places[torch.cat([positive, negative])]
            is_object = (matched[torch.cat([positive, negative])] >= 0).to(scores)
            object_loss = object_loss + F.binary_cross_entropy_with_logits(
                scores[i, chosen], is_object, reduction="sum"
            )
            box_loss = box_loss + F.smooth_l1_loss(
                moves[i, places[positive]], targets, reduction="sum", beta=self.settings.beta
            )
            count += max(1, len(positive)) + max(1, len(negative))
        return {"loss_rpn_cls": object_loss / count, "loss_rpn_bbox": box_loss / count}


def _best(
    grids: Sequence[Tensor],
    scores: Sequence[Tensor],
    moves: Sequence[Tensor],
    size: Size,
    settings: ProposalSettings,
) -> Tensor:
    """Proposals (n, 4) of one image, best first, of the anchors of each map."""
    tops = [s.topk(min(settings.per_level, len(s))).indices for s in scores]
    priors = torch.cat([grid[top] for grid, top in zip(grids, tops, strict=True)])
    deltas = torch.cat([move[top] for move, top in zip(moves, tops, strict=True)])
    boxes = _CODER.decode(priors, deltas, size)
    ranks = torch.cat([s[top] for s, top in zip(scores, tops, strict=True)])
    levels = torch.cat([torch.full_like(top, i) for i, top in enumerate(tops)])
    full = (boxes[:, 2:] > boxes[:, :2]).all(1)
    boxes, ranks, levels = boxes[full], ranks[full], levels[full]
    return boxes[grouped_nms(boxes, ranks, levels, settings.overlap)[: settings.total]]


def _shape(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def _per_anchor(x: Tensor, values: int) -> Tensor:
    """(N, A * values, H, W) as (N, H * W * A, values)."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)
