"""The settings of no group."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.config.fields import Count, Doc, Group, Text


class RunSettings(Group):
    """Settings at the top of a command."""

    seed: Annotated[int, Field(ge=0, lt=2**32), Doc("of weights, order and augmentation")]
    ckpt: Annotated[
        Text | list[Text] | None,
        Doc(
            "mode=fit: resume from it; mode=test, mode=benchmark: the model (own, released or timm "
            "file); mode=robustness: likewise, timm/<name>, or a list; null: the newest run"
        ),
    ]
    compile: Annotated[bool, Doc("torch.compile of the backbone")]
    depthwise: Annotated[
        Literal["auto", "torch", "triton"],
        Doc("what convolves with large kernels; auto: the quickest that was measured"),
    ]
    figures: Annotated[bool, Doc("draw the figures of the report; false: tables alone")]
    debug: Annotated[bool, Doc("show where an error was raised")]
    name: Annotated[Text, Doc("short name of the run, behind the time in its folder's name")]
    runs: Annotated[Text, Doc("where run folders go: <runs>/<task>/<time>-<name>")]
    run_dir: Annotated[
        Text | None,
        Doc("the run folder, new or empty; mode=robustness goes on where it stopped"),
    ]
    plugins: Annotated[list[Text], Doc("modules of yours to import first, see CONTRIBUTING.md")]
    detector: Annotated[Text | None, Doc("kind of detector; of tasks that have one")]
    eval: Annotated[Text | None, Doc("how whole images are evaluated; of tasks that have a choice")]
    tta: Annotated[Text | None, Doc("test-time augmentation; of tasks that have it")]
    corruption: Annotated[
        Text | None, Doc("of the images that are validated and tested, such as fog/3")
    ]
    profile: Annotated[
        Literal["auto", "imagenet-c", "tiny-imagenet-c", "cifar-c", "any-size"],
        Doc(
            "strength of corruptions: imagenet-c of the 224 crop; of the whole image as published "
            "for 32 pixels (cifar-c), 64 (tiny-imagenet-c) or 224 (any-size); auto: by size"
        ),
    ]
    corruptions: Annotated[
        Text | list[Text],
        Doc("of modes robustness and corrupt: published (15), all (19), or a list of names"),
    ]
    limit: Annotated[Count | None, Doc("images per set of these modes, of all classes alike")]
    compare: Annotated[
        Text | list[Text] | None,
        Doc("mode=robustness: folders of other runs; mode=benchmark: names of backbones"),
    ]
    out: Annotated[Text | None, Doc("mode=corrupt: where the images go")]
