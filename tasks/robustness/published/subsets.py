"""Sets whose images show only some of ImageNet's classes: ImageNet-A and ImageNet-R."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import torch
from timm.data import ImageNetInfo
from torch import Tensor

SubsetName = Literal["imagenet_a", "imagenet_r"]


@dataclass(frozen=True)
class ClassSubset:
    """Some of the thousand classes, in the order of a set's own labels.

    Args:
        name: of the set.
        synsets: names of the class folders.
        indices: of these classes among the thousand.
    """

    name: SubsetName
    synsets: tuple[str, ...]
    indices: tuple[int, ...]

    def masked(self, logits: Tensor) -> Tensor:
        """The logits (N, 200) of the set's classes, of logits (N, 1000)."""
        return logits[:, torch.tensor(self.indices, device=logits.device)]

    def own_labels(self, labels: Tensor) -> Tensor:
        """Labels among the thousand as labels of the set; -1 where the class is not in it."""
        table = labels.new_full((1000,), -1)
        table[torch.tensor(self.indices, device=labels.device)] = torch.arange(
            len(self.indices), device=labels.device, dtype=labels.dtype
        )
        return table[labels]


def class_subset(name: SubsetName) -> ClassSubset:
    """The classes of ImageNet-A (arXiv 1907.07174) or -R (2006.16241), from timm's lists.

    The indices are held against the synsets, so that a changed list cannot go unnoticed.
    """
    synsets, numbers = (_lines(f"{name}_{kind}.txt") for kind in ("synsets", "indices"))
    indices = tuple(map(int, numbers))
    names = ImageNetInfo().label_names()
    assert tuple(names[i] for i in indices) == synsets, f"timm's lists of {name} disagree"
    return ClassSubset(name, synsets, indices)


def _lines(file: str) -> tuple[str, ...]:
    text = files("timm.data").joinpath("_info", file).read_text(encoding="utf-8")
    return tuple(text.split())
