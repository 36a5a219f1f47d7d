"""What reaches the network in a training step, and what the loss is made of."""

import pytest
import torch
from builds import TINY_TASKS, build_task_of, tiny_job
from torch.nn import functional as F

import dcls
from tasks.detection.data import DetectionData
from tasks.detection.transforms import DetRecipe, as_content
from tasks.detection.transforms import TrainTransform as DetTransform
from tasks.segmentation.data import SegmentationData
from tasks.segmentation.transforms import SegRecipe
from tasks.segmentation.transforms import TrainTransform as SegTransform

each_task = pytest.mark.parametrize("task", TINY_TASKS)
DARK, BRIGHT = -2.0, 2.0  # 0 and 255, normalised by the mean 0.5 and the deviation 0.25


@pytest.fixture
def step(monkeypatch):
    """Do one training step; returns its loss, and what went into the backbone and came out."""

    def do(task, batch):
        seen = {}
        hook = task.backbone.register_forward_hook(
            lambda _, inputs, output: seen.update(images=inputs[0], output=output)
        )
        for log in ("log", "log_dict"):
            monkeypatch.setattr(task, log, lambda *_, **__: None)
        loss = task.train().shared_step({"unreadable": [], **batch}, "train")
        hook.remove()
        return loss.detach(), seen["images"].detach(), seen["output"]

    return do


@pytest.fixture
def two_flat_images():
    """A black one of class 3 and a white one of class 5."""
    image = torch.stack([torch.full((16, 16, 3), level, dtype=torch.uint8) for level in (0, 255)])
    return {"image": image, "label": torch.tensor([3, 5])}


def soft_targets(share, smoothing):
    """Targets of two images of classes 3 and 5, `share` of each mixed with the rest the other."""
    hard = F.one_hot(torch.tensor([3, 5]), 10).float()
    mixed = share * hard + (1 - share) * hard.flip(0)
    return mixed * (1 - smoothing) + smoothing / 10


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["mixup", "cutmix", "neither"])
def test_images_and_targets_are_mixed_alike(step, two_flat_images, kind, smoothing):
    mixing = () if kind == "neither" else (f"task.mixing.{kind}=1.0",)
    task = build_task_of("cls", f"task.mixing.smoothing={smoothing}", *mixing)
    torch.manual_seed(0)
    loss, images, logits = step(task, two_flat_images)
    values = {round(value, 4) for value in images[0].unique().tolist()}
    share = float((BRIGHT - images[0].mean()) / (BRIGHT - DARK))  # of the first, black image
    if kind == "neither":
        assert (values, share) == ({DARK}, pytest.approx(1))
    else:
        assert 0.05 < share < 0.95
        assert (values == {DARK, BRIGHT}) is (kind == "cutmix")
        assert images[1].mean() == pytest.approx(-float(images[0].mean()), abs=1e-5)
    expected = F.cross_entropy(logits.detach(), soft_targets(share, smoothing))
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_a_single_image_cannot_be_mixed_but_its_target_is_smoothed(step, two_flat_images):
    task = build_task_of("cls", "task.mixing.mixup=1.0", "task.mixing.smoothing=0.3")
    alone = {name: part[:1] for name, part in two_flat_images.items()}
    loss, _, logits = step(task, alone)
    expected = F.cross_entropy(logits.detach(), alone["label"], label_smoothing=0.3)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def seg_batch():
    """One image that fills the crop of 32 pixels and one of 20x24, which is padded to it."""
    recipe = SegRecipe(32, None, None, 1.0, 0.0, False, "none", (0.5,) * 3, (0.25,) * 3)
    transform, samples = SegTransform(recipe), []
    for height, width in ((32, 32), (20, 24)):
        image = torch.full((height, width, 3), 255, dtype=torch.uint8).numpy()
        labels = torch.ones(height, width, dtype=torch.uint8).numpy()
        samples.append({**transform(image, labels), "index": len(samples)})
    return SegmentationData.collate(samples)


def det_batch():
    """Likewise, padded to the size that both fit in."""
    recipe = DetRecipe(None, [], None, [], None, 0.0, (0.5,) * 3, (0.25,) * 3)
    transform, samples = DetTransform(recipe), []
    for height, width in ((32, 32), (20, 24)):
        image = torch.full((3, height, width), 255, dtype=torch.uint8)
        mask = torch.zeros(1, height, width, dtype=torch.uint8)
        mask[0, 2:14, 2:14] = 1
        box = torch.tensor([[2.0, 2.0, 14.0, 14.0]])
        samples.append(transform(as_content(image, box, torch.tensor([1]), mask)))
    return DetectionData.collate(samples)


@pytest.mark.parametrize(("task", "batch"), [("seg", seg_batch()), ("det", det_batch())])
def test_padding_is_zero_when_it_reaches_the_network(step, task, batch):
    loss, images, _ = step(build_task_of(task), batch)
    assert torch.isfinite(loss)
    whole, small = images
    assert whole[:, :32, :32].min() > BRIGHT - 1e-4
    assert small[:, :20, :24].min() > BRIGHT - 1e-4
    assert small.shape[1] > 20
    assert small.shape[2] > 24
    assert not small[:, 20:].any()
    assert not small[:, :, 24:].any()


@each_task
def test_the_backbone_starts_from_the_weights_of_pretrained(task, tmp_path):
    settings = {"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 8), "stem_stride": 2}
    torch.manual_seed(1234)
    other = dcls.create_backbone("convnext_dcls_yocto", num_classes=3, **settings)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    built = build_task_of(task, f"backbone.pretrained={tmp_path / 'other.pth'}").backbone
    fresh = build_task_of(task).backbone.state_dict()
    wanted, compared = other.state_dict(), 0
    for name, weight in built.state_dict().items():
        if name.startswith(("stages.", "downsample_layers.")):
            assert torch.equal(weight, wanted[name]), name
            compared += not torch.equal(weight, fresh[name])
    assert compared > 10


@each_task
@pytest.mark.parametrize("compiled", [False, True])
def test_compile_makes_the_backbone_run_compiled(task, compiled, tmp_path, monkeypatch):
    """In training and in evaluation; what compiles is replaced by what counts the calls."""
    calls = []

    def counting(function, *_, **__):
        def counted(*args, **kwargs):
            calls.append(torch.is_grad_enabled())
            return function(*args, **kwargs)

        return counted

    monkeypatch.setattr(torch, "compile", counting)
    job = tiny_job(task, tmp_path, f"compile={compiled}", "trainer.limit_train_batches=1")
    job.trainer.fit(job.task, datamodule=job.data)
    assert (set(calls) == {True, False}) if compiled else not calls
