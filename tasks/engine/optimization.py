"""How parameters are updated: the settings, their groups, and the optimizer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from dcls.positions import ParameterRole, parameter_roles
from tasks.errors import SettingError, TrainingError

PositionRecipe = Literal["intended", "released"]
"""How positions are trained, and in the same words the run around them.

`intended`: positions learn at five times the rate and are clamped, in every task; an average of the
weights takes every tensor once, after the clamp; the last step of an epoch takes the batches that
remain. `released`: as the authors' code does it: layer decay loses the factor five, only
classification clamps, the average is that of `ExponentialAverage(as_released=True)`, and batches
that do not fill a step are left out. Gradients are clipped as `trainer.gradient_clip_val` says in
both; the released runs did not clip."""


Fused = Literal["auto"] | bool
"""Whether a step of AdamW is one kernel per group of parameters; `auto`: where all are on a GPU.
On a CPU its rounding differs from that of the plain form, which the documented figures are of."""


@dataclass(frozen=True)
class Optimization:
    """The settings of one training run's updates (group `optim`).

    Rates are per optimizer step, `warmup_epochs` and `repulsion_start_epoch` in epochs;
    `warmup_steps`, if above zero, wins over `warmup_epochs`. `layer_decay` multiplies the rate by
    that factor for every layer below the head (1.0: off); `layer_scheme` and `layer_count` say how
    the backbone numbers its layers. `power` belongs to the polynomial schedule,
    `milestones` (epochs) and `gamma` to that of steps, `warmup_start` to both (see
    `tasks.engine.schedule`). `repulsion_start_epoch` and `ema_decay` may be None: off.
    """

    lr: float
    weight_decay: float
    betas: tuple[float, float]
    eps: float
    schedule: Literal["cosine", "polynomial", "steps", "constant"]
    power: float
    milestones: Sequence[float]
    gamma: float
    warmup_epochs: float
    warmup_steps: int
    warmup_start: float
    min_lr: float
    layer_decay: float
    layer_scheme: Literal["layer_wise", "stage_wise"]
    layer_count: int
    positions: PositionRecipe
    repulsion_start_epoch: int | None
    ema_decay: float | None
    fused: Fused = "auto"

    @property
    def as_released(self) -> bool:
        """Whether training follows the authors' code to the letter (see `PositionRecipe`)."""
        return self.positions == "released"

    def __post_init__(self) -> None:
        if self.positions not in ("intended", "released"):
            raise SettingError(
                f"optim.positions={self.positions} does not exist; choose intended or released."
            )
        if self.lr <= 0 or not 0 < self.layer_decay <= 1:
            raise SettingError(
                f"optim.lr={self.lr} must be above 0 and optim.layer_decay={self.layer_decay} "
                "within (0, 1]."
            )
        if self.fused not in ("auto", True, False):
            raise SettingError(f"optim.fused={self.fused} must be auto, true or false.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise SettingError(
                f"optim.ema_decay={self.ema_decay} must lie between 0 and 1, or be null for off."
            )


def parameter_groups(
    model: nn.Module,
    optimization: Optimization,
    layer_ids: Mapping[str, int],
    without_decay: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Sort the trainable parameters of `model` into optimizer groups.

    A group holds the parameters of one rate and one weight decay. Vectors (biases, norms, layer
    scales) and those in `without_decay` are not decayed; the special parameters of a layer
    (positions, widths) are treated as that layer declares. With layer decay, a parameter of layer
    `i` learns at ``lr * layer_decay ** (layer_count + 1 - i)``.

    Args:
        model: the whole task.
        optimization: rates and decays.
        layer_ids: layer number of each backbone parameter by its name in `model`; a parameter
            that is not named belongs to the head, the last layer.
        without_decay: names in `model` of further parameters that are not decayed, as its backbone
            says (see `dcls.Backbone.no_weight_decay`).

    Returns:
        Groups with `params`, `lr`, `weight_decay`, and `name`, lowest layer first. Together they
        hold every trainable parameter exactly once.

    Raises:
        TrainingError: a layer learns positions, a parameter `P`, of which it declares no role.
    """
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    assert known.issuperset(layer_ids), "a layer number of no parameter"
    roles = parameter_roles(model)
    unknown = set(without_decay) - {name for name, _ in model.named_parameters()}
    assert not unknown, f"the model has no parameters {sorted(unknown)}"
    _check_positions_found(model, roles)
    last = optimization.layer_count + 1
    groups: dict[tuple[int, str, float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = layer_ids.get(name, last) if optimization.layer_decay < 1 else last
        rate = optimization.lr * optimization.layer_decay ** (last - layer)
        role = roles.get(name)
        by_shape = parameter.ndim > 1 and name not in without_decay
        decays = by_shape if role is None else role.weight_decay
        if role is not None and not _loses_role(optimization):
            rate *= role.lr_scale
        kind = "decay" if decays else "no_decay"
        label = kind if role is None else "special"
        key = (layer, label, rate, optimization.weight_decay if decays else 0.0)
        groups.setdefault(key, []).append(parameter)
    result = [
        {"params": params, "lr": rate, "weight_decay": decay, "name": f"{label}_{layer}"}
        for (layer, label, rate, decay), params in sorted(groups.items(), key=lambda item: item[0])
    ]
    _assert_each_once(model, result)
    return result


def _check_positions_found(model: nn.Module, roles: Mapping[str, ParameterRole]) -> None:
    """Positions that learn as plain weights would be a silent change of the method."""
    parameters = dict(model.named_parameters())
    known = {id(parameters[name]) for name in roles}
    missed = [
        f"{name}.P".lstrip(".")
        for name, layer in model.named_modules()
        for own, parameter in layer.named_parameters(recurse=False)
        if own == "P" and parameter.requires_grad and id(parameter) not in known
    ]
    if missed:
        many = "s" if len(missed) > 1 else ""
        raise TrainingError(
            f"The model learns positions in {len(missed)} layer{many} ({', '.join(missed[:3])}) "
            "that the optimizer does not know: they would be trained as plain weights. Take the "
            "layers of dcls, or derive yours from dcls.positions.PositionedLayer, whose "
            "special_parameters must name P."
        )


def _loses_role(optimization: Optimization) -> bool:
    return optimization.as_released and optimization.layer_decay < 1


def _assert_each_once(model: nn.Module, groups: list[dict[str, Any]]) -> None:
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    wanted = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert len(grouped) == len(set(grouped)), "a parameter stands in two groups"
    assert set(grouped) == wanted, "a trainable parameter is in no group"


def build_optimizer(
    groups: list[dict[str, Any]], optimization: Optimization
) -> torch.optim.Optimizer:
    """AdamW over the given groups, in its fused form as `optimization.fused` says."""
    fused = optimization.fused
    if fused == "auto":
        fused = all(parameter.is_cuda for group in groups for parameter in group["params"])
    return torch.optim.AdamW(
        groups,
        lr=optimization.lr,
        betas=(optimization.betas[0], optimization.betas[1]),
        eps=optimization.eps,
        fused=fused or None,
    )
