"""Windows and bands give what the whole gives."""

import pytest
import torch
from torch.nn import functional as F

from tasks.errors import SettingError
from tasks.segmentation.inference import SCALES, Inference
from tasks.segmentation.windows import resized_bands, slide_bands, window_starts


def local_logits(images):
    """Logits that depend on the pixel alone: any windowing must give the same."""
    return torch.cat([images, images.square(), -images[:, :1]], 1)


def positional_logits(images):
    """Logits that depend on the place within the window, so that averages matter."""
    ramp = torch.linspace(0, 1, images.shape[3])
    return images[:, :2] + ramp + torch.linspace(0, 2, images.shape[2])[:, None]


def by_mmsegmentation(logits_of, images, crop, stride):
    """The published sliding window, written plainly over the whole image."""
    height, width = images.shape[2:]
    total = torch.zeros_like(logits_of(images))
    count = torch.zeros(1, 1, height, width)
    for top in window_starts(height, crop, stride):
        for left in window_starts(width, crop, stride):
            window = images[:, :, top : top + crop, left : left + crop]
            total[:, :, top : top + crop, left : left + crop] += logits_of(window)
            count[:, :, top : top + crop, left : left + crop] += 1
    return total / count


def test_window_starts():
    assert window_starts(512, 512, 341) == [0]
    assert window_starts(683, 512, 341) == [0, 171]
    assert window_starts(100, 512, 341) == [0]
    assert window_starts(1200, 512, 341) == [0, 341, 682, 688]


@pytest.mark.parametrize("logits_of", [local_logits, positional_logits])
@pytest.mark.parametrize("size", [(40, 70), (70, 40), (16, 16), (9, 33), (61, 8)])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_bands_together_are_the_average_of_windows(logits_of, size, batch):
    images = torch.randn(2, 3, *size)
    bands = list(slide_bands(logits_of, images, 16, 11, batch))
    wanted = by_mmsegmentation(logits_of, images, 16, 11)
    torch.testing.assert_close(torch.cat(bands, 2), wanted)


def test_memory_follows_the_windows_and_not_the_height():
    held = []

    def watched(images):
        logits = local_logits(images)
        held.append(logits.numel())
        return logits

    for height in (400, 4000):
        images = torch.randn(1, 3, height, 20)
        rows = [band.shape[2] for band in slide_bands(watched, images, 16, 11, 2)]
        assert sum(rows) == height
        assert max(rows) <= 2 * 11
    assert max(held) <= 2 * 7 * 16 * 16


@pytest.mark.parametrize("target", [(30, 50), (61, 83), (120, 31), (7, 200), (45, 70)])
def test_resizing_in_bands_is_interpolation(target):
    whole = torch.randn(2, 3, 45, 70)
    for split in ([45], [1] * 45, [10, 30, 5]):
        bands = list(resized_bands(whole.split(split, 2), (45, 70), target))
        wanted = F.interpolate(whole, target, mode="bilinear", align_corners=False)
        torch.testing.assert_close(torch.cat(bands, 2), wanted, atol=1e-5, rtol=1e-5)


def test_labels_with_and_without_augmentation():
    class Fake:
        """Gives the pixels as logits."""

        def __call__(self, images):
            return images

    images = torch.randn(2, 3, 24, 36)
    size = (31, 50)
    wanted = F.interpolate(images, size, mode="bilinear").argmax(1)
    for mode in ("whole", "slide"):
        inference = Inference(mode=mode, crop=16, stride=11)
        assert (inference.label(Fake(), [images], size) != wanted).float().mean() < 1e-3
    mirrored = Inference(tta="flip").label(Fake(), [images], size)
    assert (mirrored != wanted).float().mean() < 1e-3
    views = [F.interpolate(images, scale_factor=scale, mode="bilinear") for scale in SCALES]
    shares = sum(F.interpolate(view, size, mode="bilinear").softmax(1) for view in views)
    many = Inference(tta="ms_flip").label(Fake(), views, size)
    assert (many != shares.argmax(1)).float().mean() < 1e-3


@pytest.mark.parametrize(
    "settings",
    [{"mode": "half"}, {"tta": "all"}, {"stride": 600}, {"stride": 0}, {"window_batch": 0}],
)
def test_settings_that_cannot_work(settings):
    with pytest.raises(SettingError, match=str(next(iter(settings.values())))):
        Inference(**settings)
