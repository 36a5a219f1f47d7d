"""Settings that all datasets have."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.config.fields import Count, Deviations, Doc, Group, Moments, Share, Side, Text, Workers


class Recipe(Group):
    """How images are prepared, in every task."""

    mean: Annotated[Moments, Doc("mean of the pixels, per channel, of values in 0..1")]
    std: Annotated[Deviations, Doc("standard deviation of the pixels, per channel")]


class DatasetSettings(Group):
    """Group `dataset`, whatever the dataset."""

    target: Annotated[Text, Field(alias="_target_"), Doc("the class that reads it")]
    name: Annotated[Text, Doc("name in reports and of run folders")]
    tasks: Annotated[list[Text], Doc("the tasks that it serves")]
    batch_size: Annotated[Count, Doc("samples per process and step")]
    workers: Annotated[Workers, Doc("loading processes; auto: by the number of cores")] = "auto"
    on_corrupt: Annotated[
        Literal["skip", "error"], Doc("what becomes of samples that cannot be read")
    ] = "skip"
    max_unreadable: Annotated[
        Share, Doc("share of a split that may be left out as unreadable; one image always may")
    ] = 0.01
    image_size: Annotated[Side | None, Doc("side of the images of training, pixels")] = None
    hints: Annotated[
        dict[str, float | int | None],
        Doc("defaults that suit this dataset, of other groups and of limit, unless these are set"),
    ] = {}  # noqa: RUF012 - pydantic copies it
    recipe: Annotated[Any, Doc("how images are resized, augmented and normalised")] = None


class Splits(Group):
    """Number of samples of each split."""

    train: Annotated[Count, Doc("training")]
    val: Annotated[Count, Doc("validation")]
    test: Annotated[Count, Doc("test")]


class ShapesSettings(DatasetSettings):
    """The embedded dataset, in every task."""

    level: Annotated[Literal["easy", "medium", "hard"], Doc("how hard the scenes are")]
    seed: Annotated[int, Doc("of the scenes; the training seed is `seed`")]
    counts: Annotated[Splits, Doc("number of scenes of each split")]
    image_size: Annotated[Side, Doc("side of the scenes, pixels")]
