"""The classes of ImageNet-A and ImageNet-R."""

import pytest
import torch

from tasks.robustness.published.subsets import class_subset


@pytest.mark.parametrize(
    ("name", "first", "index"), [("imagenet_a", "n01498041", 6), ("imagenet_r", "n01443537", 1)]
)
def test_lists_have_two_hundred_classes_in_the_order_of_folders(name, first, index):
    subset = class_subset(name)
    assert len(subset.synsets) == len(set(subset.indices)) == 200
    assert (subset.synsets[0], subset.indices[0]) == (first, index)
    assert list(subset.synsets) == sorted(subset.synsets)


def test_a_mask_leaves_only_the_sets_classes():
    subset = class_subset("imagenet_a")
    logits = torch.zeros(2, 1000)
    logits[0, subset.indices[7]] = 1
    logits[0, 0] = 5  # a class that ImageNet-A does not have
    logits[1, subset.indices[199]] = 1
    assert 0 not in subset.indices
    assert subset.masked(logits).argmax(1).tolist() == [7, 199]
    labels = torch.tensor([0, 7, 199])
    among_all = torch.tensor([subset.indices[i] for i in (0, 7, 199)])
    assert torch.equal(subset.own_labels(among_all), labels)
    assert subset.own_labels(torch.tensor([0])).tolist() == [-1]
