"""Checkpoints of every kind, made here: nothing is downloaded."""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

import dcls
from dcls.checkpoint_file import read_state
from dcls.errors import CheckpointError
from dcls.key_names import from_timm
from dcls.recognition import guess_backbone

RELEASED = json.loads((Path(__file__).parents[1] / "reference/manifest.json").read_text())
SMALL = {"depths": (1, 2, 3, 1), "dims": (4, 8, 8, 16), "num_classes": 5}
HEAD = ("norm.weight", "norm.bias", "head.weight", "head.bias")
STAGE_NORMS = tuple(f"norm{i}.{kind}" for i in range(4) for kind in ("weight", "bias"))


def small(name="convnext_dcls_atto", seed=0, **settings):
    """A small backbone with all parameters random, so that none is equal by chance."""
    torch.manual_seed(seed)
    model = dcls.create_backbone(name, **{**SMALL, **settings}).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def saved(tmp_path, content, name="file.pth", **how):
    path = tmp_path / name
    torch.save(content, path, **how)
    return path


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def assert_same_weights(model, other, but=()):
    wanted = other.state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(value, wanted[key]) == (key not in but), key


def one_line(caplog, *parts):
    """Whether exactly one line was logged, with all parts in it."""
    (line,) = [record.getMessage() for record in caplog.records]
    return all(part in line for part in parts)


