"""The detectors against the original's outputs, and their checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import golden, rule

import dcls
from dcls.errors import CheckpointError
from tasks.detection import Detector, cascade_mask_rcnn, faster_rcnn, mask_rcnn
from tasks.detection.detector import load_weights
from tasks.detection.settings import sized

REFERENCE = Path(__file__).parents[1] / "reference"
RELEASED = json.loads((REFERENCE / "manifest.json").read_text())
CASCADES = [name for name in RELEASED if name.startswith("cascade_")]
IMAGE = (480, 640)
SHAPE = {"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 8)}


def small(kind="mask_rcnn", num_classes=5):
    backbone = dcls.create_backbone("convnext_dcls_atto", features=True, **SHAPE)
    return Detector(backbone, num_classes, sized(kind, 8, 16, 20, 16))


def fill(model):
    """The reference's weights."""
    state = {key: rule.tensor_for(key, value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in state.items()})
    return golden.digest(state)


@pytest.fixture(scope="module")
def reference():
    return np.load(REFERENCE / "det_tiny_steps.npz")


@pytest.fixture(scope="module")
def cascade(reference):
    """The T model with the reference's weights."""
    model = cascade_mask_rcnn("convnext_dcls_tiny", 80).eval()
    np.testing.assert_allclose(fill(model), reference["digest"], rtol=1e-9)
    return model


@pytest.fixture(scope="module")
def maps(cascade):
    image = torch.from_numpy(rule.image_for("det", *IMAGE)[None])
    with torch.no_grad():
        return cascade.maps(image.contiguous(memory_format=torch.channels_last))


def test_pyramid_and_proposal_outputs_are_the_originals(reference, cascade, maps):
    with torch.no_grad():
        logits, deltas = cascade.rpn_head(maps)
    shapes = [tuple(x.shape[-2:]) for x in maps]
    anchors = cascade.rpn_head.anchors.grids(shapes, torch.device("cpu"))
    for i, x in enumerate(maps):
        golden.check(reference, f"fpn{i}", x)
        golden.check(reference, f"rpn_cls{i}", logits[i])
        golden.check(reference, f"rpn_reg{i}", deltas[i])
        golden.check(reference, f"anchors{i}", anchors[i], atol=0, rtol=1e-6)
        np.testing.assert_allclose(anchors[i][:6], reference[f"anchors{i}/first6"], rtol=1e-6)
        np.testing.assert_allclose(anchors[i][-6:], reference[f"anchors{i}/last6"], rtol=1e-6)


def test_heads_say_the_same_of_given_regions(reference, cascade, maps):
    regions = torch.from_numpy(reference["fixed_rois"])
    heads = cascade.roi_head
    np.testing.assert_array_equal(heads.pooling.levels(regions), reference["fixed/levels"])
    with torch.no_grad():
        features = heads.pooling.pool(maps, regions, 7)
        golden.check(reference, "fixed/bbox_feats", features)
        for i, head in enumerate(heads.box_heads):
            logits, deltas = head(features)
            refined = head.refine(regions[:, 1:], deltas, logits[:, :-1].argmax(1), IMAGE)
            for name, found in (
                ("cls_score", logits),
                ("bbox_pred", deltas.flatten(1)),
                ("regressed", refined),
            ):
                wanted = reference[f"fixed/stage{i}/{name}"]
                np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3, err_msg=name)
        features = heads.pooling.pool(maps, regions, 14)
        golden.check(reference, "fixed/mask_feats", features)
        for i, head in enumerate(heads.mask_heads):
            golden.check(reference, f"fixed/stage{i}/mask_logits", head(features))


@pytest.mark.parametrize("file", CASCADES)
def test_keys_and_shapes_are_those_of_the_released_files(file):
    name = file.removeprefix("cascade_mask_rcnn_").split("_1k")[0]
    with torch.device("meta"):
        model = cascade_mask_rcnn(name, 80)
    found = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert found == RELEASED[file]["shapes"] | RELEASED[file]["heads"]


