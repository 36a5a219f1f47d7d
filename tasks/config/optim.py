"""Group `optim`."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.config.fields import (
    Count,
    Doc,
    Group,
    NotNegative,
    Positive,
    PositiveShare,
    Share,
    Whole,
)

Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimSettings(Group):
    """AdamW and its schedule; rates are per optimizer step."""

    lr: Annotated[Positive, Doc("learning rate after the warm-up")]
    weight_decay: Annotated[NotNegative, Doc("of weights; positions, norms and biases have none")]
    betas: Annotated[list[Beta], Field(min_length=2, max_length=2), Doc("of AdamW")]
    eps: Annotated[float, Field(ge=1e-20, le=1), Doc("of AdamW")]
    schedule: Annotated[
        Literal["cosine", "polynomial", "steps", "constant"], Doc("of the rate after the warm-up")
    ]
    power: Annotated[Positive, Doc("of the polynomial schedule")]
    milestones: Annotated[
        list[Positive], Doc("epochs from which the rate is multiplied by gamma, of schedule=steps")
    ]
    gamma: Annotated[Positive, Doc("factor at each milestone")]
    warmup_epochs: Annotated[NotNegative, Doc("epochs in which the rate rises")]
    warmup_steps: Annotated[Whole, Doc("above 0: steps of the warm-up, in place of epochs")]
    warmup_start: Annotated[
        Share, Doc("factor of the rate at the first step, of the schedules polynomial and steps")
    ]
    min_lr: Annotated[NotNegative, Doc("rate at the end")]
    layer_decay: Annotated[PositiveShare, Doc("factor per layer below the head; 1: off")]
    layer_scheme: Annotated[
        Literal["layer_wise", "stage_wise"], Doc("how layers are numbered for layer_decay")
    ]
    layer_count: Annotated[Count, Doc("number of layers for layer_decay")]
    positions: Annotated[
        Literal["intended", "released"],
        Doc(
            "intended: positions learn at five times the rate and are clamped, in every task; "
            "released: exactly as the authors' code trains"
        ),
    ]
    repulsion_start_epoch: Annotated[
        Whole | None, Doc("the squared repulsive loss is added after this epoch; null: never")
    ]
    ema_decay: Annotated[
        Annotated[float, Field(gt=0, lt=1)] | None,
        Doc("exponential average of the weights, validated and saved in their place; null: none"),
    ]
    fused: Annotated[
        bool | Literal["auto"], Doc("AdamW as one kernel per step; auto: where all is on a GPU")
    ]
    total_batch_size: Annotated[
        Count | None, Doc("samples per step over all processes, reached by accumulation")
    ]