class TestAverages:
    """Averaged weights in the files of other projects are preferred, and what is left is named."""

    @pytest.mark.parametrize(
        ("wrapped", "taken", "left"),
        [
            (lambda a, r: {"state_dict": r, "state_dict_ema": a}, "state_dict_ema", "state_dict"),
            (lambda a, r: {"model": r, "model_ema": a}, "model_ema", "model"),
            (
                lambda a, r: {
                    "model": r,
                    "model_ema": {"n_averaged": torch.tensor(3)} | prefixed("module.", a),
                },
                "model_ema.module.",
                "model",
            ),
            (lambda a, r: {"ema": {"module": a, "updates": 3}, "model": r}, "ema.module", "model"),
            (
                lambda a, r: {"student": r, "teacher": {"backbone": a}},
                "teacher.backbone.",
                "student",
            ),
            (
                lambda a, r: {
                    "student": prefixed("module.backbone.", r),
                    "teacher": prefixed("backbone.", a),
                    "dino_loss": {"center": torch.zeros(1, 4)},
                },
                "teacher.backbone.",
                "student",
            ),
            (
                lambda a, r: {
                    "state_dict": prefixed("student.backbone.", r)
                    | prefixed("teacher.backbone.", a)
                },
                "state_dict.teacher.backbone.",
                "state_dict.student.backbone.",
            ),
            (
                lambda a, r: prefixed("backbone.", r) | prefixed("ema_model.module.", a),
                "ema_model.module.",
                "backbone.",
            ),
            (
                lambda a, r: {"state_dict": a, "ema_state_dict": prefixed("module.", r)},
                "state_dict",  # mmengine's
                "ema_state_dict",
            ),
        ],
    )
    def test_the_average_is_taken_and_the_rest_is_named(
        self, tmp_path, caplog, wrapped, taken, left
    ):
        average, raw, target = small(seed=1), small(seed=2), small(seed=3)
        content = wrapped(average.state_dict(), raw.state_dict())
        report = dcls.load_checkpoint(target, saved(tmp_path, content))
        assert_same_weights(target, average)
        assert report.missing == ()
        taken = taken if taken.endswith(".") else f"{taken}."
        assert one_line(caplog, "file.pth", f"{taken}* was taken, not {left}")

    @pytest.mark.parametrize(
        "key", ["state_dict_ema", "model_ema", "ema", "teacher", "ema_state_dict", "student"]
    )
    def test_one_set_of_weights_alone_is_taken_whatever_it_is_called(self, tmp_path, caplog, key):
        source, target = small(seed=1), small(seed=2)
        content = {key: source.state_dict(), "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
        dcls.load_checkpoint(target, saved(tmp_path, content))
        assert_same_weights(target, source)
        assert not caplog.records

    def test_what_is_under_names_that_nobody_knows_is_counted(self, tmp_path, caplog):
        """Such as an average whose names have no dots, in the files of diffusion models."""
        caplog.set_level("INFO")
        source, target = small(seed=1), small(seed=2)
        flat = {f"model_ema.{k.replace('.', '_')}": v for k, v in source.state_dict().items()}
        content = {"state_dict": prefixed("model.", source.state_dict()) | flat}
        report = dcls.load_checkpoint(target, saved(tmp_path, content))
        assert len(report.ignored) == len(flat)
        assert one_line(caplog, f"{len(flat)} entries were not loaded (model_ema)")

    def test_an_average_that_was_never_made_is_no_average(self, tmp_path):
        source, target = small(seed=1), small(seed=2)
        dcls.load_checkpoint(
            target, saved(tmp_path, {"state_dict": source.state_dict(), "state_dict_ema": None})
        )
        assert_same_weights(target, source)

    def test_whole_models_too(self, tmp_path, caplog):
        def model(seed):
            torch.manual_seed(seed)
            return nn.ModuleDict(
                {"backbone": small(features=True, seed=seed), "head": nn.Linear(4, 5)}
            )

        average, raw, target = model(1), model(2), model(3)
        content = {"state_dict": raw.state_dict(), "state_dict_ema": average.state_dict()}
        dcls.load_model_checkpoint(target, saved(tmp_path, content), "head.weight")
        assert_same_weights(target, average)
        assert one_line(caplog, "state_dict_ema.* was taken, not state_dict")

    def test_the_guess_follows_the_weights_that_are_loaded(self, tmp_path):
        raw = dcls.create_backbone("convnext_yocto").state_dict()
        average = dcls.create_backbone("convnext_dcls_yocto").state_dict()
        path = saved(tmp_path, {"model": raw, "model_ema": average})
        assert guess_backbone(read_state(path)) == "convnext_dcls_yocto"


class TestKinds:
    @pytest.mark.parametrize(
        "wrapped",
        [
            lambda state: state,
            lambda state: {"model": state},
            lambda state: {"model": state, "optimizer": {"state": {}}, "epoch": 3},
            lambda state: {"state_dict": prefixed("backbone.", state)},
            lambda state: {"state_dict": prefixed("model.", state)},
            lambda state: prefixed("module.", state),
            lambda state: {"state_dict": prefixed("backbone._orig_mod.", state)},
            lambda state: {"state_dict": prefixed("module.backbone.", state)},
        ],
    )
    def test_wrappers_and_prefixes(self, tmp_path, wrapped):
        source, target = small(seed=1), small(seed=2)
        report = dcls.load_checkpoint(target, saved(tmp_path, wrapped(source.state_dict())))
        assert_same_weights(target, source)
        assert report == dcls.LoadReport("released", (), ())
        assert torch.equal(target(torch.ones(1, 3, 64, 64)), source(torch.ones(1, 3, 64, 64)))

    def test_an_averaged_run_gives_the_average(self, tmp_path):
        average, raw, target = small(seed=1), small(seed=2), small(seed=3)
        content = {
            "pytorch-lightning_version": "2.6.6",
            "state_dict": prefixed("backbone.", average.state_dict()) | {"step": torch.tensor(1)},
            "current_model_state": prefixed("backbone.", raw.state_dict()),
        }
        report = dcls.load_checkpoint(target, saved(tmp_path, content))
        assert_same_weights(target, average)
        assert report.ignored == ("step",)

    def test_where_a_model_stands_twice_the_nearer_one_is_taken(self, tmp_path, caplog):
        near, far, target = small(seed=1), small(seed=2), small(seed=3)
        content = prefixed("other.backbone.", far.state_dict()) | prefixed(
            "backbone.", near.state_dict()
        )
        dcls.load_checkpoint(target, saved(tmp_path, content))
        assert_same_weights(target, near)
        assert one_line(caplog, "backbone.* was taken, not other.backbone.*")

    def test_safetensors(self, tmp_path):
        source, target = small(seed=1), small(seed=2)
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file(
            {key: value.clone() for key, value in source.state_dict().items()}, path
        )
        dcls.load_checkpoint(target, str(path))
        assert_same_weights(target, source)

    def test_the_file_format_before_torch_1_6(self, tmp_path):
        source, target = small(seed=1), small(seed=2)
        path = saved(tmp_path, source.state_dict(), _use_new_zipfile_serialization=False)
        dcls.load_checkpoint(target, path)
        assert_same_weights(target, source)

    def test_settings_and_figures_beside_the_weights_are_harmless(self, tmp_path):
        source, target = small(seed=1), small(seed=2)
        content = {
            "model": source.state_dict(),
            "args": argparse.Namespace(lr=4e-3, betas=np.array([0.9, 0.999]), nb=np.int64(1000)),
            "best": np.float64(82.5),
            "acc": np.float32(0.5),
        }
        dcls.load_checkpoint(target, saved(tmp_path, content))
        assert_same_weights(target, source)

    def test_names_that_numpy_had_before_version_2(self, tmp_path):
        content = {"model": {"weight": torch.ones(2)}, "best": np.float64(1), "all": np.ones(3)}
        path = saved(tmp_path, content, _use_new_zipfile_serialization=False)
        new, old = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
        assert path.read_bytes().count(new) == 2
        path.write_bytes(path.read_bytes().replace(new, old))
        assert torch.equal(read_state(path)["weight"], torch.ones(2))

    def test_positions_beyond_the_border_are_taken_as_they_are(self, tmp_path):
        source, target = small(seed=1), small(seed=2)
        nn.init.constant_(source.stages[2][0].dwconv.P, 8.3)
        dcls.load_checkpoint(target, saved(tmp_path, source.state_dict()))
        assert float(target.stages[2][2].dwconv.P.detach().max()) == pytest.approx(8.3)


class TestTimm:
    def test_a_timm_model_and_ours_give_the_same_logits(self, tmp_path):
        torch.manual_seed(0)
        theirs = timm.create_model("convnext_atto", num_classes=7).eval()
        for parameter in theirs.parameters():  # a fresh layer scale hides the blocks
            nn.init.normal_(parameter, std=0.2)
        ours = dcls.create_backbone("convnext_atto", num_classes=7).eval()
        report = dcls.load_checkpoint(ours, saved(tmp_path, theirs.state_dict()))
        assert report == dcls.LoadReport("timm", (), ())
        x = torch.randn(2, 3, 96, 96)
        with torch.no_grad():
            torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("size", ["atto", "tiny", "base"])
    def test_all_names_and_shapes_become_ours(self, size):
        with torch.device("meta"):
            theirs = timm.create_model(f"convnext_{size}").state_dict()
            ours = dcls.create_backbone(f"convnext_{size}").state_dict()
        renamed = from_timm(theirs)
        assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.items()}

    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            ("stem.0.weight", "downsample_layers.0.0.weight"),
            ("stem.1.bias", "downsample_layers.0.1.bias"),
            ("stages.2.downsample.1.weight", "downsample_layers.2.1.weight"),
            ("stages.2.blocks.10.conv_dw.bias", "stages.2.10.dwconv.bias"),
            ("stages.1.blocks.0.norm.weight", "stages.1.0.norm.weight"),
            ("stages.1.blocks.0.mlp.fc1.bias", "stages.1.0.pwconv1.bias"),
            ("stages.1.blocks.0.gamma", "stages.1.0.gamma"),
            ("head.norm.weight", "norm.weight"),
            ("head.fc.bias", "head.bias"),
            ("something.else", "something.else"),
        ],
    )
    def test_the_key_table(self, theirs, ours):
        value = torch.arange(3.0)
        assert list(from_timm({theirs: value})) == [ours]
        assert from_timm({theirs: value})[ours] is value

    def test_convolutions_of_one_cell_become_matrices_and_kernels_stay(self):
        state = {
            "stages.0.blocks.0.mlp.fc2.weight": torch.randn(4, 16, 1, 1),
            "stages.0.blocks.0.conv_dw.weight": torch.randn(4, 1, 7, 7),
        }
        assert [tuple(v.shape) for v in from_timm(state).values()] == [(4, 16), (4, 1, 7, 7)]

    def test_timms_files_and_our_runs_load_into_a_timm_backbone(self, tmp_path):
        torch.manual_seed(1)
        source = dcls.create_backbone("timm/resnet18", num_classes=3)
        for number, content in enumerate(
            (source.model.state_dict(), {"state_dict": prefixed("backbone.", source.state_dict())})
        ):
            target = dcls.create_backbone("timm/resnet18", num_classes=3)
            report = dcls.load_checkpoint(target, saved(tmp_path, content))
            assert_same_weights(target, source)
            assert report.source == ("timm", "released")[number]

    def test_the_classes_of_a_timm_backbone(self, tmp_path):
        path = saved(tmp_path, timm.create_model("resnet18", num_classes=9).state_dict())
        target = dcls.create_backbone("timm/resnet18", num_classes=4)
        with pytest.raises(CheckpointError, match=r"9 classes.*model has 4"):
            dcls.load_checkpoint(target, path)
        report = dcls.load_checkpoint(target, path, head=False)
        assert report.missing == ("model.fc.weight", "model.fc.bias")
        assert report.ignored == report.missing


