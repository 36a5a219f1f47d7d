"""The number formats that a run computes in (setting `trainer.precision`)."""

from typing import Any, Literal, cast, get_args

import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch.optim import Optimizer

from tasks.engine.task import Task
from tasks.errors import SettingError

PrecisionName = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
"""`32-true`: float32 throughout. `bf16-mixed`, `16-mixed`: weights in float32, and autocast to
bfloat16 or float16, the latter with scaled gradients. `64-true`: float64 throughout."""

_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
_ALIASES = {"32": "32-true", "64": "64-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_HALF_WEIGHTS = {"bf16-true": "bf16-mixed", "16-true": "16-mixed"}


def resolved_precision(precision: str | int, accelerator: str) -> PrecisionName:
    """The precision meant: `auto` is bf16-mixed where a GPU computes in it, else 32-true.

    Args:
        precision: setting `trainer.precision`.
        accelerator: setting `trainer.accelerator`.

    Raises:
        SettingError: for what does not exist or is not here, and for weights in half precision:
            they would lose small updates, and positions most of their digits.
    """
    name, device = _ALIASES.get(str(precision), str(precision)), device_type(accelerator)
    if name == "auto":
        fits = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if fits else "32-true"
    if name in _HALF_WEIGHTS:
        raise SettingError(
            f"trainer.precision={name} is not supported: weights in half precision lose small "
            "updates, and positions most of their digits. Set "
            f"trainer.precision={_HALF_WEIGHTS[name]}, which computes in it with weights in "
            "float32."
        )
    if name not in get_args(PrecisionName):
        choices = ", ".join(get_args(PrecisionName))
        raise SettingError(
            f"trainer.precision={precision} does not exist; choose one of auto, {choices}."
        )
    return cast(PrecisionName, name)


def with_precision(task: Task, precision: PrecisionName) -> Task:
    """The task with weights of the type that the precision asks for.

    Lightning converts them only after callbacks have copied the weights and a checkpoint was
    loaded into them, which would round both to float32.
    """
    return task.double() if precision == "64-true" else task


def precision_arguments(precision: PrecisionName, accelerator: str) -> dict[str, Any]:
    """What `lightning.Trainer` is given for a precision, by the names of its arguments."""
    if precision in ("bf16-mixed", "16-mixed"):
        plugin = ClippingMixedPrecision(cast(Any, precision), device_type(accelerator))
        return {"plugins": [plugin], "precision": None}
    return {"precision": precision}


class ClippingMixedPrecision(MixedPrecision):
    """Mixed precision that clips the gradients of a fused optimizer, too.

    Lightning up to 2.6.6 refuses that, since a fused optimizer may unscale gradients by itself, in
    its step. But in bf16-mixed no gradient is scaled; and in 16-mixed they can be unscaled before
    they are clipped: `torch.amp.GradScaler` then lets the optimizer take them as they are.
    """

    def clip_gradients(
        self,
        optimizer: Optimizer,
        clip_val: int | float = 0.0,
        gradient_clip_algorithm: GradClipAlgorithmType = GradClipAlgorithmType.NORM,
    ) -> None:
        """Clip the gradients in place; those of a fused optimizer are unscaled first.

        Args:
            optimizer: holds the parameters whose gradients are clipped.
            clip_val: largest norm of all gradients together, or largest value; 0: off.
            gradient_clip_algorithm: by norm or by value.
        """
        if clip_val > 0 and self.scaler is not None and is_fused(optimizer):
            self.scaler.unscale_(optimizer)  # of any other optimizer Lightning has done it
        Precision.clip_gradients(self, optimizer, clip_val, gradient_clip_algorithm)


def is_fused(optimizer: Optimizer) -> bool:
    """Whether a step of the optimizer is one kernel for all parameters of a group."""
    return any(bool(group.get("fused")) for group in optimizer.param_groups)


def device_type(accelerator: str) -> str:
    """What tensors of a run are on, by PyTorch's name, for the setting `trainer.accelerator`.

    Raises:
        SettingError: for one that is not known, or a GPU where there is none.
    """
    if accelerator not in _ACCELERATORS:
        raise SettingError(
            f"trainer.accelerator={accelerator} does not exist; choose one of "
            f"{', '.join(_ACCELERATORS)}."
        )
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "cuda"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "mps"
    if accelerator in ("gpu", "cuda", "mps"):
        raise SettingError(
            f"trainer.accelerator={accelerator}, but PyTorch {torch.__version__} finds no such "
            "device here. Set trainer=cpu, or trainer.accelerator=auto for the best there is."
        )
    return "cpu"
