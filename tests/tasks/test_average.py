"""The average of the weights: where it lives, when it is used, and what a resumed run makes of it.

That it holds the right numbers is tested in `test_released.py`, against a plain loop.
"""

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tasks.engine.average import ExponentialAverage

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
]
recipes = pytest.mark.parametrize("as_released", [False, True], ids=["intended", "released"])


class Line(L.LightningModule):
    """A weight with gradient -1, so that it counts the steps; buffers that count too."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("float_steps", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("fixed", torch.tensor(1 / 3), persistent=False)
        self.validated = []

    def training_step(self, batch, index):
        self.steps += 1
        self.float_steps += 1
        return -self.weight

    def validation_step(self, batch, index):
        self.validated.append(float(self.weight.detach()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fitted(folder, *callbacks, model=None, ckpt_path=None, **settings):
    model = model or Line()
    trainer = L.Trainer(
        default_root_dir=folder,
        callbacks=[*callbacks],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"max_epochs": 1, "accelerator": "cpu", **settings},
    )
    loaders = [DataLoader(range(count), batch_size=1) for count in (4, 1)]
    trainer.fit(model, *loaders, ckpt_path=ckpt_path, weights_only=True)
    return model, trainer


@recipes
def test_the_average_lies_on_the_device_of_the_model_and_never_waits_for_it(as_released):
    """On a device without memory, where reading a number and copying to the CPU are errors.

    So it stands for a GPU, on which both make the process wait.
    """
    average, model = ExponentialAverage(0.5, as_released), Line()
    device = torch.device("meta")
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=device), global_step=0)
    model._device = device  # Lightning announces the device before it moves the model there
    average.setup(trainer, model, "fit")
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    trainer.optimizers = [optimizer]
    average.on_fit_start(trainer, model)
    average.on_train_start(trainer, model)
    for step in (1, 2):
        model.training_step(None, 0).backward()
        optimizer.step()
        trainer.global_step = step
        average.on_train_batch_end(trainer, model, None, None, 0)
        average.on_validation_epoch_start(trainer, model)
        average.on_validation_epoch_end(trainer, model)
    average.on_train_end(trainer, model)
    assert {value.device for value in places(average)} == {device}
    assert int(average._average_model.n_averaged) == 2


@recipes
def test_a_step_that_the_gradient_scaler_leaves_out_is_averaged_once_all_the_same(as_released):
    """As in the authors' code, and so that both recipes count alike."""
    average, model = ExponentialAverage(0.5, as_released), Line()
    root = SimpleNamespace(root_device=torch.device("cpu"))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    trainer = SimpleNamespace(strategy=root, global_step=0, optimizers=[optimizer])
    average.setup(trainer, model, "fit")
    average.on_fit_start(trainer, model)
    average.on_train_start(trainer, model)
    for step, skipped in enumerate((False, True, False)):
        model.training_step(None, 0).backward()
        if not skipped:
            optimizer.step()
        optimizer.zero_grad()
        trainer.global_step = step + 1
        for _ in "ab":  # of two batches that are accumulated, only the last one steps
            average.on_train_batch_end(trainer, model, None, None, 0)
    assert int(average._average_model.n_averaged) == 3
    held = float(average._average_model.module.weight.detach())
    assert held == mean_of([1, 2, 2, 3][not as_released :])


def places(average):
    return average._average_model.module.state_dict().values()


@pytest.mark.gpu
@recipes
def test_on_a_gpu_an_update_does_not_wait(tmp_path, as_released):
    class Strict(ExponentialAverage):
        def _update(self, *args):
            torch.cuda.set_sync_debug_mode("error")
            try:
                super()._update(*args)
            finally:
                torch.cuda.set_sync_debug_mode("default")

    average = Strict(0.5, as_released)
    model, _ = fitted(tmp_path, average, accelerator="gpu", devices=1)
    assert {value.device.type for value in places(average)} == {"cuda"}
    expected = mean_of([1, 2, 3, 4, 5][not as_released :])
    assert float(model.weight.detach()) == model.validated[0] == expected


def mean_of(values, decay=0.5):
    first, *rest = values
    for value in rest:
        first = decay * first + (1 - decay) * value
    return first


@recipes
def test_floats_that_are_saved_are_averaged_and_integers_are_exact(tmp_path, as_released):
    _, trainer = fitted(tmp_path, ExponentialAverage(0.5, as_released))
    saved = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)
    average, raw = saved["state_dict"], saved["current_model_state"]
    assert float(average["weight"]) == mean_of([1, 2, 3, 4, 5][not as_released :])
    assert float(average["float_steps"]) == mean_of([0, 1, 2, 3, 4][not as_released :])
    assert int(average["steps"]) == 4
    assert (float(raw["weight"]), float(raw["float_steps"]), int(raw["steps"])) == (5, 4, 4)


@recipes
def test_what_is_not_saved_is_left_alone(tmp_path, as_released):
    model, _ = fitted(tmp_path, ExponentialAverage(0.3, as_released), max_epochs=3)
    assert torch.equal(model.fixed, torch.tensor(1 / 3))


@recipes
def test_the_average_is_validated_and_training_goes_on_with_the_raw_weights(tmp_path, as_released):
    model, _ = fitted(tmp_path, ExponentialAverage(0.5, as_released), max_epochs=2)
    weights = [*range(1, 10)][not as_released :]
    assert model.validated == [mean_of(weights[:-4]), mean_of(weights)]
    assert float(model.weight.detach()) == mean_of(weights)


@recipes
def test_before_the_first_step_the_raw_weights_are_validated_and_saved(tmp_path, as_released):
    settings = {"accumulate_grad_batches": 4, "val_check_interval": 0.25}
    model, _ = fitted(tmp_path, ExponentialAverage(0.5, as_released), **settings)
    end = 1.5 if as_released else 2
    assert model.validated == [1, 1, 1, end]


@recipes
def test_a_resumed_run_goes_on_with_both(tmp_path, as_released):
    whole, _ = fitted(tmp_path / "whole", ExponentialAverage(0.5, as_released), max_epochs=3)
    _, first = fitted(tmp_path / "first", ExponentialAverage(0.5, as_released))
    path = first.checkpoint_callback.best_model_path
    again = ExponentialAverage(0.5, as_released)
    resumed, trainer = fitted(tmp_path / "second", again, ckpt_path=path, max_epochs=3)
    assert trainer.global_step == 12
    assert resumed.validated == whole.validated[1:]
    assert float(resumed.weight.detach()) == float(whole.weight.detach())
    ends = [
        torch.load(next((tmp_path / f).rglob("*.ckpt")), weights_only=True)
        for f in ("whole", "second")
    ]
    for part in ("state_dict", "current_model_state", "averaging_state"):
        assert ends[0][part] == ends[1][part]