class TestHeads:
    def test_classification_weights_in_a_dense_model(self, tmp_path):
        source, target, fresh = small(seed=1), small(seed=2, features=True), small(features=True)
        dcls.load_checkpoint(fresh, saved(tmp_path, small(seed=2, features=True).state_dict()))
        report = dcls.load_checkpoint(target, saved(tmp_path, {"model": source.state_dict()}))
        assert report.ignored == HEAD
        assert report.missing == STAGE_NORMS
        for key, value in target.state_dict().items():
            wanted = fresh.state_dict() if key in STAGE_NORMS else source.state_dict()
            assert torch.equal(value, wanted[key]), key

    def test_the_backbone_of_a_detector(self, tmp_path):
        source, target = small(seed=1, features=True), small(seed=2, features=True)
        others = {"neck.lateral_convs.0.conv.weight": torch.ones(2), "rpn_head.norm.bias": None}
        others["rpn_head.norm.bias"] = torch.ones(2)
        content = {"meta": {"epoch": 36}, "state_dict": prefixed("backbone.", source.state_dict())}
        content["state_dict"] |= others
        report = dcls.load_checkpoint(target, saved(tmp_path, content))
        assert_same_weights(target, source)
        assert report == dcls.LoadReport("released", (), tuple(others))

    def test_a_dense_file_in_a_classifier_wants_its_head_left_out(self, tmp_path):
        source, target, before = small(seed=1, features=True), small(seed=2), small(seed=2)
        path = saved(tmp_path, source.state_dict())
        with pytest.raises(CheckpointError, match=r"4 missing \(norm.weight, .*features=True"):
            dcls.load_checkpoint(target, path)
        assert_same_weights(target, before)
        report = dcls.load_checkpoint(target, path, head=False)
        assert set(report.missing) == set(HEAD)
        assert set(report.ignored) == set(STAGE_NORMS)

    def test_another_number_of_classes(self, tmp_path):
        source, target = small(seed=1, num_classes=12), small(seed=2)
        path = saved(tmp_path, source.state_dict())
        with pytest.raises(CheckpointError, match=r"12 classes.*has 5.*num_classes=12.*head=False"):
            dcls.load_checkpoint(target, path)
        report = dcls.load_checkpoint(target, path, head=False)
        assert report.missing == report.ignored == ("head.weight", "head.bias")
        assert torch.equal(target.norm.weight, source.norm.weight)

    def test_a_model_without_a_head_ignores_the_files(self, tmp_path):
        source, target = small(seed=1), small(seed=2, num_classes=0)
        report = dcls.load_checkpoint(target, saved(tmp_path, source.state_dict()))
        assert report == dcls.LoadReport("released", (), ("head.weight", "head.bias"))

    def test_a_file_without_a_head_does_not_fill_one(self, tmp_path):
        path = saved(tmp_path, small(num_classes=0).state_dict())
        with pytest.raises(CheckpointError, match=r"2 missing \(head.weight, head.bias\)"):
            dcls.load_checkpoint(small(), path)


