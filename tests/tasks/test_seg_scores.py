"""Scores against mmsegmentation's own metric, and what the report keeps."""

import numpy as np
import pytest
import torch
from mmseg.evaluation.metrics import IoUMetric

from tasks.segmentation.examples import Examples
from tasks.segmentation.scores import PixelConfusion, figures


def by_mmsegmentation(pairs, classes):
    """IoU and accuracy per class, and the share of right pixels, from `IoUMetric`."""
    areas = [IoUMetric.intersect_and_union(p, t, classes, 255) for p, t in pairs]
    return IoUMetric.total_area_to_metrics(*(sum(parts) for parts in zip(*areas, strict=True)))


@pytest.mark.parametrize(("classes", "absent"), [(5, ()), (7, (2, 6)), (150, range(40, 150))])
def test_figures_are_those_of_mmsegmentation(classes, absent):
    rng = np.random.default_rng(classes)
    present = [i for i in range(classes) if i not in absent]
    pairs = []
    for size in ((31, 40), (17, 55)):
        truth = torch.from_numpy(rng.choice([*present, 255], size))
        pairs.append((torch.from_numpy(rng.choice(present, size)), truth))
    confusion = PixelConfusion(classes)
    for predicted, truth in pairs:
        confusion.update(predicted, truth.byte())
    found, wanted = figures(confusion.compute()), by_mmsegmentation(pairs, classes)
    np.testing.assert_allclose(found.iou, wanted["IoU"], atol=1e-6)
    np.testing.assert_allclose(found.accuracy, wanted["Acc"], atol=1e-6)
    assert found.aacc == pytest.approx(float(wanted["aAcc"]), abs=1e-6)
    assert found.miou == pytest.approx(float(np.nanmean(wanted["IoU"])), abs=1e-6)
    assert found.macc == pytest.approx(float(np.nanmean(wanted["Acc"])), abs=1e-6)


def test_a_class_that_is_only_predicted_counts_as_missed():
    confusion = PixelConfusion(3)
    confusion.update(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]))
    found = figures(confusion.compute())
    assert found.iou.tolist()[:2] == [pytest.approx(2 / 3), 0.0]
    assert found.iou[2].isnan()
    assert found.miou == pytest.approx(1 / 3)
    assert found.macc == pytest.approx(2 / 3)


def test_the_first_and_the_worst_images_are_kept():
    examples = Examples(first=2, worst=2)
    truth = torch.zeros(4, 4, dtype=torch.uint8)
    for index, wrong in enumerate([1, 0, 3, 9, 2, 5]):
        predicted = truth.clone()
        predicted.view(-1)[:wrong] = 1
        examples.add(index, torch.zeros(8, 8, 3, dtype=torch.uint8), truth, predicted)
    assert [e.index for e in examples.kept] == [0, 1, 3, 5]
    assert [e.wrong for e in examples.kept] == [1 / 16, 0, 9 / 16, 5 / 16]


def test_kept_images_are_small_and_ignored_pixels_do_not_count():
    examples = Examples()
    truth = torch.full((800, 400), 255, dtype=torch.uint8)
    truth[0, 0] = 1
    examples.add(0, torch.zeros(512, 256, 3, dtype=torch.uint8), truth, torch.ones(800, 400))
    (example,) = examples.kept
    assert example.wrong == 0
    assert example.image.shape == (384, 192, 3)
    assert example.truth.shape == example.predicted.shape == (384, 192)
