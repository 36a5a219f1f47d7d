"""UPerNet's faster head computes what mmsegmentation's does."""

import pytest
import torch
from torch.nn import functional as F

from tasks.segmentation import upernet
from tasks.segmentation.fusion import enlarging_convolution
from tasks.segmentation.openmmlab import UPerHead


@pytest.mark.parametrize(
    "sizes",
    [
        [(16, 16), (8, 8), (4, 4), (2, 2)],
        [(21, 13), (10, 6), (5, 3), (2, 1)],
        [(7, 9), (7, 9), (3, 4)],
        [(5, 5)],
    ],
)
def test_value_and_gradients_are_those_of_enlarging_first(sizes):
    torch.manual_seed(0)
    maps = [torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True) for size in sizes]
    weight = torch.randn(4, 3 * len(sizes), 3, 3, dtype=torch.float64, requires_grad=True)
    large = [F.interpolate(m, sizes[0], mode="bilinear", align_corners=False) for m in maps]
    wanted = F.conv2d(torch.cat(large, 1), weight, padding=1)
    found = enlarging_convolution(maps, weight)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    direction = torch.randn_like(wanted)
    for one, other in zip(
        torch.autograd.grad(found, [*maps, weight], direction),
        torch.autograd.grad(wanted, [*maps, weight], direction),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [8, 24])
def test_the_whole_head_is_mmsegmentations(channels):
    torch.manual_seed(0)
    settings = {"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 8)}
    model = upernet("convnext_yocto", 5, channels=channels, auxiliary_channels=8, **settings)
    images = torch.randn(2, 3, 70, 100)
    for mode in (True, False):
        model.train(mode)
        model.decode_head.dropout.eval()
        with torch.no_grad():
            maps = model.backbone(images)
            wanted = UPerHead._forward_feature(model.decode_head, maps)
            found = model.decode_head._forward_feature(maps)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
