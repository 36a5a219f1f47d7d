"""Settings of classification: the task, its datasets, and how their images are prepared."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.config.data import DatasetSettings, Recipe, ShapesSettings
from tasks.config.fields import (
    Count,
    CropShare,
    Doc,
    Group,
    NotNegative,
    PositiveShare,
    Share,
    Side,
    Text,
    Whole,
)
from tasks.config.task import TaskSettings


class MixingSettings(Group):
    """How training targets are softened."""

    mixup: Annotated[NotNegative, Doc("alpha of mixup; 0: off")]
    cutmix: Annotated[NotNegative, Doc("alpha of cutmix; 0: off")]
    smoothing: Annotated[float, Field(ge=0, lt=1), Doc("label smoothing")]


class ClassificationSettings(TaskSettings):
    """Group `task` of image classification."""

    mixing: Annotated[MixingSettings, Doc("how training targets are softened")]


class ImageRecipeSettings(Recipe):
    """How images are resized, augmented and normalised for classification."""

    crop_fraction: Annotated[CropShare, Doc("side of the evaluated centre, as a share")]
    interpolation: Annotated[Literal["bilinear", "bicubic"], Doc("of resizing")]
    crop_scale: Annotated[
        Annotated[list[PositiveShare], Field(min_length=2, max_length=2)] | None,
        Doc("area of random crops, least and largest; null: crops of the padded image"),
    ]
    crop_padding: Annotated[Whole, Doc("pixels added on each side where crop_scale is null")]
    flip: Annotated[Share, Doc("probability of a horizontal flip")]
    rand_augment: Annotated[Text | None, Doc("a policy of timm, such as rand-m9-mstd0.5-inc1")]
    erase: Annotated[Share, Doc("probability of random erasing")]


class ClassificationData(DatasetSettings):
    """What the datasets of classification share."""

    image_size: Annotated[Side, Doc("side of the network's input, pixels")]
    recipe: Annotated[ImageRecipeSettings, Doc("how images are prepared")]


class ShapesClassification(ClassificationData, ShapesSettings):
    """The embedded dataset."""


class FolderSettings(ClassificationData):
    """Class folders (imagefolder, imagenet)."""

    root: Annotated[Text, Doc("the folder with train/ and val/")]


class FashionMnistSettings(FolderSettings):
    """Fashion-MNIST."""

    val_count: Annotated[Count, Doc("training images that are validated")]
    split_seed: Annotated[Whole, Doc("of the choice of these")]


class ShardPatterns(Group):
    """The shards of each split; braces are expanded."""

    train: Annotated[Text, Doc("training")]
    val: Annotated[Text, Doc("validation")]
    test: Annotated[Text | None, Doc("test; null: val is tested")] = None


class WebShardsSettings(FolderSettings):
    """Tar shards (webdataset)."""

    root: Annotated[Text, Doc("a folder of shards, or the beginning of their URLs")]
    splits: Annotated[ShardPatterns, Doc("the shards of each split")]
    classes: Annotated[Text, Doc("imagenet, or a file with the name of each class, one a line")]
    shuffle: Annotated[Count, Doc("samples held by each worker, of which the next one is drawn")]