class TestSharedPositions:
    def test_blocks_that_differ_are_refused_by_stage(self, tmp_path):
        source, target, before = small(seed=1), small(seed=2), small(seed=2)
        state = {key: value.clone() for key, value in source.state_dict().items()}
        state["stages.2.1.dwconv.P"][0, 0, 0, 0] += 1e-3
        with pytest.raises(CheckpointError, match=r"stage 2 .*stages.2.1.*share_positions=False"):
            dcls.load_checkpoint(target, saved(tmp_path, state))
        assert_same_weights(target, before)

    def test_they_load_where_each_block_has_its_own(self, tmp_path):
        count = small().stages[0][0].dwconv.kernel_count
        source, target = (
            small(seed=seed, share_positions=False, kernel_count=count) for seed in (1, 2)
        )
        path = saved(tmp_path, source.state_dict())
        dcls.load_checkpoint(target, path)
        assert_same_weights(target, source)
        with pytest.raises(CheckpointError, match="stage 1 "):
            dcls.load_checkpoint(small(), path)

    def test_widths_are_held_to_the_same(self, tmp_path):
        state = {k: v.clone() for k, v in small(version="gauss").state_dict().items()}
        state["stages.1.1.dwconv.SIG"] += 1
        with pytest.raises(CheckpointError, match=r"stages.1.1.dwconv.SIG differs"):
            dcls.load_checkpoint(small(version="gauss"), saved(tmp_path, state))


