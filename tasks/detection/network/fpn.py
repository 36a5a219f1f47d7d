"""The feature pyramid network (arXiv 1612.03144)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from tasks.detection.network.convolution import Convolution


class FeaturePyramid(nn.Module):
    """Maps of one width from those of a backbone, each with what the coarser ones know.

    Args:
        inputs: channels of the backbone's maps, finest first.
        channels: of the maps that come out.
    """

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(Convolution(c, channels, 1) for c in inputs)
        self.fpn_convs = nn.ModuleList(Convolution(channels, channels, 3) for _ in inputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """As many maps and one more, of half the last one's size."""
        lateral = [convolve(x) for convolve, x in zip(self.lateral_convs, maps, strict=True)]
        for i in range(len(lateral) - 1, 0, -1):
            finer = lateral[i - 1]
            lateral[i - 1] = finer + F.interpolate(lateral[i], finer.shape[2:], mode="nearest")
        outputs = [convolve(x) for convolve, x in zip(self.fpn_convs, lateral, strict=True)]
        return [*outputs, F.max_pool2d(outputs[-1], 1, stride=2)]
