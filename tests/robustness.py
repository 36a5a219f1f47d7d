"""Miniature robustness sets, a classifier whose mistakes are known, and its figures by hand.

An image has one flat colour, and the classifier gives every class a logit by the distance of the
colour from that class's own: what an image makes it say is known without the pipeline.
"""

import io
import math
from functools import cache
from typing import NamedTuple

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn

from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, SEVERITIES
from tasks.robustness.published.layouts import BAR_CORRUPTIONS

SYNSETS = {
    0: "n01440764",
    1: "n01443537",
    3: "n01491361",
    6: "n01498041",
    8: "n01514859",
    11: "n01531178",
    15: "n01558993",
    17: "n01580077",
}
"""Eight of ImageNet's classes: neither in A nor R 0 and 3, in both 6 and 11."""
IN_A, IN_R = {6, 11, 15, 17}, {1, 6, 8, 11}
LABELS = (0, 1, 6, 15)
V2 = ("matched-frequency", "threshold0.7", "top-images")
LEVELS = (40, 215)
COLOURS = {
    label: tuple(LEVELS[place >> shift & 1] for shift in range(3))
    for place, label in enumerate(SYNSETS)
}
"""The colour of each class: a corner of a cube."""
OTHERS = -12.0  # logit of each of the 992 classes without a colour
SHARPNESS = 20.0
WHITE = (255, 255, 255)
"""The colour that gives logits which are no numbers."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAME = "mistaken_on_purpose"
MODEL = ("task=robustness", "backbone=timm", f"backbone.name=timm/{NAME}")
AT_224 = (*MODEL, "trainer=cpu", "dataset.workers=0", "dataset.batch_size=5", "figures=false")
SIDE = 32
SETTINGS = (*AT_224, f"dataset.image_size={SIDE}")


class Mistaken(nn.Module):
    """Logits that are linear in the mean colour of an image; nan if it is white."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, 3
        self.feature_info = [{"num_chs": 3, "reduction": 1}]
        self.default_cfg = self.pretrained_cfg = {"classifier": "fc", "mean": MEAN, "std": STD}
        self.fc = nn.Linear(3, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        colour = x.mean((2, 3))
        white = (colour > 2.2).all(1, keepdim=True)
        return torch.where(white, torch.nan, self.fc(colour))


def mistaken_on_purpose(pretrained=False, num_classes=1000, **settings):
    return Mistaken(num_classes)


if not timm.is_model(NAME):
    timm.models.register_model(mistaken_on_purpose)


class Photograph(NamedTuple):
    """An image of a set: its file, its class among the thousand, its colour."""

    file: str
    label: int
    colour: tuple


def write_model(path, colours=COLOURS, outputs=range(1000)):
    """A checkpoint of `Mistaken` in timm's names; `outputs` are the classes of its logits."""
    places = {label: place for place, label in enumerate(outputs)}
    weight, bias = torch.zeros(len(places), 3), torch.full((len(places),), OTHERS)
    for label, colour in colours.items():
        own = torch.tensor(colour) / 255
        weight[places[label]] = 2 * SHARPNESS * own * torch.tensor(STD)
        shift = 2 * SHARPNESS * own @ torch.tensor(MEAN)
        bias[places[label]] = shift - SHARPNESS * (own**2).sum()
    torch.save({"fc.weight": weight, "fc.bias": bias}, path)
    return path


def said(colour, among=(1000, set(SYNSETS)), colours=COLOURS):
    """The class and confidence, among so many classes and those of them with a colour."""
    count, coloured = among
    here = [level / 255 for level in colour]
    logits = {
        label: SHARPNESS
        * sum(2 * a * b / 255 - (b / 255) ** 2 for a, b in zip(here, own, strict=True))
        for label, own in colours.items()
        if label in coloured
    }
    best = max(logits, key=logits.get)
    others = (count - len(logits)) * math.exp(OTHERS)
    total = others + sum(math.exp(logit) for logit in logits.values())
    return best, math.exp(logits[best]) / total


def by_hand(images, among=(1000, set(SYNSETS)), colours=COLOURS):
    """Top-1, calibration error over 15 bins, and mean confidence."""
    found = [(*said(p.colour, among, colours), p.label) for p in images]
    bins = {}
    for best, confidence, label in found:
        assert abs(confidence * 15 - round(confidence * 15)) > 1e-4 or confidence > 0.999, "an edge"
        bins.setdefault(int(confidence * 15), []).append((best == label, confidence))
    gaps = [abs(sum(r for r, _ in pairs) - sum(c for _, c in pairs)) for pairs in bins.values()]
    return {
        "top1": sum(best == label for best, _, label in found) / len(found),
        "ece": sum(gaps) / len(found),
        "confidence": sum(confidence for _, confidence, _ in found) / len(found),
    }


def wrong(images, colours=COLOURS):
    """1 for each image of which the model says the wrong class, else 0."""
    return [int(said(p.colour, colours=colours)[0] != p.label) for p in images]


def mixed(label, towards, share):
    """The colour of one class, part of the way to that of another."""
    pairs = zip(COLOURS[label], COLOURS[towards], strict=True)
    return tuple(round(a + share * (b - a)) for a, b in pairs)


def shots(seed, labels=LABELS, strength=2, folder=SYNSETS, each=2):
    """Images of some classes, of which a fixed rule says how they mislead."""
    coloured = list(SYNSETS)
    images = []
    for place, label in enumerate(label for label in labels for _ in range(each)):
        turn = (5 * seed + 7 * place + seed * strength + 3 * strength) % 17
        other = coloured[(coloured.index(label) + 1 + (seed + place) % 6) % len(coloured)]
        misled = turn < 1 + 3 * strength
        share = 0.55 + 0.03 * (turn % 9) if misled else 0.02 * turn + 0.04 * (place % 3)
        file = f"{folder[label]}/val_{place:08}.png"
        images.append(Photograph(file, label, mixed(label, other, share)))
    return images


def all_cells():
    """All sets by the names of their cells: the folder under the root, and images."""
    found = {"clean": ("imagenet/val", shots(5, strength=1))}
    for count, name in enumerate((*CORRUPTIONS, *EXTRA), 1):
        for severity in SEVERITIES:
            place = f"imagenet-c/{name}/{severity}"
            found[place] = (place, shots(count, strength=severity))
    found["imagenet-a"] = ("imagenet-a", shots(31, (6, 11, 15), 5, each=4))
    found["imagenet-r"] = ("imagenet-r", shots(32, (1, 6, 8), 3, each=4))
    found["imagenet-sketch"] = ("imagenet-sketch", shots(33, each=3))
    for count, variant in enumerate(V2):
        folder = f"imagenetv2-{variant}-format-val"
        own = shots(34 + count, strength=3 - count, folder={label: str(label) for label in LABELS})
        found[f"imagenetv2-{variant}"] = (folder, own)
    for count, name in enumerate(BAR_CORRUPTIONS, 40):
        for severity in SEVERITIES:
            place = f"imagenet-c-bar/{name}/{severity}"
            found[place] = (place, shots(count, strength=severity))
    return found


def write_figure(path, colour):
    """One flat image, as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_as_png(colour))


@cache
def _as_png(colour):
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(file, "PNG")
    return file.getvalue()


def write_cells(root, chosen):
    """Write cells as of `all_cells`."""
    for folder, images in chosen.values():
        for image in images:
            write_figure(root / folder / image.file, image.colour)
    return root


def mean_interval(values):
    """95 % of 1,000 means of as many values, drawn with replacement."""
    return [float(np.percentile(resampled(values), share)) for share in (2.5, 97.5)]


def resampled(values):
    """1,000 means of as many values, drawn with replacement."""
    draws, values = np.random.default_rng(20190328), np.array(values, float)
    return np.array(
        [values[draws.integers(0, len(values), len(values))].mean() for _ in range(1000)]
    )


def binomial_interval(right, count):
    """The counts below which 2.5 % and 97.5 % of a binomial distribution lie, as shares."""
    share, bounds = right / count, []
    for level in (0.025, 0.975):
        below, hits = 0.0, -1
        while below < level:
            hits += 1
            below += math.comb(count, hits) * share**hits * (1 - share) ** (count - hits)
        bounds.append(hits / count)
    return bounds
