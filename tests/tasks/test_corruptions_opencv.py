"""The corruptions run without OpenCV, and are what they were with it."""

import importlib
import sys

import numpy as np
import pytest

from tasks.errors import TaskError
from tasks.robustness import corruptions
from tasks.robustness.corruptions.blur import defocus_blur, line_blur
from tasks.robustness.corruptions.gaussian import gaussian_filter, gaussian_taps
from tasks.robustness.corruptions.resampling import sampled

SIZES = ((7, 5), (32, 32), (48, 64), (224, 224), (197, 300))


def image_of(size):
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture
def without_cv2(monkeypatch):
    """The modules of the corruptions, imported anew where `import cv2` fails."""
    for name in [name for name in sys.modules if name.startswith(corruptions.__name__)]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.split(".")[0] == "cv2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr(sys.modules["tasks.robustness"], "corruptions", None)
    return importlib.import_module(corruptions.__name__)


def test_only_spatter_needs_opencv(without_cv2):
    assert without_cv2 is not corruptions
    for name in (*without_cv2.CORRUPTIONS, *without_cv2.EXTRA):
        for size in SIZES[:3]:
            draws = without_cv2.generator_for(0, 0, name, 2)
            if name == "spatter":
                with pytest.raises(TaskError, match=r"spatter.*apt-get install libxcb1") as raised:
                    without_cv2.corrupt(image_of(size), name, 2, draws)
                assert "\n" not in str(raised.value)
            else:
                without_cv2.corrupt(image_of(size), name, 2, draws)


@pytest.fixture(scope="module")
def cv2():
    return pytest.importorskip("cv2", exc_type=ImportError)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("sigma", "truncate", "border", "theirs"),
    [
        (0.05, 4, "edge", "BORDER_REPLICATE"),
        (0.4, 4, "edge", "BORDER_REPLICATE"),
        (6, 4, "edge", "BORDER_REPLICATE"),
        (1.3, 3, "symmetric", "BORDER_REFLECT"),
    ],
)
def test_the_gaussian_is_opencvs(cv2, size, sigma, truncate, border, theirs):
    image = image_of(size)
    taps = gaussian_taps(sigma, truncate)
    for values in (image, image.astype(np.float32), image[..., 0].astype(np.float32)):
        expected = cv2.sepFilter2D(values, cv2.CV_32F, taps, taps, borderType=getattr(cv2, theirs))
        found = gaussian_filter(values, sigma, truncate, border)
        np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("radius", "smoothing"), [(0.3, 0.4), (2.5, 0.01), (8, 0.5), (10, 0.5)])
def test_the_disk_is_opencvs(cv2, size, radius, smoothing):
    image = image_of(size)
    reach, taps = (8, 3) if radius <= 8 else (radius, 5)
    x, y = np.meshgrid(*[np.arange(-reach, reach + 1)] * 2)
    disk = np.array(x**2 + y**2 <= radius**2, np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (taps, taps), smoothing)
    expected = cv2.filter2D(image, cv2.CV_32F, kernel)
    found = defocus_blur(image, (radius, smoothing))
    wrong = np.abs(found.astype(int) - np.clip(expected + 1e-3, 0, 255).astype(int))
    assert wrong.max() <= 1
    assert wrong.mean() < 1e-3


@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_reading_between_pixels_is_opencvs(cv2, size):
    height, width = size
    values = image_of(size).astype(np.float32)
    draws = np.random.default_rng(1)
    across = draws.uniform(-40, width + 40, size).astype(np.float32)
    down = draws.uniform(-40, height + 40, size).astype(np.float32)
    for border, twice in ((cv2.BORDER_REFLECT, True), (cv2.BORDER_REFLECT_101, False)):
        expected = cv2.remap(values, across, down, cv2.INTER_LINEAR, borderMode=border)
        wrong = np.abs(sampled(values, across, down, twice) - expected)
        if int(cv2.__version__.split(".")[0]) >= 5:
            assert wrong.max() < 0.05
        else:  # it rounded positions to 1/32 pixel
            assert wrong.max() < 8


@pytest.mark.parametrize("angle", [-135.0, -20.0, 45.0])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_motion_is_a_filter_of_opencv(cv2, size, angle):
    """A filter mirrored at its middle, with the weights of the copies in their places."""
    radius, sigma = 6, 2.5
    kernel = np.zeros((4 * radius + 1, 4 * radius + 1), np.float32)
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    for step, weight in enumerate(weights / weights.sum()):
        down = int(np.ceil(step * np.sin(np.radians(angle)) - 0.5))
        right = int(np.ceil(step * np.cos(np.radians(angle)) - 0.5))
        kernel[2 * radius + down, 2 * radius + right] += weight
    image = image_of(size)
    for values in (image, image[..., 0].astype(np.float32)):
        expected = cv2.filter2D(values, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(line_blur(values, radius, sigma, angle), expected, atol=2e-4)
