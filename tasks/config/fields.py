"""The kinds of values that settings have, and the base of the models of their groups."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Group(BaseModel):
    """The settings of one group: each with its type, its bounds and a line of documentation.

    Values keep the type that they have in YAML: `1` is no text, and `"1"` is no number.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def Doc(text: str) -> object:  # noqa: N802 - reads as a type does
    """The documentation of a field."""
    return Field(description=text)


MOST = 2**31 - 1
"""Larger whole numbers fit no count of samples, steps or pixels."""
LARGEST = 1e37
"""Larger numbers would overflow in float32."""

Count = Annotated[int, Field(ge=1, le=MOST)]
Whole = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
CropShare = Annotated[float, Field(ge=0.1, le=1)]
"""Side of a centre crop, of the image; less would enlarge images beyond memory."""
Text = Annotated[str, Field(min_length=1)]
Side = Annotated[int, Field(ge=1, le=8192)]
"""Side of an image, pixels."""
Moments = Annotated[list[float], Field(min_length=3, max_length=3)]
"""A value per channel, RGB."""
Deviations = Annotated[list[Positive], Field(min_length=3, max_length=3)]
Workers = Annotated[int, Field(ge=0, le=256)] | Literal["auto"]
LongestAndShortest = Annotated[list[Side], Field(min_length=2, max_length=2)]