class TestStrictness:
    def test_what_is_missing_or_left_over_is_named_and_counted(self, tmp_path):
        state = small().state_dict()
        for i in range(3):
            del state[f"stages.2.{i}.pwconv1.weight"], state[f"stages.2.{i}.pwconv2.weight"]
        state["extra.weight"] = torch.ones(1)
        with pytest.raises(CheckpointError) as caught:
            dcls.load_checkpoint(small(), saved(tmp_path, state))
        assert "6 missing (stages.2.0.pwconv1.weight, " in str(caught.value)
        assert ", ...); 1 unexpected (extra.weight)" in str(caught.value)

    def test_what_fits_is_loaded_if_asked_for(self, tmp_path):
        source, target = small(seed=1), small(seed=2)
        state = source.state_dict()
        del state["stages.0.0.gamma"]
        state["extra.weight"] = torch.ones(1)
        report = dcls.load_checkpoint(target, saved(tmp_path, state), strict=False)
        assert report == dcls.LoadReport("released", ("stages.0.0.gamma",), ("extra.weight",))
        assert_same_weights(target, source, but=("stages.0.0.gamma",))

    def test_other_shapes_are_never_loaded(self, tmp_path):
        path = saved(tmp_path, small(kernel_count=7).state_dict())
        target, before = small(seed=2), small(seed=2)
        with pytest.raises(CheckpointError, match=r"14 of another shape .*kernel_count=7"):
            dcls.load_checkpoint(target, path, strict=False)
        assert_same_weights(target, before)

    def test_the_right_backbone_is_named(self, tmp_path):
        path = saved(tmp_path, {"model": hollow("convnext_dcls_small_1k_224_ema.pth")})
        with torch.device("meta"):
            model = dcls.create_backbone("convnext_dcls_tiny")
        with pytest.raises(CheckpointError, match="looks like convnext_dcls_small: build"):
            dcls.load_checkpoint(model, path)
        with pytest.raises(CheckpointError, match="looks like convnext_dcls_small"):
            dcls.load_checkpoint(dcls.create_backbone("timm/resnet18"), path)

    def test_a_file_of_another_family(self, tmp_path):
        path = saved(tmp_path, timm.create_model("resnet18").state_dict())
        with pytest.raises(CheckpointError, match=r"downsample_layers.*found conv1.weight"):
            dcls.load_checkpoint(small(), path)


def hollow(file):
    """A state dict of a released file's keys and shapes whose tensors take no room."""
    shapes = RELEASED[file]["shapes"]
    return {key: torch.zeros(1).expand(shape) for key, shape in shapes.items()}


