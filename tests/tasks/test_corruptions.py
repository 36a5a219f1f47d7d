"""The corruptions: shapes, draws, strengths, and agreement with the package imagecorruptions.

The package comes with the `test` extra. Its `np.random` is replaced by our generator, so that both
sides work on the same random field.
"""

import warnings
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from reference_corruptions import photograph, read
from scipy import ndimage

from tasks.errors import SettingError
from tasks.robustness.corruptions import (
    CORRUPTIONS,
    EXTRA,
    GROUPS,
    SEVERITIES,
    corrupt,
    generator_for,
)
from tasks.robustness.corruptions.resampling import zoom_sum, zoomed

ALL = (*CORRUPTIONS, *EXTRA)
SIZES = ((8, 8), (224, 224), (97, 131))
# The published parameters of the four others do not grow in every step.
GROWING = tuple(name for name in ALL if name not in {"glass_blur", "snow", "frost", "saturate"})
FIXED = ("defocus_blur", "zoom_blur", "brightness", "contrast", "gaussian_blur", "saturate")
FIXED += ("pixelate", "jpeg_compression")


def made(image, name, severity, image_id=0):
    return corrupt(image, name, severity, generator_for(0, image_id, name, severity))


def difference(first, second):
    return np.abs(first.astype(int) - second.astype(int))


@pytest.mark.parametrize("name", ALL)
def test_keeps_shape_and_type_and_input(name):
    for size in (*SIZES, (1, 1), (3, 40)):
        for grey in (False, True):
            image = photograph(*size)
            if grey:
                image = np.repeat(image[..., :1], 3, axis=2)
            before = image.copy()
            for severity in SEVERITIES if size in SIZES else (3, 5):
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    result = made(image, name, severity)
                assert result.shape == image.shape
                assert result.dtype == np.uint8
                assert np.array_equal(image, before)
                assert not np.shares_memory(result, image)


@pytest.mark.parametrize("name", ALL)
def test_fixed_by_seed_image_name_and_severity(name):
    image = photograph(64, 80)
    forwards = [made(image, name, severity) for severity in SEVERITIES]
    backwards = [made(image, name, severity) for severity in reversed(SEVERITIES)]
    assert all(map(np.array_equal, forwards, reversed(backwards)))
    assert np.array_equal(made(image[:, ::-1], name, 3), made(image[:, ::-1].copy(), name, 3))


def test_generators_differ_in_each_of_the_four():
    keys = [(0, 1, "fog", 1), (1, 1, "fog", 1), (0, 2, "fog", 1), (0, 1, "snow", 1)]
    keys += [(0, 1, "fog", 2), (0, "a/1.jpg", "fog", 1), (0, 11, "fog", 1)]
    assert len({generator_for(*key).random() for key in keys}) == len(keys)
    assert generator_for(0, "7", "fog", 1).random() == generator_for(0, 7, "fog", 1).random()


@pytest.mark.parametrize("name", GROWING)
def test_grows_with_severity(name):
    images = [photograph(112, 112, seed) for seed in range(6)]
    strengths = [
        np.mean([difference(made(p, name, s, i), p).mean() for i, p in enumerate(images)])
        for s in SEVERITIES
    ]
    if name == "elastic_transform":  # its first two are large and smooth, the other three are fine
        strengths = strengths[2:]
    if name == "spatter":  # water, then mud
        strengths = [strengths[0], strengths[3], strengths[4]]
    assert strengths == sorted(strengths)


@pytest.mark.parametrize("side", [1, 8, 32])
def test_motion_does_not_darken_images_smaller_than_its_way(side):
    image = np.full((side, side, 3), 200, np.uint8)
    assert np.array_equal(made(image, "motion_blur", 5), image)


def test_names_and_refusals():
    assert (len(CORRUPTIONS), len(EXTRA)) == (15, 4)
    assert [name for names in GROUPS.values() for name in names] == list(CORRUPTIONS)
    image, draws = photograph(8, 8), np.random.default_rng(0)
    for name, severity, said in (("mist", 1, "'mist'.*fog"), ("fog", 6, "severity 6.*1 .* 5")):
        with pytest.raises(SettingError, match=said):
            corrupt(image, name, severity, draws)
    for wrong in (image[..., 0], image.astype(float), image[..., :2], image[:0]):
        with pytest.raises(ValueError, match="uint8"):
            corrupt(wrong, "fog", 1, draws)


@pytest.mark.parametrize("factor", [1.0, 1.07, 1.29, 2.5, 4.5])
def test_zoom_is_scipys(factor):
    values = photograph(97, 131).astype(np.float32)
    parts = [int(np.ceil(side / factor)) for side in (97, 131)]
    top, left = (97 - parts[0]) // 2, (131 - parts[1]) // 2
    middle = values[top : top + parts[0], left : left + parts[1]]
    expected = ndimage.zoom(middle, (factor, factor, 1), order=1, mode="nearest")
    found = zoomed(values, factor)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-2)
    assert np.array_equal(zoom_sum(values, [factor]), found[:97, :131])


