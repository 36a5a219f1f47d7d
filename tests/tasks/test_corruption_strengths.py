"""The strengths for small images: the published constants, and what they do to images."""

import itertools

import numpy as np
import pytest
from reference_corruptions import CONSTANTS, FUNCTIONS, SIDES, ZOOMS, photograph, reference

from tasks.data.images import ImageDataset
from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, SEVERITIES, corrupt, generator_for
from tasks.robustness.corruptions.severities import strength
from tasks.robustness.on_the_fly import Corruption, profile_for, usual_side

CELLS = [*itertools.product(SIDES, (*CORRUPTIONS, *EXTRA))]
FALLING = {  # the published constants themselves do not damage more with every severity
    *itertools.product(SIDES, ("glass_blur", "frost", "elastic_transform", "spatter", "saturate")),
    ("cifar-c", "pixelate"),
}


class Stack(ImageDataset):
    """Images of given shorter sides; None: cannot be read."""

    def __init__(self, sides):
        self.sides = sides

    def __len__(self):
        return len(self.sides)

    def image(self, index):
        if self.sides[index] is None:
            raise OSError("cut off")
        return np.zeros((self.sides[index], self.sides[index] + 9, 3), np.uint8)


@pytest.mark.parametrize(("strengths", "name"), CELLS)
def test_the_constants_are_the_published_ones(strengths, name):
    for severity in SEVERITIES:
        found = strength(name, severity, strengths)
        expected = np.atleast_1d(CONSTANTS[strengths][name][severity - 1]).tolist()
        if name == "zoom_blur":
            assert found == (ZOOMS[severity - 1], 0.01)
        elif name == "frost":
            assert found == (*expected, {"cifar-c": 0.2, "tiny-imagenet-c": 0.3}[strengths])
        else:
            assert list(found) == expected


@pytest.mark.parametrize(("strengths", "name"), [c for c in CELLS if c[1] in FUNCTIONS])
def test_images_are_those_of_the_reference(strengths, name):
    side = SIDES[strengths]
    for severity in SEVERITIES:
        image = photograph(side, side, severity)
        found = corrupt(image, name, severity, np.random.default_rng(severity), strengths)
        expected = reference(image, name, severity, np.random.default_rng(severity), strengths)
        wrong = np.abs(found.astype(int) - expected)
        # where a sum lies within a thousandth of a whole level, it may come out as the next one
        assert wrong.max() <= (2 if name == "glass_blur" else 1), severity
        assert wrong.mean() < 0.1, severity


def damage(strengths, name):
    """Mean absolute difference per severity, over a few images."""
    side = SIDES[strengths]
    images = [photograph(side, side, seed) for seed in range(40)]
    return [
        np.mean(
            [
                np.abs(corrupt(x, name, s, generator_for(0, i, name, s), strengths).astype(int) - x)
                for i, x in enumerate(images)
            ]
        )
        for s in SEVERITIES
    ]


@pytest.mark.parametrize(("strengths", "name"), [c for c in CELLS if c not in FALLING])
def test_damage_grows_with_severity(strengths, name):
    found = damage(strengths, name)
    assert found == sorted(found)


@pytest.mark.parametrize("strengths", SIDES)
def test_small_images_are_damaged_less_than_with_the_strengths_for_224_pixels(strengths):
    """What made an image of 32 pixels unrecognisable at the first severities."""
    image = photograph(SIDES[strengths], SIDES[strengths])
    for name, severity in (("fog", 1), ("elastic_transform", 2), ("defocus_blur", 1)):
        mild, strong = (
            np.abs(corrupt(image, name, severity, np.random.default_rng(0), of).astype(int) - image)
            for of in (strengths, "imagenet-c")
        )
        assert mild.mean() < 0.7 * strong.mean(), name


@pytest.mark.parametrize(
    ("side", "profile"),
    [
        (8, "cifar-c"),
        (28, "cifar-c"),
        (32, "cifar-c"),
        (45, "cifar-c"),
        (46, "tiny-imagenet-c"),
        (48, "tiny-imagenet-c"),
        (64, "tiny-imagenet-c"),
        (96, "tiny-imagenet-c"),
        (119, "tiny-imagenet-c"),
        (120, "any-size"),
        (128, "any-size"),
        (224, "any-size"),
        (800, "any-size"),
    ],
)
def test_the_profile_goes_by_the_shorter_side(side, profile):
    assert profile_for(side) == profile


def test_the_usual_side_is_that_of_a_few_readable_images():
    assert usual_side(Stack([30, 32, 500])) == 32
    assert usual_side(Stack([None, 64])) == 64
    assert usual_side(Stack([None])) is None
    assert usual_side(Stack([])) is None


def test_a_corruption_takes_the_strengths_of_its_profile():
    image = photograph(32, 32)
    for profile, strengths in (
        ("cifar-c", "cifar-c"),
        ("tiny-imagenet-c", "tiny-imagenet-c"),
        ("any-size", "imagenet-c"),
    ):
        draws = generator_for(3, "x", "fog", 2)
        expected = corrupt(image, "fog", 2, draws, strengths)
        assert np.array_equal(Corruption("fog", 2, 3, profile)(image, "x"), expected)
