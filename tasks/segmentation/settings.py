"""Settings of segmentation: the task, its datasets, and how their images are prepared."""

from typing import Annotated

from pydantic import ConfigDict, Field

from tasks.config.data import DatasetSettings, Recipe, ShapesSettings
from tasks.config.fields import (
    Count,
    Doc,
    Group,
    LongestAndShortest,
    Positive,
    PositiveShare,
    Share,
    Side,
    Text,
)
from tasks.config.task import TaskSettings


class InferenceSettings(Group):
    """Windows of eval=slide."""

    crop: Annotated[Side, Doc("side of a window, pixels")]
    stride: Annotated[Side, Doc("from one window to the next, pixels")]
    window_batch: Annotated[Count, Doc("windows that are computed at once")]


class HeadSettings(Group):
    """A head of mmsegmentation, by its type and any of its arguments."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[Text, Doc("a head of mmsegmentation, such as UPerHead; added: its arguments")]
    channels: Annotated[Count | None, Doc("of its convolutions; null: as published")] = None


class SegmentationSettings(TaskSettings):
    """Group `task` of semantic segmentation."""

    decode_head: Annotated[HeadSettings, Doc("the head")]
    auxiliary_head: Annotated[HeadSettings | None, Doc("helps training alone; null: none")]
    classifier_std: Annotated[Positive, Doc("of the initial weights of each head's last layer")]
    inference: Annotated[InferenceSettings, Doc("windows of eval=slide")]


class SceneRecipeSettings(Recipe):
    """How images are resized, augmented and normalised for segmentation."""

    resize: Annotated[
        LongestAndShortest | None,
        Doc("longest and shortest side in evaluation and before ratio_range; null: as they are"),
    ]
    ratio_range: Annotated[
        Annotated[list[Positive], Field(min_length=2, max_length=2)] | None,
        Doc("least and largest random factor on resize in training; null: none"),
    ]
    max_class_share: Annotated[
        PositiveShare, Doc("a crop is drawn again while one class fills more of it")
    ]
    flip: Annotated[Share, Doc("probability of a horizontal flip")]
    distort: Annotated[bool, Doc("photometric distortion")]


class SegmentationData(DatasetSettings):
    """What the datasets of segmentation share."""

    image_size: Annotated[Side, Doc("side of the training crop, pixels")]
    recipe: Annotated[SceneRecipeSettings, Doc("how images are prepared")]


class ShapesSegmentation(SegmentationData, ShapesSettings):
    """The embedded dataset."""

    objects: Annotated[
        list[Count], Field(min_length=2, max_length=2), Doc("least and largest number in a scene")
    ]


class MaskFolderSettings(SegmentationData):
    """Images and index masks (seg_folder, ade20k, voc)."""

    root: Annotated[Text, Doc("the folder that holds all")]
    classes: Annotated[
        Text | None, Doc("file with a name per line, under root or a path; null: as published")
    ]
    ignore_zero: Annotated[bool, Doc("index 0 is no class, and the classes start at 1")]