def test_a_mask_rcnn_has_the_keys_of_facebooks_file():
    with torch.device("meta"):
        keys = {k: tuple(v.shape) for k, v in mask_rcnn("convnext_tiny", 80).state_dict().items()}
    heads = {key: shape for key, shape in keys.items() if key.startswith("roi_head.")}
    assert heads["roi_head.bbox_head.shared_fcs.0.weight"] == (1024, 256 * 49)
    assert heads["roi_head.bbox_head.fc_reg.weight"] == (320, 1024)
    assert heads["roi_head.mask_head.convs.3.conv.bias"] == (256,)
    assert len(heads) == 8 + 12
    assert sum(np.prod(shape) for shape in keys.values()) == pytest.approx(48.1e6, rel=0.01)


@pytest.mark.parametrize("prefix", ["", "module.", "detector."])
def test_a_checkpoint_loads_under_any_prefix(tmp_path, prefix):
    source, target = small(), small()
    state = {prefix + key: value for key, value in source.state_dict().items()}
    torch.save({"state_dict": state, "meta": {"epoch": 1}}, tmp_path / "file.pth")
    load_weights(target, tmp_path / "file.pth")
    for key, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key


def test_what_a_checkpoint_lacks_is_said(tmp_path):
    path = tmp_path / "file.pth"
    whole = mask_rcnn("convnext_dcls_atto", 5, **SHAPE)
    state = whole.state_dict()
    torch.save({k: v for k, v in state.items() if "fc_reg" not in k}, path)
    with pytest.raises(CheckpointError, match=r"missing .*fc_reg"):
        mask_rcnn("convnext_dcls_atto", 5, path, **SHAPE)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="trained on 5 classes, but the model has 7"):
        mask_rcnn("convnext_dcls_atto", 7, path, **SHAPE)
    with pytest.raises(CheckpointError, match="mask_head"):
        faster_rcnn("convnext_dcls_atto", 5, path, **SHAPE)


@pytest.mark.parametrize("kind", ["faster_rcnn", "mask_rcnn", "cascade_mask_rcnn"])
def test_the_module_detects_and_gives_losses(kind):
    model = small(kind)
    images = [torch.randn(3, 70, 100), torch.randn(3, 64, 50)]
    targets = [
        {
            "boxes": torch.tensor([[10.0, 10.0, 40.0, 50.0], [30.0, 5.0, 90.0, 60.0]]),
            "labels": torch.tensor([0, 4]),
            "masks": torch.ones(2, 70, 100, dtype=torch.uint8),
        },
        {
            "boxes": torch.zeros(0, 4),
            "labels": torch.zeros(0, dtype=torch.long),
            "masks": torch.zeros(0, 64, 50, dtype=torch.uint8),
        },
    ]
    losses = model(images, targets)
    assert all(torch.isfinite(loss) for loss in losses.values()), losses
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    found = model.eval()(images)
    for image, one in zip(images, found, strict=True):
        height, width = image.shape[1:]
        assert len(one["boxes"]) == len(one["scores"]) == len(one["labels"]) > 0
        assert (one["boxes"] >= 0).all()
        assert (one["boxes"] <= torch.tensor([width, height, width, height])).all()
        assert (one["scores"].diff() <= 0).all()
        assert set(one["labels"].tolist()) <= set(range(5))
        if kind == "faster_rcnn":
            assert "masks" not in one
        else:
            assert one["masks"].shape == (len(one["boxes"]), height, width)
    with pytest.raises(ValueError, match="a target per image"):
        model.train()(images)


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (33, 31)])
def test_images_of_odd_sizes_and_none_with_an_object(size):
    model = small("cascade_mask_rcnn")
    images = [torch.randn(3, *size)] * 2
    target = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.long),
        "masks": torch.zeros(0, *size, dtype=torch.uint8),
    }
    losses = model(images, [target, target])
    loss = sum(losses.values())
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in model.parameters())
    model.eval()(images)


def test_company_in_a_batch_changes_little():
    """Padding is seen by the convolutions, and by nothing else."""
    model = small().eval()
    image = torch.randn(3, 64, 96)
    alone = model([image])[0]
    beside = model([image, torch.randn(3, 64, 96)])[0]
    torch.testing.assert_close(alone["boxes"], beside["boxes"], rtol=1e-4, atol=1e-3)
