"""From a configuration to corrupted images: for a test, or as copies on disk."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from tasks.build import build_data
from tasks.config.schema import imported
from tasks.data.loaders import TaskData
from tasks.engine.unreadable import check_readable
from tasks.errors import SettingError
from tasks.reporting.console import print_line
from tasks.reporting.provenance import Provenance
from tasks.robustness.copies import QUALITY, Copies, claim_copies
from tasks.robustness.data import check_limit, chosen_images
from tasks.robustness.on_the_fly import (
    CROP,
    PROFILES,
    Corruption,
    Profile,
    chosen_corruptions,
    corruptions_of,
    parse_corruption,
    profile_for,
    usual_side,
)

_NO_PART_OF_PROTOCOL = (
    "_target_",
    "batch_size",
    "workers",
    "tasks",
    "hints",
    "on_corrupt",  # this and the next say when to stop, not what is scored
    "max_unreadable",
)


def build_altered_data(config: DictConfig, training: bool = False) -> TaskData:
    """The data of group `dataset`, its images of evaluation under setting `corruption`, if any.

    Raises:
        SettingError: no such corruption, or a profile that does not fit.
    """
    if config.corruption is None:
        return build_data(config, training)
    given = given_profile(config)
    corruption = parse_corruption(config.corruption, config.seed, given or "any-size")
    return build_data(
        prepared_for(config, given),
        training,
        alteration=lambda data: replace(corruption, profile=given or fitting_profile(config, data)),
    )


def write_corrupted(config: DictConfig, provenance: Provenance) -> None:
    """Write a corrupted copy of the tested images to `out`, with `corrupted.json` beside it.

    Raises:
        SettingError: if `out` holds copies that were made with other settings, or other files.
    """
    check_limit(config.limit)
    given, out = given_profile(config), Path(config.out)
    data = build_data(config)
    profile = given or fitting_profile(config, data)
    corruptions = [c for c in corruptions_in(config, profile) if c.name]
    # the images as they are: each corruption itself brings them to the size of its profile
    images = data.images(data.test_split)
    strict = data.loading.on_corrupt == "error"
    copies = Copies(images, chosen_images(images, config.limit), corruptions, out, strict)
    about = {
        "what": "images corrupted by dcls-tasks: not ImageNet-C",
        "seed": config.seed,
        "profile": profile,
        "quality": QUALITY,
        "limit": config.limit,
        "dataset": dataset_settings(config),
    }
    claim_copies(out, about, provenance.as_plain())
    print_line(
        f"corrupt, task={config.task.name}: {len(copies):,} images of {data.name} "
        f"({data.test_split}) under {len(corruptions)} corruptions, profile {profile}, to "
        f"{out.resolve()}"
    )
    done = copies.write(data.loading.worker_count)
    print_line(f"{done.written} images written, {done.there} were there: {out.resolve()}")
    if done.unreadable:
        print_line(f"{len(done.unreadable)} images could not be read, and have no copies")
    what = f"the {data.test_split} split of dataset={data.name}"
    check_readable(done.unreadable, len(copies), what, data.loading)


def given_profile(config: DictConfig) -> Profile | None:
    """The profile of corruptions on the fly as far as settings tell it; None: `fitting_profile`.

    With `auto` it is `imagenet-c` for classifiers at 224.

    Raises:
        SettingError: no such profile, or one that does not fit the task.
    """
    classifies = bool(imported("task", config.task._target_).single_label)
    if config.profile == "auto":
        fits = classifies and config.dataset.get("image_size") == CROP
        return "imagenet-c" if fits else None
    if config.profile not in PROFILES:
        raise SettingError(
            f"profile={config.profile} does not exist; choose auto, {', '.join(PROFILES[:-1])} or "
            f"{PROFILES[-1]}."
        )
    if config.profile == "imagenet-c" and not classifies:
        raise SettingError(
            f"profile=imagenet-c cuts images to {CROP}x{CROP}, which would move the labels of "
            f"task={config.task.name}. Set profile=any-size."
        )
    return cast(Profile, config.profile)


def fitting_profile(config: DictConfig, data: TaskData) -> Profile:
    """The profile for the size of the tested images; of shards, for the size they are brought to.

    See `profile_for` for the sizes.
    """
    try:
        side = usual_side(data.images(data.test_split))
    except SettingError:  # shards have no single images
        side = config.dataset.image_size
    return "any-size" if side is None else profile_for(side)


def prepared_for(config: DictConfig, profile: Profile | None) -> DictConfig:
    """With `imagenet-c` the corrupted images have their size already and are not cut again."""
    if profile != "imagenet-c":
        return config
    own = config.copy()
    own.dataset.recipe.crop_fraction = 1.0
    return own


def corruptions_in(config: DictConfig, profile: Profile) -> list[Corruption]:
    """No corruption, and then the chosen ones in every severity."""
    names = config.corruptions
    chosen = chosen_corruptions(names if isinstance(names, str) else list(names))
    return corruptions_of(chosen, config.seed, profile)


def dataset_settings(config: DictConfig) -> dict[str, Any]:
    """The settings of group `dataset` on which tested images and their figures depend."""
    dataset = OmegaConf.to_container(config.dataset, resolve=True)
    assert isinstance(dataset, dict)
    settings = {str(k): v for k, v in dataset.items() if k not in _NO_PART_OF_PROTOCOL}
    for split in ("train", "val"):  # whose size does not matter
        settings.get("counts", {}).pop(split, None)
    return settings
