"""Every shipped config is found by glob, composed, and made into objects."""

from pathlib import Path

import pytest
from builds import composed, with_derived, with_settings
from hydra.utils import instantiate
from omegaconf import OmegaConf

import conf
import dcls
from tasks.engine.optimization import Optimization

ROOT = Path(conf.__file__).parent
FILES = sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.glob("*/*.yaml"))
EXPERIMENTS = [path.name for path in FILES if path.parent.name == "experiment"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_config_composes_and_resolves(path):
    config = composed(f"{path.parent}={path.name}")
    missing = OmegaConf.missing_keys(config)
    assert missing <= {"dataset.root"}
    config = with_settings(config, dict.fromkeys(missing, "x"))
    OmegaConf.to_container(config, resolve=True)
    optim = OmegaConf.to_container(config.optim, resolve=True)
    optim.pop("total_batch_size")
    assert Optimization(**optim).lr > 0


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "backbone"], ids=str)
def test_every_backbone_config_builds_its_backbone(path):
    import torch

    settings = OmegaConf.to_container(composed(f"backbone={path.name}").backbone, resolve=True)
    settings.pop("pretrained")
    name = settings.pop("name")
    with torch.device("meta"):
        assert dcls.create_backbone(name, num_classes=7, **settings).num_classes == 7


@pytest.mark.parametrize("group", ["logger", "callbacks"])
def test_every_logger_and_callback_can_be_made(group, tmp_path):
    for path in (p for p in FILES if p.parent.name == group):
        for one in composed(f"{group}={path.name}")[group].values():
            extra = {"save_dir": str(tmp_path)} if group == "logger" else {}
            assert instantiate(one, **extra) is not None


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.startswith("imagenet_")])
def test_imagenet_recipes_are_the_published_ones(name):
    config = with_derived(composed(f"experiment={name}", "dataset.root=/x"))
    drop_path = {"tiny": 0.1, "small": 0.4, "base": 0.5}[name.rsplit("_", 1)[-1]]
    assert config.experiment.task == "cls"
    assert config.backbone.name == name.removeprefix("imagenet_")
    assert config.backbone.drop_path_rate == drop_path
    assert (config.backbone.layer_scale, config.backbone.init_std) == (1e-6, 0.02)
    assert config.backbone.stem_stride == 4
    optim = config.optim
    assert (optim.lr, optim.weight_decay, optim.min_lr) == (4e-3, 0.05, 1e-6)
    assert (optim.warmup_epochs, optim.schedule) == (20, "cosine")
    assert (optim.ema_decay, optim.total_batch_size) == (0.9999, 4096)
    assert (optim.layer_decay, optim.positions, optim.repulsion_start_epoch) == (1, "released", 20)
    assert config.trainer.max_epochs == 300
    assert config.task.mixing == {"mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1}
    recipe = config.dataset.recipe
    assert (recipe.rand_augment, recipe.erase) == ("rand-m9-mstd0.5-inc1", 0.25)
    assert (recipe.image_size, recipe.crop_fraction, recipe.interpolation) == (
        224,
        0.875,
        "bicubic",
    )


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.startswith("ade20k_")])
def test_ade20k_recipes_are_the_published_ones(name):
    config = with_derived(composed(f"experiment={name}", "dataset.root=/x"))
    size = name.rsplit("_", 1)[-1]
    assert config.experiment.task == config.task.name == "seg"
    assert config.backbone.name == name.removeprefix("ade20k_upernet_")
    assert config.backbone.drop_path_rate == {"tiny": 0.4, "small": 0.3, "base": 0.4}[size]
    assert config.backbone.layer_scale == 1.0
    assert config.backbone.stem_stride == 4
    optim = config.optim
    assert (optim.lr, optim.weight_decay, optim.min_lr) == (1e-4, 0.05, 0)
    assert (optim.schedule, optim.power) == ("polynomial", 1.0)
    assert (optim.warmup_steps, optim.warmup_start) == (1500, 1e-6)
    assert (optim.layer_decay, optim.layer_scheme) == (0.9, "stage_wise")
    assert optim.layer_count == (6 if size == "tiny" else 12)
    assert (optim.ema_decay, optim.total_batch_size, optim.positions) == (None, 16, "released")
    trainer = config.trainer
    assert (trainer.max_steps, trainer.max_epochs) == (160_000, -1)
    assert (trainer.check_val_every_n_epoch, trainer.val_check_interval) == (None, 16_000)
    assert config.task.decode_head == {"type": "UPerHead", "channels": 512}
    assert config.task.auxiliary_head == {"type": "FCNHead", "channels": 256}
    assert config.task.classifier_std == 0.01
    inference = config.task.inference
    assert (inference.mode, inference.crop, inference.stride) == ("slide", 512, 341)
    recipe = config.dataset.recipe
    assert (recipe.image_size, recipe.resize, recipe.ratio_range) == (512, [2048, 512], [0.5, 2.0])
    assert (recipe.max_class_share, recipe.flip, recipe.distort) == (0.75, 0.5, True)


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.startswith("coco_")])
def test_coco_recipes_are_the_published_ones(name):
    config = with_derived(composed(f"experiment={name}", "dataset.root=/x"))
    size = name.rsplit("_", 1)[-1]
    cascade = name.startswith("coco_cascade_mask_rcnn")
    assert config.experiment.task == config.task.name == "det"
    assert config.task.detector == config.dataset.detector == config.detector
    assert config.detector == ("cascade_mask_rcnn" if cascade else "mask_rcnn")
    assert config.backbone.name == name.split("rcnn_")[1]
    assert config.backbone.drop_path_rate == {"tiny": 0.4, "small": 0.6, "base": 0.7}[size]
    assert (config.backbone.layer_scale, config.backbone.stem_stride) == (1.0, 4)
    task = config.task
    assert (task.channels, task.width, task.proposals, task.samples) == (256, 1024, 1000, 512)
    optim = config.optim
    assert (optim.lr, optim.weight_decay) == (2e-4 if cascade else 1e-4, 0.05)
    assert (optim.schedule, optim.milestones, optim.gamma) == ("steps", [27, 33], 0.1)
    assert (optim.warmup_steps, optim.warmup_start) == (500, 1e-3)
    decay = {"tiny": 0.7, "small": 0.7, "base": 0.8}[size] if cascade else 0.95
    assert (optim.layer_decay, optim.layer_scheme) == (decay, "layer_wise")
    assert optim.layer_count == (6 if size == "tiny" else 12)
    assert (optim.ema_decay, optim.total_batch_size, optim.positions) == (None, 16, "released")
    assert optim.repulsion_start_epoch is None
    trainer = config.trainer
    assert (trainer.max_epochs, trainer.precision) == (36, "bf16-mixed")
    assert (trainer.sync_batchnorm, trainer.gradient_clip_val) == (True, None)
    recipe = config.dataset.recipe
    assert (recipe.resize, recipe.flip, recipe.jitter) == ([1333, 800], 0.5, None)
    assert recipe.scales == list(range(480, 801, 32))
    assert (recipe.crop, recipe.crop_scales) == ([384, 600], [400, 500, 600])
    assert config.dataset.splits.val == {
        "images": "val2017",
        "annotations": "annotations/instances_val2017.json",
    }


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_recipes_of_published_figures_train_as_released_and_say_so(name):
    header = (ROOT / f"experiment/{name}.yaml").read_text().partition("defaults:")[0]
    recipe = composed(f"experiment={name}").optim.positions
    assert (recipe == "released") is ("# Paper:" in header)
    if recipe == "released":
        assert "# Training: as released" in header
        assert "optim.positions=intended" in header
        other = composed(f"experiment={name}", "optim.positions=intended")
        assert other.optim.positions == "intended"


