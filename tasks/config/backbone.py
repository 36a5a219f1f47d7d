"""Group `backbone`."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from tasks.config.fields import Count, Doc, Group, NotNegative, Positive, Text

FourCounts = Annotated[list[Count], Field(min_length=4, max_length=4)]


class BackboneSettings(Group):
    """A name, and arguments of the backbone of that name."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[Text, Doc("of a backbone, or timm/<name>")]
    pretrained: Annotated[
        Text | None, Doc("a checkpoint whose weights the backbone starts from, without its head")
    ] = None


class ConvNextSettings(BackboneSettings):
    """A ConvNeXt, with dense convolutions or learnable spacings; all but the name have defaults."""

    model_config = ConfigDict(extra="forbid")

    drop_path_rate: Annotated[
        float, Field(ge=0, lt=1), Doc("stochastic depth of the last block, growing from 0")
    ] = 0.0
    layer_scale: Annotated[Positive | None, Doc("initial layer scale; null: none")] = None
    init_std: Annotated[Positive | None, Doc("of initial weights; null: 1 / sqrt(fan-in)")] = None
    head_init_scale: Annotated[NotNegative, Doc("factor on the head's initial weights")] = 1.0
    stem_stride: Annotated[
        Annotated[int, Field(ge=1, le=32)], Doc("side of the stem's patches, 4 as published")
    ] = 4
    checkpoint_activations: Annotated[bool, Doc("recompute activations to save memory")] = False
    version: Annotated[
        Literal["v0", "v1", "max", "gauss"],
        Doc("interpolation of learned positions: v0 and v1 bilinear, max triangle, gauss"),
    ] = "v0"
    share_positions: Annotated[bool, Doc("one set of positions for the blocks of a stage")] = True
    depths: Annotated[FourCounts | None, Doc("blocks per stage; null: by the name")] = None
    dims: Annotated[FourCounts | None, Doc("channels per stage; null: by the name")] = None
    in_channels: Annotated[Count, Doc("channels of the images")] = 3
    kernel_size: Annotated[
        Annotated[int, Field(ge=1, le=255)] | None, Doc("odd; null: by the name")
    ] = None
    kernel_count: Annotated[
        Count | None, Doc("points per kernel; null: as many parameters as a 7x7 kernel")
    ] = None
    dilation: Annotated[Count, Doc("of dense kernels")] = 1
