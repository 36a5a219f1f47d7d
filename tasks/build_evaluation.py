"""From a configuration to the models and the pictures of a robustness evaluation."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from timm.models import load_pretrained

from dcls.errors import CheckpointError
from dcls.timm_backbone import TimmBackbone
from tasks.build import build_data, build_task
from tasks.errors import SettingError
from tasks.reporting.console import print_line
from tasks.reporting.provenance import Provenance
from tasks.robustness.copies import QUALITY, Copies, claim_copies
from tasks.robustness.data import AlteredSource, CellData, Cells, CellSource, check_limit
from tasks.robustness.ledger import plain_name
from tasks.robustness.on_the_fly import (
    CROP,
    PROFILES,
    Profile,
    chosen_corruptions,
    corruptions_of,
    parse_corruption,
)
from tasks.robustness.published.imagenet import ImageNetSets
from tasks.robustness.report.comparison import check_comparable
from tasks.robustness.task import RobustnessTask, Subject
from tasks.subjects import IMAGENET, SETS, Origin, backbone_of, given_checkpoints, origin_of
from tasks.training.loaders import TaskData
from tasks.training.task import Task
from tasks.training.trainer import resolved_precision

logger = logging.getLogger(__name__)
_NO_PART_OF_PROTOCOL = ("_target_", "batch_size", "workers", "tasks", "hints", "stem_stride")
_OF_EVALUATION = ("inference", "proposals", "detector")
"""Settings of tasks that evaluation depends on."""


def build_altered_data(config: DictConfig) -> TaskData:
    """The data of group `dataset`, its pictures of evaluation under setting `corruption`, if any.

    Raises:
        SettingError: no such corruption, or a profile that does not fit.
    """
    if config.corruption is None:
        return build_data(config)
    profile = profile_of(config)
    corruption = parse_corruption(config.corruption, config.seed, profile)
    return build_data(_prepared(config, profile), corruption)


def build_evaluation(config: DictConfig) -> tuple[CellData, RobustnessTask]:
    """The cells to evaluate, and the models.

    Raises:
        SettingError: settings that do not fit.
        dcls.CheckpointError: weights that do not.
    """
    check_limit(config.limit)
    profile = None if _is_published(config) else profile_of(config)
    prepared = config if profile is None else _prepared(config, profile)
    base = build_data(prepared)
    data = CellData(base, Cells(_sources(config, base, profile), config.limit))
    origins = _named_origins([origin_of(text) for text in given_checkpoints(config)])
    _warn_of_other_data(config, origins)
    subjects = [_subject(name, origin, prepared, base) for name, origin in origins.items()]
    protocol = _protocol(config, base, profile, origins)
    compare = [config.compare] if isinstance(config.compare, str) else list(config.compare or ())
    for folder in compare:
        check_comparable(Path(folder), protocol)  # rather now than after hours
    return data, RobustnessTask(subjects, data, protocol, compare)


def write_corrupted(config: DictConfig, provenance: Provenance) -> None:
    """Write a corrupted copy of the tested pictures to `out`, with `corrupted.json` beside it.

    Raises:
        SettingError: if `out` holds copies that were made with other settings, or other files.
    """
    profile, out = profile_of(config), Path(config.out)
    names = config.corruptions
    chosen = chosen_corruptions(names if isinstance(names, str) else list(names))
    data = build_data(config)
    cells = Cells(_sources(config, data, profile), config.limit)
    corruptions = [c for c in corruptions_of(chosen, config.seed, profile) if c.name]
    strict = data.loading.on_corrupt == "error"
    copies = Copies(cells.pictures(0), cells.chosen(0), corruptions, out, strict)
    about = {
        "what": "pictures corrupted by dcls-tasks: not ImageNet-C",
        "seed": config.seed,
        "profile": profile,
        "quality": QUALITY,
        "limit": config.limit,
        "dataset": _dataset_settings(config),
    }
    claim_copies(out, about, provenance.as_plain())
    done = copies.write(data.loading.worker_count)
    print_line(f"{done.written} pictures written, {done.there} were there: {out.resolve()}")
    if done.unreadable:
        print_line(f"{done.unreadable} pictures could not be read, and have no copies")


def profile_of(config: DictConfig) -> Profile:
    """The profile of corruptions on the fly; `auto` is `imagenet-c` for classifiers at 224.

    Raises:
        SettingError: no such profile, or one that does not fit the task.
    """
    classifies = config.task.name == "cls"
    if config.profile == "auto":
        fits = classifies and config.dataset.get("image_size") == CROP
        return "imagenet-c" if fits else "any-size"
    if config.profile not in PROFILES:
        raise SettingError(
            f"profile={config.profile} does not exist; choose auto, {' or '.join(PROFILES)}."
        )
    if config.profile == "imagenet-c" and not classifies:
        raise SettingError(
            f"profile=imagenet-c cuts pictures to {CROP}x{CROP}, which would move the labels of "
            f"task={config.task.name}. Set profile=any-size."
        )
    return cast(Profile, config.profile)


def _warn_of_other_data(config: DictConfig, origins: Mapping[str, Origin]) -> None:
    own = config.dataset.name
    for name, origin in origins.items():
        trained = own if origin.run is None else origin.run.dataset.name
        if trained != own and not (own == SETS and trained == IMAGENET):
            logger.warning(
                "%s was trained on %s, not on %s: are the classes equal?", name, trained, own
            )


def _is_published(config: DictConfig) -> bool:
    return str(config.dataset.get("_target_")).endswith(f".{ImageNetSets.__name__}")


def _prepared(config: DictConfig, profile: Profile) -> DictConfig:
    """With `imagenet-c` the corrupted pictures have their size already and are not cut again."""
    if profile != "imagenet-c":
        return config
    own = config.copy()
    own.dataset.recipe.crop_fraction = 1.0
    return own


def _sources(config: DictConfig, base: TaskData, profile: Profile | None) -> list[CellSource]:
    if isinstance(base, ImageNetSets):
        return base.sources()
    assert profile is not None
    names = config.corruptions
    chosen = chosen_corruptions(names if isinstance(names, str) else list(names))
    pictures = base.pictures(base.test_split)
    return [
        AlteredSource(pictures, corruption)
        for corruption in corruptions_of(chosen, config.seed, profile)
    ]


def _subject(name: str, origin: Origin, config: DictConfig, data: TaskData) -> Subject:
    own = config.copy()
    OmegaConf.set_struct(own, False)
    own.backbone = backbone_of(origin, config)
    if origin.run is not None and origin.run.task.name != own.task.name:
        raise SettingError(
            f"ckpt={origin.text} is a model of task={origin.run.task.name}, not of "
            f"task={own.task.name}. Evaluate models of one task at a time."
        )
    task = build_task(own, data)
    pixels = None
    if origin.weights is not None:
        _load_weights(task, origin.weights, data)
    elif isinstance(task.backbone, TimmBackbone):
        pixels = _load_published(task.backbone, origin.text)
    if origin.run is not None and "recipe" in origin.run.dataset:
        recipe = origin.run.dataset.recipe
        pixels = (tuple(recipe.mean), tuple(recipe.std))
    return Subject(name, task, pixels)


def _load_weights(task: Task, weights: Path, data: TaskData) -> None:
    try:
        task.load_weights(str(weights))
    except CheckpointError as error:
        if not isinstance(data, ImageNetSets):
            raise
        raise CheckpointError(
            f"{error} The sets need ImageNet's {len(data.all_names)} classes in their order; of a "
            "model with others, name the synset of each output: dataset.classes=<file>."
        ) from error


def _load_published(backbone: TimmBackbone, name: str) -> tuple[tuple[float, ...], ...]:
    """Load the weights that timm publishes; returns mean and deviation that they expect."""
    model = cast(Any, backbone.model)
    try:
        load_pretrained(model, num_classes=backbone.num_classes)
    except Exception as error:  # of many kinds, by what fails: network, hub, shapes
        raise SettingError(
            f"The weights that timm publishes for {name} cannot be loaded: "
            f"{str(error).rstrip('. ')}. Give them as a file: ckpt={name}:<file>."
        ) from error
    settings = model.pretrained_cfg
    return tuple(settings["mean"]), tuple(settings["std"])


def _protocol(
    config: DictConfig, base: TaskData, profile: Profile | None, origins: dict[str, Origin]
) -> dict[str, Any]:
    protocol: dict[str, Any] = {
        "models": {name: _identity(origin, config) for name, origin in origins.items()},
        "task": config.task.name,
        "evaluation": {k: _plain(config.task[k]) for k in _OF_EVALUATION if k in config.task},
        "precision": resolved_precision(config.trainer.precision, config.trainer.accelerator),
        "limit": config.limit,
        "seed": config.seed,
        "dataset": _dataset_settings(config),
    }
    if isinstance(base, ImageNetSets):
        resized = "resized and cut" if base.recipe.resize_corrupted else "as they are"
        return protocol | {
            "pictures of ImageNet-C": resized,
            "classes of A and R": "their 200 (the mask); among all 1000: unmasked",
            "sets": list(dict.fromkeys(s.cell.collection for s in base.sources())),
            "missing": list(base.found.missing),
        }
    names = config.corruptions
    return protocol | {
        "corrupted": "on the fly, not ImageNet-C",
        "profile": profile,
        "corruptions": names if isinstance(names, str) else list(names),
        "split": base.test_split,
    }


def _dataset_settings(config: DictConfig) -> dict[str, Any]:
    dataset = OmegaConf.to_container(config.dataset, resolve=True)
    assert isinstance(dataset, dict)
    settings = {str(k): v for k, v in dataset.items() if k not in _NO_PART_OF_PROTOCOL}
    for split in ("train", "val"):  # whose size does not matter
        settings.get("counts", {}).pop(split, None)
    return settings


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _identity(origin: Origin, config: DictConfig) -> dict[str, Any]:
    digest = None
    if origin.weights is not None:
        with origin.weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    backbone = backbone_of(origin, config)
    return {"checkpoint": origin.text, "sha256": digest, "backbone": backbone}


def _named_origins(origins: Sequence[Origin]) -> dict[str, Origin]:
    """Models by name: without the times of their runs, unless only these tell them apart."""
    short = [plain_name(origin.name()) for origin in origins]
    named: dict[str, Origin] = {}
    for name, origin in zip(short, origins, strict=True):
        base = plain_name(origin.name(whole=True)) if short.count(name) > 1 else name
        own, count = base, 1
        while own in named:
            count += 1
            own = f"{base}-{count}"
        named[own] = origin
    return named