def test_detectors_are_the_published_ones():
    from tasks.detection.network.settings import PUBLISHED, sized

    for kind, settings in PUBLISHED.items():
        assert sized(kind, 256, 1024, 1000, 512) == settings
    faster, mask, cascade = (
        PUBLISHED[kind] for kind in ("faster_rcnn", "mask_rcnn", "cascade_mask_rcnn")
    )
    for settings in (faster, mask, cascade):
        rpn = settings.rpn
        assert (rpn.test.per_level, rpn.test.total, rpn.test.overlap) == (1000, 1000, 0.7)
        assert (rpn.matcher.positive, rpn.matcher.negative) == (0.7, 0.3)
        assert (rpn.sampler.count, rpn.sampler.positive_share) == (256, 0.5)
        assert (settings.sampler.count, settings.sampler.positive_share) == (512, 0.25)
        assert (settings.score, settings.overlap, settings.detections) == (0.05, 0.5, 100)
    assert (faster.rpn.train.total, mask.rpn.train.total, cascade.rpn.train.total) == (
        1000,
        1000,
        2000,
    )
    assert (cascade.rpn.beta, cascade.rpn.inside_only) == (1 / 9, True)
    assert [stage.matcher.positive for stage in cascade.stages] == [0.5, 0.6, 0.7]
    assert [stage.weight for stage in cascade.stages] == [1, 0.5, 0.25]
    assert [stage.stds[0] for stage in cascade.stages] == [0.1, 0.05, 0.033]
    assert [stage.stds[3] for stage in cascade.stages] == [0.2, 0.1, 0.067]
    head = cascade.box_head
    assert (head.convolutions, head.layers, head.width, head.decoded) == (4, 1, 1024, True)


def test_every_experiment_says_its_command():
    for name in EXPERIMENTS:
        head = (ROOT / "experiment" / f"{name}.yaml").read_text()
        assert f"experiment={name}" in head


def test_an_experiment_of_another_task_is_refused():
    from omegaconf import open_dict

    from tasks.config.checks import check_experiment
    from tasks.errors import SettingError

    config = composed("experiment=fashion_mnist", "dataset.root=/x")
    check_experiment(config, "fashion_mnist")
    with open_dict(config):
        config.task.name = "seg"
    with pytest.raises(SettingError, match="recipe of task=cls"):
        check_experiment(config, "fashion_mnist")