class TestRecognition:
    @pytest.mark.parametrize("file", RELEASED)
    def test_released_files(self, file):
        name = file.removeprefix("upernet_").removeprefix("cascade_mask_rcnn_").split("_1k")[0]
        dense = " with features=True" if "norm0" in "".join(RELEASED[file]["shapes"]) else ""
        assert guess_backbone(hollow(file)) == name + dense

    @pytest.mark.parametrize("name", dcls.list_backbones())
    def test_every_convnext_by_name(self, name):
        with torch.device("meta"):
            state = dcls.create_backbone(name).state_dict()
        hollowed = {key: torch.zeros(()).expand(value.shape) for key, value in state.items()}
        if name.startswith("resnet"):
            assert guess_backbone(hollowed) is None
        else:  # a dilation leaves no trace
            assert guess_backbone(hollowed) == name.removesuffix("_dil2")

    @pytest.mark.parametrize(
        "settings",
        [
            {"stem_stride": 2},
            {"in_channels": 1},
            {"version": "gauss"},
            {"kernel_count": 34},
            {"share_positions": False},
            {"layer_scale": None},
        ],
    )
    def test_settings_that_shapes_tell(self, settings):
        torch.manual_seed(0)
        state = dcls.create_backbone("convnext_dcls_atto", **settings).state_dict()
        told = ", ".join(f"{key}={value}" for key, value in settings.items())
        assert guess_backbone(state) == f"convnext_dcls_atto with {told}"

    def test_what_it_says_builds_the_model(self):
        state = small("convnext_atto", kernel_size=5, stem_stride=2).state_dict()
        name, _, told = guess_backbone(state).partition(" with ")
        settings = eval(f"dict({told})")
        rebuilt = dcls.create_backbone(name, num_classes=5, **settings)
        rebuilt.load_state_dict(state)

    def test_timms_names(self):
        with torch.device("meta"):
            state = timm.create_model("convnext_nano").state_dict()
        assert guess_backbone(state) == "convnext_nano"


class Trap:
    """An object whose unpickling would leave a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class TestNoCheckpoint:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "cut short"),
            (b"\x93\x00 no pickle at all " * 40, "cut short or of another kind"),
            (b"<!DOCTYPE html>\n<html>404</html>", "web page"),
            (b"\n  <html>404</html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ],
    )
    @pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
    def test_files_of_other_kinds(self, tmp_path, content, message, name):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message) as caught:
            dcls.load_checkpoint(small(), path)
        assert f"{len(content):,} bytes" in str(caught.value)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_file_cut_short(self, tmp_path, zipped):
        path = saved(tmp_path, small().state_dict(), _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        for part in (0.05, 0.5, 0.99):
            path.write_bytes(whole[: int(part * len(whole))])
            with pytest.raises(CheckpointError, match="cut short"):
                dcls.load_checkpoint(small(), path)

    def test_a_safetensors_file_cut_short(self, tmp_path):
        path = tmp_path / "file.safetensors"
        safetensors.torch.save_file({"weight": torch.ones(100)}, path)
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(CheckpointError, match="cut short"):
            read_state(path)

    def test_code_is_never_run(self, tmp_path):
        trace = tmp_path / "trace"
        path = saved(tmp_path, {"model": small().state_dict(), "args": Trap(str(trace))})
        with pytest.raises(CheckpointError, match=r"posix\.mkdir.*code and not data"):
            dcls.load_checkpoint(small(), path)
        assert not trace.exists()

    def test_no_file_and_a_folder(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"none\.pth does not exist"):
            dcls.load_checkpoint(small(), tmp_path / "none.pth")
        with pytest.raises(CheckpointError, match="is a folder"):
            dcls.load_checkpoint(small(), tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (torch.ones(3), "holds no state dict but a Tensor"),
            ([1, 2], "holds no state dict but a list"),
            ({}, "holds no state dict"),
            ({"epoch": 3, "lr": 0.1}, "holds no tensors.*epoch, lr"),
        ],
    )
    def test_content_that_is_no_state_dict(self, tmp_path, content, message):
        with pytest.raises(CheckpointError, match=message):
            dcls.load_checkpoint(small(), saved(tmp_path, content))
