"""Settings of mode=benchmark."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.config.fields import Count, Doc, Group, Positive, Side


class BenchmarkGroup(Group):
    """What is timed, on random images."""

    passes: Annotated[
        list[Literal["inference", "training"]], Field(min_length=1), Doc("what is timed")
    ]
    variants: Annotated[
        list[Literal["plain", "folded", "compiled", "folded+compiled"]],
        Field(min_length=1),
        Doc("forms of the model; the first one is what others are compared to"),
    ]
    batch_sizes: Annotated[
        Annotated[list[Count], Field(min_length=1)] | None,
        Doc("images per step; null: as usual for the task"),
    ]
    image_size: Annotated[Side | None, Doc("side in pixels; null: as usual for the task")]
    classes: Annotated[
        Count | None, Doc("that the model tells apart; null: those of ckpt, or as usual")
    ]
    seconds: Annotated[Positive, Doc("of timing per case, on average")]
    layers: Annotated[bool, Doc("time every layer too")]
    threads: Annotated[Count | None, Doc("of the CPU; null: as many as PyTorch takes")]
