"""The parts of a detector: boxes, matching, pooling, pasted masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.ops import batched_nms, generalized_box_iou_loss, nms, roi_align

from tasks.detection.network.anchors import Anchors
from tasks.detection.network.boxes import BoxCoder, giou_loss, grouped_nms, suppressed_at_once
from tasks.detection.network.cell_sums import align_by_sums
from tasks.detection.network.mask_head import mask_targets
from tasks.detection.network.matching import BACKGROUND, NEITHER, Matcher, Sampler
from tasks.detection.network.paste import pasted, run_lengths


def random_boxes(count, width=100.0, height=80.0, largest=60.0):
    low = torch.rand(count, 2) * torch.tensor([width, height])
    return torch.cat([low, low + 1 + largest * torch.rand(count, 2)], 1)


def test_coded_boxes_decode_to_themselves():
    coder = BoxCoder((0.1, 0.1, 0.2, 0.2))
    priors, boxes = random_boxes(50), random_boxes(50)
    again = coder.decode(priors, coder.encode(priors, boxes))
    torch.testing.assert_close(again, boxes, rtol=1e-4, atol=1e-3)
    clipped = coder.decode(priors, coder.encode(priors, boxes), size=(40, 50))
    limits = torch.tensor([50, 40, 50, 40])
    torch.testing.assert_close(clipped, again.clamp(min=0).minimum(limits))


def test_stretches_are_limited_both_ways():
    coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
    prior = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    deltas = torch.tensor([[[0.0, 0.0, 9.0, -9.0]]])
    box = coder.decode(prior, deltas)[0, 0]
    assert float(box[2] - box[0]) == pytest.approx(10 * 1000 / 16, rel=1e-5)
    assert float(box[3] - box[1]) == pytest.approx(10 * 16 / 1000, rel=1e-3)


def test_suppression_stays_within_groups():
    boxes, scores = random_boxes(300), torch.rand(300)
    groups = torch.randint(0, 3, (300,))
    assert torch.equal(
        grouped_nms(boxes, scores, groups, 0.5), batched_nms(boxes, scores, groups, 0.5)
    )


def class_by_class(boxes, scores, groups, threshold):
    """What suppression within each group is by definition."""
    kept = []
    for group in groups.unique():
        members = torch.where(groups == group)[0]
        kept.append(members[nms(boxes[members], scores[members], threshold)])
    together = torch.cat(kept).sort().values
    return together[scores[together].sort(descending=True, stable=True).indices]


def crowded_boxes(count, side, seed):
    """Boxes in clusters, whose overlaps lie near all thresholds."""
    draw = torch.Generator().manual_seed(seed)
    centres = side * torch.rand(max(1, count // 40), 2, generator=draw)
    chosen = centres[torch.randint(0, len(centres), (count,), generator=draw)]
    chosen = chosen + 8 * torch.rand(count, 2, generator=draw)
    sides = 5 + 10 * torch.rand(count, 2, generator=draw)
    boxes = torch.cat([chosen - sides, chosen + sides], 1)
    scores = (100 * torch.rand(count, generator=draw)).round() / 100  # with equal ones
    return boxes, scores, draw


@pytest.mark.parametrize(("classes", "side"), [(1203, 640), (80, 4000), (1203, 4000), (5, 30000)])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_suppression_is_that_of_class_by_class(classes, side, device):
    for seed in range(5):
        boxes, scores, draw = crowded_boxes(2540, side, seed)
        groups = classes - 1 - torch.randint(0, 5, (2540,), generator=draw)
        boxes, scores, groups = boxes.to(device), scores.to(device), groups.to(device)
        wanted = class_by_class(boxes, scores, groups, 0.5)
        assert 0 < len(wanted) < len(boxes)
        assert torch.equal(grouped_nms(boxes, scores, groups, 0.5), wanted)
        # what is called on a GPU
        assert torch.equal(suppressed_at_once(boxes, scores, groups, 0.5), wanted)


def test_suppression_of_boxes_that_reach_outside_and_of_none():
    boxes = torch.tensor([[-90.0, -90.0, -10.0, -10.0], [-90.0, -90.0, -11.0, -10.0]])
    scores = torch.tensor([0.5, 0.9])
    groups = torch.tensor([1, 0])
    assert grouped_nms(boxes, scores, groups, 0.5).tolist() == [1, 0]
    assert grouped_nms(boxes, scores, torch.zeros(2, dtype=torch.long), 0.5).tolist() == [1]
    empty = torch.zeros(0, dtype=torch.long)
    assert grouped_nms(boxes[:0], scores[:0], empty, 0.5).shape == (0,)


def test_giou_loss_is_torchvisions():
    boxes, others = random_boxes(40), random_boxes(40)
    wanted = generalized_box_iou_loss(boxes, others, reduction="none")
    torch.testing.assert_close(giou_loss(boxes, others), wanted, rtol=1e-4, atol=1e-5)


def test_anchors_are_not_rounded_and_keep_their_stride():
    grid = Anchors((4,)).grids([(2, 3)], torch.empty(0))[0]
    assert grid.shape == (2 * 3 * 3, 4)
    np.testing.assert_allclose(grid[0], [-22.627417, -11.313708, 22.627417, 11.313708], rtol=1e-6)
    np.testing.assert_allclose(grid[1], [-16, -16, 16, 16])
    np.testing.assert_allclose(grid[-2], [8 - 16, 4 - 16, 8 + 16, 4 + 16])


def test_matching_by_hand():
    truths = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    priors = torch.tensor(
        [
            [0.0, 0.0, 10.0, 10.0],  # the first one itself
            [0.0, 0.0, 10.0, 20.0],  # IoU 0.5 with it
            [20.0, 0.0, 30.0, 25.0],  # IoU 0.4 with the second, which has no better
            [50.0, 50.0, 60.0, 60.0],
        ]
    )
    strict = Matcher(0.7, 0.3).match(priors, truths)
    assert strict.tolist() == [0, NEITHER, NEITHER, BACKGROUND]
    generous = Matcher(0.7, 0.3, low_quality=0.3).match(priors, truths)
    assert generous.tolist() == [0, NEITHER, 1, BACKGROUND]
    assert Matcher(0.7, 0.3).match(priors, truths[:0]).tolist() == [BACKGROUND] * 4


def test_sampling_keeps_the_share_of_positives():
    matched = torch.tensor([0] * 30 + [BACKGROUND] * 100 + [NEITHER] * 50)
    positive, negative = Sampler(40, 0.25).sample(matched)
    assert (len(positive), len(negative)) == (10, 30)
    assert (matched[positive] == 0).all()
    assert (matched[negative] == BACKGROUND).all()
    positive, negative = Sampler(1000, 0.25).sample(matched)
    assert (len(positive), len(negative)) == (30, 100)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([1, 7, 14]), st.sampled_from([0.25, 1.0]))
def test_aligned_regions_are_torchvisions(seed, size, scale):
    """Regions of all sizes, within, across and beyond the borders, elongated and of no area."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 3, 9, 14, generator=generator, dtype=torch.float64)
    low = torch.rand(12, 2, generator=generator) * 60 - 8
    extent = torch.rand(12, 2, generator=generator) ** 3 * 60
    extent[0] = 0
    index = torch.randint(0, 2, (12, 1), generator=generator)
    regions = torch.cat([index, low, low + extent], 1).double()
    found = align_by_sums(maps, regions, size, scale)
    torch.testing.assert_close(found, roi_align(maps, regions, size, scale, -1, aligned=True))


