"""The detectors against the original's outputs, and their checkpoints."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from reference import golden, rule

import dcls
from dcls.errors import CheckpointError
from tasks.detection import Detector, cascade_mask_rcnn, faster_rcnn, mask_rcnn
from tasks.detection.network.detector import load_weights
from tasks.detection.network.matching import Sampler
from tasks.detection.network.paste import run_lengths
from tasks.detection.network.settings import sized
from tasks.detection.network.targets import Target

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
def final():
    """Made with mmdetection 3.3.0: proposals and detections of the T model."""
    return np.load(REFERENCE / "det_tiny_final.npz")


@pytest.fixture(scope="module")
def small_reference():
    """Made with mmdetection 3.3.0: three narrow detectors on a batch of two sizes."""
    return np.load(REFERENCE / "det_small.npz")


@contextmanager
def taking_all(model):
    """A detector in evaluation mode, but with the proposals of training, all of them sampled."""
    rpn, heads = model.rpn_head, model.roi_head
    before = rpn.settings, heads.settings
    rpn.settings = replace(rpn.settings, sampler=Sampler(10**6, 1.0))
    heads.settings = replace(heads.settings, sampler=Sampler(10**6, 1.0))
    rpn.training = True
    try:
        yield
    finally:
        rpn.settings, heads.settings = before
        rpn.training = False


def target(boxes, labels, size):
    """Objects whose masks are the ellipses in their boxes, of whole pixels."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = np.zeros((len(boxes), *size), np.uint8)
    for mask, box in zip(masks, boxes, strict=True):
        x0, y0, x1, y1 = (int(side) for side in box)
        down, across = (y1 - y0) / 2, (x1 - x0) / 2
        mask[:] = ((rows - y0 - down) / down) ** 2 + ((columns - x0 - across) / across) ** 2 <= 1
    boxes = torch.as_tensor(np.asarray(boxes), dtype=torch.float32).view(-1, 4)
    return Target(boxes, torch.as_tensor(np.asarray(labels)), torch.from_numpy(masks))


def check_found(npz, name, found, size):
    """Detections agree without regard to their order, and so do the areas of their masks."""
    wanted = [npz[f"{name}/{part}"] for part in ("boxes", "labels", "scores")]
    got = [part.numpy() for part in (found.boxes, found.labels, found.scores)]
    matched, expected, number = golden.match_boxes(*got, *wanted)
    assert matched == expected == number, name
    if found.masks is None:
        return
    counts = run_lengths(found.masks, found.boxes, size)
    areas = [int(coco_mask.area({"size": list(size), "counts": one})) for one in counts]
    differences = np.sort(areas) - np.sort(npz[f"{name}/mask_area"])
    assert np.abs(differences).max() <= 2, name  # pixels at the threshold


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
    anchors = cascade.rpn_head.anchors.grids(shapes, torch.empty(0))
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


def check_proposals(found, wanted):
    """The same boxes one for one; near-equal scores may have exchanged neighbours."""
    found, free = np.asarray(found), set(range(len(found)))
    assert found.shape == wanted.shape
    for rank, box in enumerate(wanted):
        near = sorted(free & set(range(rank - 3, rank + 4)), key=lambda i: abs(i - rank))
        same = [i for i in near if np.allclose(found[i], box, rtol=1e-3, atol=1e-2)]
        assert same, f"no proposal is the original's number {rank}, {box}"
        free.remove(same[0])


def test_detections_are_the_originals(final, cascade, maps):
    with torch.no_grad():
        logits, deltas = cascade.rpn_head(maps)
        proposals = cascade.rpn_head.propose(logits, deltas, [IMAGE])
        check_proposals(proposals[0], final["proposals"])
        found = cascade.roi_head.detect(maps, proposals, [IMAGE], [IMAGE])
    check_found(final, "final", found[0], IMAGE)


SMALL_SIZES = ((160, 224), (128, 150))
SMALL_ORIGINALS = ((120, 168), (96, 110))
SMALL_TRUTHS = (
    ([[10.5, 12, 90, 100], [60, 40, 200, 150], [100, 5, 118, 22]], [0, 3, 4]),
    ([[20, 30, 120.5, 110], [90, 60, 148, 126]], [2, 1]),
)
NOTHING = (np.zeros((0, 4)), np.zeros(0, int))


@pytest.mark.parametrize("kind", ["faster", "mask", "cascade"])
def test_every_detector_agrees_on_a_batch_of_two_sizes(small_reference, kind):
    """Proposals, detections (rescaled too) and losses; one of the images without objects."""
    name = {"faster": "faster_rcnn", "mask": "mask_rcnn", "cascade": "cascade_mask_rcnn"}[kind]
    shape = {"depths": (1, 1, 1, 1), "dims": (8, 16, 16, 24)}
    backbone = dcls.create_backbone("convnext_dcls_atto", features=True, **shape)
    model = Detector(backbone, 5, sized(name, 16, 32, 1000, 512)).eval()
    fill(model)
    batch = torch.zeros(2, 3, *SMALL_SIZES[0])
    batch[0] = torch.from_numpy(rule.image_for("det", *SMALL_SIZES[0]))
    batch[1, :, :128, :150] = torch.from_numpy(rule.image_for("det_small", 128, 150))
    with torch.no_grad():
        proposals = model.rpn_head.propose(*model.rpn_head(model.maps(batch)), SMALL_SIZES)
        found = model.detect(batch, SMALL_SIZES, SMALL_SIZES)
        rescaled = model.detect(batch, SMALL_SIZES, SMALL_ORIGINALS)
    for i, size in enumerate(SMALL_SIZES):
        check_proposals(proposals[i], small_reference[f"{kind}/{i}/proposals"])
        check_found(small_reference, f"{kind}/{i}", found[i], size)
        check_found(small_reference, f"{kind}/rescaled{i}", rescaled[i], SMALL_ORIGINALS[i])
    for case, truths in (("loss", SMALL_TRUTHS), ("loss_empty", (SMALL_TRUTHS[0], NOTHING))):
        targets = [target(*truth, size) for truth, size in zip(truths, SMALL_SIZES, strict=True)]
        with taking_all(model), torch.no_grad():
            losses = model.losses(batch, SMALL_SIZES, targets)
        for part, loss in losses.items():
            expected = float(small_reference[f"{kind}/{case}/{part}"])
            assert float(loss) == pytest.approx(expected, rel=1e-3), (case, part)


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


def test_a_timm_model_is_a_backbone_too():
    backbone = dcls.create_backbone("timm/resnet18", features=True)
    model = Detector(backbone, 3, sized("mask_rcnn", 8, 16, 20, 16)).eval()
    assert model.rpn_head.anchors.strides == (4, 8, 16, 32, 64)
    assert model([torch.randn(3, 64, 64)])[0]["boxes"].shape[1] == 4


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
