"""Settings of groups backbone and optim, which every task has."""

import torch
from builds import with_settings

from effects.rows import Effect, Elsewhere
from tasks.build import build_task

ALL = ("cls", "seg", "det")
WEIGHT = "backbone.stages.0.0.pwconv1.weight"
STEM = "backbone.downsample_layers.0.0.weight"
POSITIONS = "backbone.stages.0.0.dwconv.P"
FLAT = {"optim.schedule": "constant"}
DECAYING = {**FLAT, "optim.lr": 1.0, "optim.layer_decay": 0.5, "trainer.limit_train_batches": 1}


def weight_rates(case):
    """The rate of weights, step by step."""
    return [round(rate, 9) for rate in case.trained.rates_of(WEIGHT)]


def first_rates(case):
    rates = case.trained.rates[0]
    return rates[STEM], rates[WEIGHT], rates[POSITIONS]


def rate_of_last_reduction(case):
    """Of the layer between the last stages, which stage-wise numbering gives to the stem."""
    return case.trained.rates[0]["backbone.downsample_layers.3.1.weight"]


def whole_backbone(case):
    """Number of weights of the backbone at its published size."""
    settings = dict(case.config.backbone)
    for name in ("depths", "dims"):
        del settings[name]
    with torch.device("meta"):
        whole = build_task(with_settings(case.config, {"backbone": settings}), case.data)
    return sum(p.numel() for p in whole.backbone.parameters())


def noise_of_training(case):
    """Whether the backbone computes something else each time."""
    images = torch.randn(16, 3, 16, 16)
    outputs = [case.backbone.train()(images) for _ in range(2)]
    first, second = (out[-1] if isinstance(out, list | tuple) else out for out in outputs)
    return not torch.equal(first, second)


def calls_of_a_block(case):
    """How often a block is computed in a step forwards and backwards."""
    with case.watching(case.backbone.stages[0][0]) as seen:
        case.step("train").backward()
    return len(seen)


def has_tiny_weights(case):
    return float(case.backbone.stages[3][0].pwconv1.weight.detach().abs().max()) < 1e-4


def position_tensors(case):
    return sum(name.endswith("dwconv.P") for name, _ in case.task.named_parameters())


BACKBONE = {
    "backbone.name": Effect("convnext_dcls_femto", whole_backbone),
    "backbone.pretrained": Elsewhere(
        "test_training_step.py::test_the_backbone_starts_from_the_weights_of_pretrained"
    ),
    "backbone.drop_path_rate": Effect(0.5, noise_of_training, expected=True, tasks=ALL),
    "backbone.layer_scale": Effect(
        0.25, lambda case: float(case.backbone.stages[0][0].gamma.detach().mean()), expected=0.25
    ),
    "backbone.init_std": Effect(1e-6, has_tiny_weights, expected=True),
    "backbone.stem_stride": Effect(
        1, lambda case: case.backbone.downsample_layers[0][0].stride, expected=(1, 1), tasks=ALL
    ),
    "backbone.checkpoint_activations": Effect(True, calls_of_a_block, expected=2, tasks=ALL),
    "backbone.version": Effect(
        "gauss", lambda case: case.backbone.stages[0][0].dwconv.SIG is not None, expected=True
    ),
    "backbone.share_positions": Effect(
        False, position_tensors, expected=5, base={"backbone.depths": [1, 1, 2, 1]}
    ),
}

OPTIM = {
    "optim.lr": Effect(0.5, weight_rates, expected=[0.5] * 3, base=FLAT),
    "optim.weight_decay": Effect(
        0.5, lambda case: {g["weight_decay"] for g in case.trained.groups}, expected={0, 0.5}
    ),
    "optim.betas": Effect(
        [0.5, 0.6], lambda case: {g["betas"] for g in case.trained.groups}, expected={(0.5, 0.6)}
    ),
    "optim.fused": Effect(True, lambda case: {g["fused"] for g in case.trained.groups}, {True}),
    "optim.eps": Effect(1e-3, lambda case: {g["eps"] for g in case.trained.groups}, {1e-3}),
    "optim.schedule": Effect(
        "constant", weight_rates, expected=[0.5] * 3, base={"optim.lr": 0.5}, tasks=ALL[:1]
    ),
    "optim.power": Effect(
        2.0,
        weight_rates,
        expected=[1.0, round(4 / 9, 9), round(1 / 9, 9)],
        base={"optim.schedule": "polynomial", "optim.lr": 1.0, "optim.min_lr": 0.0},
    ),
    "optim.milestones": Effect(
        [1],
        weight_rates,
        expected=[1.0] * 3 + [0.1] * 3,
        base={"optim.schedule": "steps", "optim.lr": 1.0, "trainer.max_epochs": 2},
    ),
    "optim.gamma": Effect(
        0.5,
        weight_rates,
        expected=[1.0] * 3 + [0.5] * 3,
        base={
            "optim.schedule": "steps",
            "optim.lr": 1.0,
            "optim.milestones": [1],
            "trainer.max_epochs": 2,
        },
    ),
    "optim.warmup_epochs": Effect(
        1, weight_rates, expected=[0.0, 0.5, 1.0], base={**FLAT, "optim.lr": 1.0}
    ),
    "optim.warmup_steps": Effect(
        2, weight_rates, expected=[0.0, 1.0, 1.0], base={**FLAT, "optim.lr": 1.0}
    ),
    "optim.warmup_start": Effect(
        0.5,
        weight_rates,
        expected=[0.5, 0.75, 1.0],
        base={"optim.schedule": "steps", "optim.lr": 1.0, "optim.warmup_steps": 2},
    ),
    "optim.min_lr": Effect(
        0.5,
        weight_rates,
        expected=[1.0, 0.875, 0.625],
        base={"optim.schedule": "cosine", "optim.lr": 1.0},
    ),
    "optim.layer_decay": Elsewhere(
        "test_training_settings.py::test_layer_decay_slows_the_backbone_and_not_the_head"
    ),
    "optim.layer_scheme": Effect(
        "stage_wise", rate_of_last_reduction, expected=0.5**13, base=DECAYING
    ),
    "optim.layer_count": Effect(
        6, first_rates, expected=(0.5**7, 0.5**6, 5 * 0.5**6), base=DECAYING, tasks=ALL
    ),
    "optim.positions": Effect(
        "released", first_rates, expected=(0.5**13, 0.5**12, 0.5**12), base=DECAYING, tasks=ALL
    ),
    "optim.repulsion_start_epoch": Elsewhere(
        "test_training_settings.py::test_the_squared_repulsive_loss_is_added_after_its_epoch"
    ),
    "optim.ema_decay": Elsewhere(
        "test_training_settings.py::test_the_average_of_the_weights_is_saved_and_validated"
    ),
    "optim.total_batch_size": Effect(24, lambda case: case.trained.steps, expected=1),
}