def reference_elastic(image, severity, draws):
    """The steps of the code that made ImageNet-C, by scipy, from the same draws."""
    alpha, sigma, shift = (
        np.array(
            [
                (2, 0.7, 0.1),
                (2, 0.08, 0.2),
                (0.05, 0.01, 0.02),
                (0.07, 0.01, 0.02),
                (0.12, 0.01, 0.02),
            ]
        )[severity - 1]
        * 244
    )
    reach = 224 // 3
    corners = np.float32([[112 + reach] * 2, [112 + reach, 112 - reach], [112 - reach] * 2])
    moved = corners + draws.uniform(-shift, shift, (3, 2)).astype(np.float32)
    x, y = np.linalg.solve(np.c_[moved, np.ones(3)].astype(float), corners.astype(float)).T
    rows, columns = np.mgrid[:224, :224]
    places = [y[0] * columns + y[1] * rows + y[2], x[0] * columns + x[1] * rows + x[2]]
    values = read(image / 255, places, "mirror")
    across, down = (
        ndimage.gaussian_filter(
            draws.random((224, 224), np.float32).astype(float) * 2 - 1, sigma, truncate=3
        )
        * alpha
        for _ in range(2)
    )
    places = [rows + down, columns + across]
    return np.uint8(np.clip(read(values, places, "reflect"), 0, 1) * 255)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_elastic_is_the_references(severity):
    image = photograph(224, 224)
    found = corrupt(image, "elastic_transform", severity, np.random.default_rng(1))
    expected = reference_elastic(image, severity, np.random.default_rng(1))
    wrong = difference(found, expected)
    assert wrong.mean() < 5e-3
    assert wrong.max() <= 1


class Replay:
    """Stands for the `np.random` of the package, and draws as ours do from a generator."""

    def __init__(self, draws):
        self.draws = draws

    def normal(self, size, scale, loc=0.0):
        return self.draws.standard_normal(size, np.float32).astype(float) * scale + loc

    def uniform(self, low, high, size=None):
        if size is None:
            return self.draws.uniform(low, high)
        return self.draws.random(size, np.float32) * (high - low) + low

    def poisson(self, means):
        return self.draws.poisson(means.astype(np.float32))


def theirs(oracle, image, name, severity, draws):
    numpy = SimpleNamespace(**{**vars(np), "random": Replay(draws)})
    with mock.patch.object(oracle.corruptions, "np", numpy), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return oracle.corrupt(image, severity=severity, corruption_name=name)


@pytest.fixture(scope="module")
def oracle():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("imagecorruptions", exc_type=ImportError)  # it needs OpenCV


SAME = ("gaussian_noise", "speckle_noise", "shot_noise", "motion_blur", "snow", "fog", "spatter")


@pytest.mark.parametrize("size", [(224, 224), (97, 131)], ids=str)
@pytest.mark.parametrize("name", [*FIXED, *SAME])
def test_agrees_with_the_package(oracle, name, size):
    image = photograph(*size)
    for severity in SEVERITIES:
        found = corrupt(image, name, severity, np.random.default_rng(severity))
        expected = theirs(oracle, image, name, severity, np.random.default_rng(severity))
        wrong = difference(found, expected)
        # spatter's thresholds turn the last bit of a sum into a whole step
        assert (wrong > 1).mean() <= (2e-3 if name == "spatter" else 0), (severity, wrong.max())


def test_glass_is_the_published_loop(oracle):
    """The package's own loop, without numba, from the same offsets."""
    loop = oracle.corruptions._shuffle_pixels_njit_glass_blur.py_func
    image = photograph(61, 47)
    for severity, (sigma, reach, passes) in enumerate(
        [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)], 1
    ):
        draws = np.random.default_rng(severity)
        shape = (61 - 2 * reach, 47 - 2 * reach, 2)
        offsets = [draws.integers(-reach, reach, shape, np.int8) for _ in range(passes)]
        steps = iter(np.concatenate([field.reshape(-1, 2) for field in offsets]).tolist())
        smooth = ndimage.gaussian_filter(image / 255, (sigma, sigma, 0), mode="nearest")
        random = SimpleNamespace(seed=int, randint=lambda *_, steps=steps, **__: next(steps))
        with mock.patch.object(oracle.corruptions, "np", SimpleNamespace(random=random)):
            moved = loop(61, 47, np.uint8(smooth * 255), (sigma, reach, passes), 0)
        expected = ndimage.gaussian_filter(moved / 255, (sigma, sigma, 0), mode="nearest") * 255
        found = corrupt(image, "glass_blur", severity, np.random.default_rng(severity))
        assert difference(found, np.uint8(expected)).max() <= 2  # both cut to bytes twice


@pytest.mark.parametrize("name", ["impulse_noise", "shot_noise", "glass_blur", "frost"])
def test_as_strong_as_the_package(oracle, name):
    images = [photograph(224, 224, seed) for seed in range(4)]
    for severity in (1, 3, 5):
        mine = [made(p, name, severity, i).astype(int) - p for i, p in enumerate(images)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.random.seed(severity)  # the package draws its frost from here
            others = [
                oracle.corrupt(p, severity=severity, corruption_name=name).astype(int) - p
                for p in images
            ]
        found, expected = np.std(mine), np.std(others)
        assert found == pytest.approx(expected, rel=0.4 if name == "frost" else 0.03)
