"""Settings that all tasks have."""

from typing import Annotated

from pydantic import Field

from tasks.config.fields import Doc, Group, Text


class TaskSettings(Group):
    """Group `task`, whatever the task."""

    target: Annotated[Text, Field(alias="_target_"), Doc("the class of the task")]
    name: Annotated[Text, Doc("its name")]
    shapes: Annotated[
        Text | None, Doc("the class with its variant of dataset=shapes; null: it has none")
    ] = None
    features: Annotated[bool, Doc("whether the backbone gives feature maps instead of logits")]
    monitor: Annotated[Text, Doc("the validation metric that picks the best checkpoint")]
    channels_last: Annotated[bool, Doc("memory layout of images")]
