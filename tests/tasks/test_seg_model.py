"""The segmentation network against the original's outputs, and its checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import ConfigDict
from reference import golden, rule

import dcls
from dcls.errors import CheckpointError
from tasks.errors import SettingError
from tasks.segmentation import Segmenter, upernet

REFERENCE = Path(__file__).parents[1] / "reference"
RELEASED = json.loads((REFERENCE / "manifest.json").read_text())
UPERNETS = [name for name in RELEASED if name.startswith("upernet_")]
TINY = {"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 8), "channels": 8, "auxiliary_channels": 8}


def small(num_classes=5, **settings):
    return upernet("convnext_dcls_atto", num_classes, **{**TINY, **settings})


@pytest.fixture(scope="module")
def reference():
    return np.load(REFERENCE / "seg_tiny_whole.npz")


@pytest.fixture(scope="module")
def tiny(reference):
    """The T model with the reference's weights."""
    model = upernet("convnext_dcls_tiny", 150).eval()
    state = {key: rule.tensor_for(key, value.shape) for key, value in model.state_dict().items()}
    np.testing.assert_allclose(golden.digest(state), reference["digest"], rtol=1e-9)
    model.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in state.items()})
    return model


def image(height, width):
    x = torch.from_numpy(rule.image_for("seg", height, width)[None])
    return x.contiguous(memory_format=torch.channels_last)


def check_labels(reference, name, logits):
    """Labels agree, but for as many pixels as have two classes nearly equal."""
    labels = logits.argmax(1)[0].numpy()
    near = int(reference[f"{name}/pixels_with_top2_gap_below_1e-4"])
    wanted = reference[f"{name}/argmax_stride8"]
    assert (labels[::8, ::8] != wanted).sum() <= near
    histogram = np.bincount(labels.ravel(), minlength=150)
    assert np.abs(histogram - reference[f"{name}/argmax_hist"]).sum() <= 2 * near


def remember(monkeypatch, module):
    """Let a module answer the same inputs from memory: half of the time of the T model."""
    forward, known = module.forward, []

    def remembered(inputs):
        if not known:
            known.extend((inputs, forward(inputs)))
        flat = [[x] if isinstance(x, torch.Tensor) else x for x in (inputs, known[0])]
        assert all(map(torch.equal, *flat))
        return known[1]

    monkeypatch.setattr(module, "forward", remembered)


def test_logits_and_losses_are_the_originals(reference, tiny, monkeypatch):
    remember(monkeypatch, tiny.backbone)
    remember(monkeypatch, tiny.decode_head)
    with torch.no_grad():
        whole = tiny(image(512, 512))
        golden.check(reference, "whole_512x512", whole)
        check_labels(reference, "whole_512x512", whole)
        labels = torch.from_numpy(rule.labels_for("seg", 512, 512, 150))[None]
        losses = tiny.losses(image(512, 512), labels)
    for name, value in losses.items():
        assert float(value) == pytest.approx(float(reference[f"loss_eval/{name}"]), rel=1e-4)


@pytest.mark.parametrize("size", [(64, 96), (150, 70), (40, 40)])
def test_sliding_windows_are_mmsegmentations(size):
    model = small().eval()
    model.test_cfg = ConfigDict(mode="slide", crop_size=(64, 64), stride=(43, 43))
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        wanted = model.slide_inference(images, [{"img_shape": images.shape[2:]}] * 2)
        found = model.slide(images, crop=64, stride=43, window_batch=3)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("file", UPERNETS)
def test_keys_and_shapes_are_those_of_the_released_files(file):
    name = file.removeprefix("upernet_").split("_1k")[0]
    with torch.device("meta"):
        model = upernet(name, 150)
    backbone = RELEASED[file]["shapes"]
    found = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert {k: v for k, v in found.items() if k.startswith("backbone.")} == backbone
    heads = RELEASED[file].get("heads")
    assert {k: v for k, v in found.items() if not k.startswith("backbone.")} == heads


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_checkpoint_loads_under_any_prefix(tmp_path, prefix):
    source, target = small(), small()
    state = {prefix + key: value for key, value in source.state_dict().items()}
    torch.save({"state_dict": state, "meta": {"epoch": 1}}, tmp_path / "file.pth")
    dcls.load_model_checkpoint(target, tmp_path / "file.pth", "decode_head.conv_seg.weight")
    for key, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key


def test_what_a_checkpoint_lacks_is_said(tmp_path):
    path = tmp_path / "file.pth"
    state = small().state_dict()
    torch.save({k: v for k, v in state.items() if "lateral_convs.1" not in k}, path)
    with pytest.raises(CheckpointError, match=r"missing .*lateral_convs\.1"):
        small(weights=path)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="trained on 5 classes, but the model has 7"):
        small(num_classes=7, weights=path)
    torch.save({k: v for k, v in state.items() if k.startswith("backbone.")}, path)
    with pytest.raises(CheckpointError, match=r"no auxiliary_head, decode_head.*pretrained"):
        small(weights=path)


def test_a_classifier_gives_its_weights_to_the_backbone(tmp_path):
    settings = {"depths": TINY["depths"], "dims": TINY["dims"]}
    classifier = dcls.create_backbone("convnext_dcls_atto", num_classes=3, **settings)
    torch.save(classifier.state_dict(), tmp_path / "classifier.pth")
    model = small()
    dcls.load_checkpoint(model.backbone, tmp_path / "classifier.pth", head=False)
    weight = model.backbone.stages[2][0].pwconv1.weight
    assert torch.equal(weight, classifier.stages[2][0].pwconv1.weight)


def test_any_head_of_mmsegmentation_by_its_settings():
    backbone = dcls.create_backbone("convnext_yocto", features=True)
    model = Segmenter(
        backbone, 4, {"type": "SegformerHead", "in_index": [0, 1, 2, 3], "channels": 8}
    )
    assert model.eval()(torch.randn(1, 3, 64, 96)).shape == (1, 4, 64, 96)
    with pytest.raises(SettingError, match="NoSuchHead"):
        Segmenter(backbone, 4, {"type": "NoSuchHead"})
    with pytest.raises(SettingError, match="feature map"):
        Segmenter(backbone, 4, {"type": "FCNHead", "in_index": 4})
    with pytest.raises(SettingError, match="no type"):
        Segmenter(backbone, 4, {"channels": 8})


def test_a_timm_model_is_a_backbone_too():
    model = upernet("timm/resnet18", 3, channels=8, auxiliary_channels=8).eval()
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_configurations_of_mmsegmentation_can_name_our_backbones():
    from tasks.segmentation.openmmlab import MODELS

    backbone = MODELS.build({"type": "DclsBackbone", "name": "convnext_dcls_yocto"})
    assert [y.shape[1] for y in backbone(torch.randn(1, 3, 64, 64))] == [40, 80, 160, 320]
