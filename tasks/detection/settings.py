"""Settings of detection: the task, its datasets, and how their images are prepared."""

from typing import Annotated

from pydantic import Field

from tasks.config.data import DatasetSettings, Recipe, ShapesSettings
from tasks.config.fields import Count, Doc, Group, LongestAndShortest, Share, Side, Text
from tasks.config.task import TaskSettings


class DetectionSettings(TaskSettings):
    """Group `task` of object detection."""

    channels: Annotated[Count, Doc("of the pyramid and all convolutions")]
    width: Annotated[Count, Doc("of the fully connected layers")]
    proposals: Annotated[Count, Doc("regions per image")]
    samples: Annotated[Count, Doc("regions per image that are trained on")]


class DetectionRecipeSettings(Recipe):
    """How images are resized, augmented and normalised for detection."""

    resize: Annotated[
        LongestAndShortest | None,
        Doc("longest and shortest side in evaluation; null: images keep their size"),
    ]
    scales: Annotated[list[Side], Doc("shortest sides from which training draws")]
    crop: Annotated[
        LongestAndShortest | None,
        Doc("half of the training images are cropped to sides within this range; null: none"),
    ]
    crop_scales: Annotated[list[Side], Doc("shortest sides before that crop")]
    jitter: Annotated[
        Side | None, Doc("side of large-scale jitter in place of scales and crop; null: off")
    ]
    flip: Annotated[Share, Doc("probability of a horizontal flip")]


class DetectionData(DatasetSettings):
    """What the datasets of detection share."""

    recipe: Annotated[DetectionRecipeSettings, Doc("how images are prepared")]


class ShapesDetection(DetectionData, ShapesSettings):
    """The embedded dataset."""

    objects: Annotated[
        list[Count], Field(min_length=2, max_length=2), Doc("least and largest number in a scene")
    ]


class SplitFiles(Group):
    """Where a split lies, relative to root."""

    images: Annotated[Text, Doc("the folder of its images")]
    annotations: Annotated[Text, Doc("its annotation file")]


class AnnotatedSplits(Group):
    """Where the splits lie."""

    train: Annotated[SplitFiles, Doc("training")]
    val: Annotated[SplitFiles, Doc("validation")]
    test: Annotated[SplitFiles | None, Doc("test; without a file, val is tested")] = None


class CocoSettings(DetectionData):
    """Images with COCO annotation files (coco, coco_folder)."""

    root: Annotated[Text, Doc("the folder that holds all")]
    splits: Annotated[AnnotatedSplits, Doc("images and annotations of each split")]
    keep_empty: Annotated[bool, Doc("also train on images without objects")]