def test_aligned_regions_have_torchvisions_gradient():
    maps = torch.randn(1, 4, 9, 14, dtype=torch.float64, requires_grad=True)
    regions = torch.cat([torch.zeros(6, 1), random_boxes(6, 40, 30)], 1).double()
    other = maps.detach().clone().requires_grad_()
    weights = torch.randn(6, 4, 7, 7, dtype=torch.float64)
    (align_by_sums(maps, regions, 7, 0.25) * weights).sum().backward()
    (roi_align(other, regions, 7, 0.25, -1, aligned=True) * weights).sum().backward()
    torch.testing.assert_close(maps.grad, other.grad)


def test_targets_of_masks_are_what_lies_in_the_regions():
    masks = torch.zeros(2, 60, 80, dtype=torch.uint8)
    masks[0, :, :40] = 1
    masks[1, 10:20] = 1
    regions = torch.tensor([[20.0, 0.0, 60.0, 40.0], [0.0, 10.0, 28.0, 38.0]])
    targets = mask_targets(masks, torch.tensor([0, 1]), regions)
    assert targets[0].sum(1).unique().tolist() == [14]
    assert targets[1].sum(0).unique().tolist() == [10]


def sampled(mask, box, size):
    """Pasting by PyTorch's own bilinear sampling over the whole image."""
    (x0, y0, x1, y1), (height, width) = box, size
    x = (torch.arange(width) + 0.5 - x0) / (x1 - x0) * 2 - 1
    y = (torch.arange(height) + 0.5 - y0) / (y1 - y0) * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    return F.grid_sample(mask[None, None], grid, align_corners=False)[0, 0]


def test_pasted_masks_are_sampled_at_the_centres_of_pixels():
    size = (50, 70)
    boxes = random_boxes(30, 70, 50, 40) - 5
    masks = F.interpolate(torch.rand(30, 1, 7, 7), 28, mode="bilinear")[:, 0]
    for mask, box, whole in zip(masks, boxes, pasted(masks, boxes, size), strict=True):
        wanted = sampled(mask, box.tolist(), size)
        sure = (wanted - 0.5).abs() > 1e-4
        assert (torch.from_numpy(whole)[sure] == (wanted >= 0.5)[sure]).all()


def test_run_lengths_are_those_of_the_pasted_masks():
    from pycocotools import mask as coco_mask

    boxes = torch.tensor([[2.0, 3.0, 30.0, 20.0], [-9.0, -9.0, -2.0, -2.0], [5.0, 5.0, 5.0, 5.0]])
    counts = run_lengths(torch.ones(3, 28, 28), boxes, (40, 60))
    areas = [int(coco_mask.area({"size": [40, 60], "counts": c})) for c in counts]
    assert areas == [28 * 17, 0, 0]
