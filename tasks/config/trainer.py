"""Group `trainer`: arguments of `lightning.Trainer`."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from tasks.config.fields import MOST, Count, Doc, Group, NotNegative, PositiveShare, Text, Whole

AtLeastMinusOne = Annotated[int, Field(ge=-1, le=MOST)]
Processes = Annotated[int, Field(ge=1, le=1024)]
Part = Annotated[float, Field(ge=0, le=1)] | Whole
PartToUse = PositiveShare | Count


class TrainerSettings(Group):
    """How a run is carried out.

    Further arguments of `lightning.Trainer` can be added with a plus (`+trainer.profiler=simple`);
    those that this project gives itself cannot.
    """

    model_config = ConfigDict(extra="allow")

    accelerator: Annotated[Text, Doc("auto (the best there is), cpu, gpu, or another of Lightning")]
    devices: Annotated[
        Processes | Literal["auto", -1] | Text | Annotated[list[Whole], Field(min_length=1)],
        Doc("processes on this machine, their numbers in a list, or auto: all"),
    ]
    num_nodes: Annotated[Count, Doc("machines; more than one only under torchrun or SLURM")]
    strategy: Annotated[Text, Doc("auto, ddp, or another of Lightning")]
    precision: Annotated[
        Text | Literal[16, 32, 64],
        Doc("auto: bf16-mixed on a GPU that has it, else 32-true; or 16-mixed, 64-true"),
    ]
    max_epochs: Annotated[AtLeastMinusOne | None, Doc("epochs; -1: no limit")]
    max_steps: Annotated[AtLeastMinusOne, Doc("optimizer steps; -1: no limit")]
    gradient_clip_val: Annotated[
        NotNegative | None, Doc("largest norm of the gradients; null: any")
    ]
    accumulate_grad_batches: Annotated[Count, Doc("batches per optimizer step")]
    sync_batchnorm: Annotated[bool, Doc("batch norm over all processes, on GPUs")]
    log_every_n_steps: Annotated[
        Whole | Literal["auto"], Doc("auto: 20, or less where a curve would have few points")
    ]
    check_val_every_n_epoch: Annotated[
        Count | None, Doc("null: validate by val_check_interval, across epochs")
    ]
    val_check_interval: Annotated[
        Count | PositiveShare | None,
        Doc("optimizer steps between validations, or a share of an epoch"),
    ]
    limit_train_batches: Annotated[PartToUse, Doc("batches of an epoch, or their share")]
    limit_val_batches: Annotated[Part, Doc("batches of a validation, or their share; 0: none")]
    limit_test_batches: Annotated[PartToUse, Doc("batches of the test, or their share")]
    deterministic: Annotated[
        bool | Literal["warn"], Doc("only operations whose results repeat to the bit")
    ]


class CallbackSettings(Group):
    """A callback or a logger: `_target_` and the arguments of what it names."""

    model_config = ConfigDict(extra="allow")

    target: Annotated[Text, Field(alias="_target_"), Doc("the class")]


class ExperimentSettings(Group):
    """What a recipe says of itself."""

    task: Annotated[Text, Doc("the task that the recipe is of")]


class ModeSettings(Group):
    """Group `mode`: what a run does."""

    target: Annotated[Text, Field(alias="_target_"), Doc("the class of the mode")]
    name: Annotated[Text, Doc("its name")]
