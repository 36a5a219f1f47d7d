"""Settings of dataset=imagenet_sets."""

from typing import Annotated, Literal

from tasks.config.data import DatasetSettings, Recipe
from tasks.config.fields import CropShare, Doc, Group, Side, Text


class PreparationSettings(Recipe):
    """How the images of the published sets are prepared."""

    crop_fraction: Annotated[CropShare, Doc("side of the evaluated centre, of the whole")]
    interpolation: Annotated[Literal["bilinear", "bicubic"], Doc("of resizing")]
    resize_corrupted: Annotated[bool, Doc("whether those of C and C-bar, which are 224, are too")]


class SetPaths(Group):
    """Folders of single sets."""

    val: Annotated[Text | None, Doc("the validation set")] = None
    c: Annotated[Text | None, Doc("ImageNet-C")] = None
    a: Annotated[Text | None, Doc("ImageNet-A")] = None
    r: Annotated[Text | None, Doc("ImageNet-R")] = None
    sketch: Annotated[Text | None, Doc("ImageNet-Sketch")] = None
    v2: Annotated[Text | None, Doc("ImageNetV2")] = None
    c_bar: Annotated[Text | None, Doc("ImageNet-C-bar")] = None


class ImageNetSetsSettings(DatasetSettings):
    """The published variants of ImageNet."""

    root: Annotated[Text | None, Doc("a folder that holds the sets under their usual names")]
    paths: Annotated[SetPaths, Doc("folders of single sets")]
    classes: Annotated[
        Text | None, Doc("a file with the synset of each output; null: ImageNet's 1000 in order")
    ]
    image_size: Annotated[Side, Doc("side of the network's input, pixels")]
    recipe: Annotated[PreparationSettings, Doc("how images are prepared")]
