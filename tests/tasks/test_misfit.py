"""A checkpoint that does not fit: the message names what is the matter, and nothing else."""

import pytest
import torch

import dcls
from dcls.errors import CheckpointError
from tasks.detection.network.detector import Detector, load_weights
from tasks.detection.network.settings import sized
from tasks.segmentation.model import Segmenter
from tasks.segmentation.model import load_weights as load_segmenter

SMALL = {"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 8)}
NAME = "convnext_dcls_yocto"


def backbone(**settings):
    return dcls.create_backbone(NAME, **{"num_classes": 5, **SMALL, **settings})


def detector(kind="mask_rcnn", channels=8, width=16, **settings):
    made_of = sized(kind, channels, width, 20, 16)
    return Detector(backbone(features=True, **settings), 5, made_of)


def segmenter(channels=8, auxiliary=8, **settings):
    heads = [{"type": "UPerHead", "channels": channels}]
    heads += [{"type": "FCNHead", "channels": auxiliary}] if auxiliary else [None]
    return Segmenter(backbone(features=True, **settings), 5, *heads)


def message(load, model, source, tmp_path):
    path = tmp_path / "file.ckpt"
    torch.save({"state_dict": source.state_dict()}, path)
    with pytest.raises(CheckpointError) as caught:
        load(model, path)
    return str(caught.value)


class AsTask(torch.nn.Module):
    """A classifier as in a run's checkpoint."""

    def __init__(self, model):
        super().__init__()
        self.backbone = model


def test_another_stem_is_named_and_not_the_backbone_that_it_is(tmp_path):
    source = AsTask(backbone(stem_stride=4))
    said = message(dcls.load_checkpoint, backbone(stem_stride=2), source, tmp_path)
    assert "downsample_layers.0.0.weight: 4x3x4x4, in the model 4x3x2x2" in said
    assert "was built with stem_stride=4, the model's with stem_stride=2" in said
    assert "looks like" not in said


def test_a_missing_head_is_not_about_the_backbone(tmp_path):
    source = backbone()
    del source.head
    said = message(dcls.load_checkpoint, backbone(), source, tmp_path)
    assert said.endswith("2 missing (head.weight, head.bias).")


@pytest.mark.parametrize(
    ("source", "task"), [(segmenter, "seg"), (detector, "det")], ids=["segmenter", "detector"]
)
def test_a_dense_model_as_a_classifier(tmp_path, source, task):
    said = message(dcls.load_checkpoint, backbone(), source(), tmp_path)
    assert f"use it with task={task}, or start from its backbone alone" in said
    assert "looks like" not in said


@pytest.mark.parametrize("settings", [{}, {"stem_stride": 2}])
def test_the_backbone_of_a_dense_model_of_another_kind(tmp_path, settings):
    """Where it is the backbone that was asked for, what the rest is does not matter."""
    torch.save(segmenter().state_dict(), tmp_path / "file.pth")
    model = backbone(features=True, **settings)
    if not settings:
        dcls.load_checkpoint(model, tmp_path / "file.pth", head=False)
        return
    with pytest.raises(CheckpointError, match="stem_stride") as caught:
        dcls.load_checkpoint(model, tmp_path / "file.pth", head=False)
    assert "task=seg" not in str(caught.value)


def test_a_detector_of_other_sizes(tmp_path):
    said = message(load_weights, detector(channels=16, width=8), detector(), tmp_path)
    assert "differs in neck, roi_head, rpn_head, and not in the backbone" in said
    assert "a model with task.channels=8 task.width=16, not with task.channels=16" in said
    assert "looks like" not in said


def test_a_detector_of_another_kind(tmp_path):
    said = message(load_weights, detector("faster_rcnn"), detector("mask_rcnn"), tmp_path)
    assert "a model with detector=mask_rcnn, not with detector=faster_rcnn" in said


def test_a_segmenter_of_other_widths(tmp_path):
    said = message(load_segmenter, segmenter(channels=16), segmenter(), tmp_path)
    assert "differs in decode_head, and not in the backbone" in said
    assert "a model with task.decode_head.channels=8, not with task.decode_head.channels=16" in said
    said = message(load_segmenter, segmenter(), segmenter(auxiliary=0), tmp_path)
    assert "holds no auxiliary_head" in said
    assert "a model with task.auxiliary_head=null" in said


def test_a_detector_as_a_segmenter_and_the_other_way_round(tmp_path):
    said = message(load_segmenter, segmenter(), detector(), tmp_path)
    assert "checkpoint of a detector: use it with task=det" in said
    said = message(load_weights, detector(), segmenter(), tmp_path)
    assert "checkpoint of a segmenter: use it with task=seg" in said


def test_another_stem_of_a_dense_model(tmp_path):
    said = message(load_segmenter, segmenter(stem_stride=2), segmenter(), tmp_path)
    assert "stem_stride=4, the model's with stem_stride=2" in said
    assert "It differs" not in said
