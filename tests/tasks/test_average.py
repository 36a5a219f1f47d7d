"""The average of weights: when it is taken, of what, and where it lies."""

import copy

import lightning as L
import pytest
import torch
from builds import build_task_of
from torch import nn
from torch.utils.data import DataLoader

import dcls
from tasks.training.average import ExponentialAverage

DECAY = 0.75
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Line(L.LightningModule):
    """One weight with gradient -1, so that it counts the steps; a buffer that counts too."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.long))
        self.validated = []

    def training_step(self, batch, index):
        self.steps_seen += 1
        return -self.weight

    def validation_step(self, batch, index):
        self.validated.append(float(self.weight.detach()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Shared(Line):
    """Two layers that share positions, which every step pushes beyond the kernel's border."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(dcls.Dcls2d(1, 1, 3, dilated_kernel_size=9) for _ in "ab")
        self.layers[1].P = self.layers[0].P
        nn.init.constant_(self.layers[0].P, 3.5)

    def training_step(self, batch, index):
        return -self.layers[0].P.sum() - self.weight

    def optimizer_step(self, *args, **kwargs):
        super().optimizer_step(*args, **kwargs)
        dcls.clamp_positions(self)


def fit(tmp_path, model, average, count=4, ckpt_path=None, **settings):
    trainer = L.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        callbacks=[average],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"max_epochs": 1, **settings},
    )
    loaders = DataLoader(range(count), batch_size=1), DataLoader(range(1))
    trainer.fit(model, *loaders, ckpt_path=ckpt_path, weights_only=True)


def averaged(values, first=None):
    """The average of values; it begins with `first`, or with the first value."""
    average = first
    for value in values:
        average = value if average is None else DECAY * average + (1 - DECAY) * value
    return average


def test_validation_sees_the_average_and_training_goes_on_with_the_raw_weights(tmp_path):
    model = Line()
    fit(tmp_path, model, ExponentialAverage(DECAY), enable_checkpointing=False)
    assert model.validated == [pytest.approx(averaged([1, 2, 3, 4]))]
    assert float(model.weight.detach()) == pytest.approx(averaged([1, 2, 3, 4]))
    assert int(model.steps_seen) == 4


def test_before_its_start_the_raw_weights_are_validated(tmp_path):
    model = Line()
    fit(tmp_path, model, ExponentialAverage(DECAY, update_starting_at_step=100))
    assert model.validated == [4.0]
    assert float(model.weight.detach()) == 4.0


@pytest.mark.parametrize("released", [False, True])
def test_a_checkpoint_holds_both_and_resumes_with_both(tmp_path, released):
    fit(tmp_path, Line(), ExponentialAverage(DECAY, released))
    (path,) = tmp_path.rglob("*.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    expected = averaged([1, 2, 3, 4], 0.0 if released else None)
    assert float(checkpoint["state_dict"]["weight"]) == pytest.approx(expected)
    assert float(checkpoint["current_model_state"]["weight"]) == 4.0
    resumed = Line()
    average = ExponentialAverage(DECAY, released)
    kept = path.rename(tmp_path / "kept.ckpt")
    fit(tmp_path, resumed, average, ckpt_path=kept, max_epochs=2)
    expected = averaged(range(1, 9), 0.0 if released else None)
    assert float(resumed.weight.detach()) == pytest.approx(expected)


def test_shared_positions_are_averaged_once_after_the_clamp(tmp_path):
    model = Shared()
    fit(tmp_path, model, ExponentialAverage(DECAY), enable_checkpointing=False)
    assert float(model.layers[0].P.detach().max()) == 4.0  # every step ended at the border
    assert model.layers[1].P is model.layers[0].P


def test_as_released_the_average_begins_with_initial_weights_per_block_before_the_clamp(tmp_path):
    """Against a loop over the state dict, in which shared positions stand once per block."""
    model, reference = Shared(), Shared()
    reference.load_state_dict(model.state_dict())
    average = copy.deepcopy(reference)
    optimizer = torch.optim.SGD(reference.parameters(), lr=1.0)
    for _ in range(4):
        optimizer.zero_grad()
        reference.training_step(None, 0).backward()
        optimizer.step()
        with torch.no_grad():
            for name, value in average.state_dict().items():
                if value.is_floating_point():
                    value.copy_(value * DECAY + (1 - DECAY) * reference.state_dict()[name])
        dcls.clamp_positions(reference)
    fit(tmp_path, model, ExponentialAverage(DECAY, as_released=True), enable_checkpointing=False)
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(model.state_dict()[name], value), name
    assert float(model.weight.detach()) == averaged([1, 2, 3, 4], 0.0)
    assert float(model.layers[0].P.detach().max()) > 4.0


@pytest.mark.parametrize("recipe", ["intended", "released"])
def test_the_setting_reaches_the_average(recipe, tmp_path):
    from tasks.training.trainer import build_trainer

    task = build_task_of("cls", "optim.ema_decay=0.75", f"optim.positions={recipe}")
    settings = {
        **{"accelerator": "cpu", "devices": 1, "precision": "32-true"},
        **{"sync_batchnorm": False, "log_every_n_steps": 1},
    }
    trainer = build_trainer(settings, task, tmp_path, [], [])
    (average,) = [c for c in trainer.callbacks if isinstance(c, ExponentialAverage)]
    assert average._as_released is (recipe == "released")


def test_the_average_lies_where_the_weights_will_be(tmp_path):
    """Lightning copies the weights before it moves them to their device."""
    trainer = L.Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False)
    trainer.strategy._root_device = torch.device("meta")
    average = ExponentialAverage(DECAY)
    average.setup(trainer, Line(), "fit")
    assert {p.device.type for p in average._average_model.module.parameters()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_average_of_a_model_on_a_gpu_lies_there_too(tmp_path):
    average = ExponentialAverage(DECAY)
    devices = []

    class Watch(L.Callback):
        def on_train_batch_end(self, *args):
            devices.append(average._average_model.module.weight.device.type)

    trainer = L.Trainer(
        accelerator="gpu",
        devices=1,
        max_epochs=1,
        callbacks=[average, Watch()],
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(Line(), DataLoader(range(2), batch_size=1))
    assert devices == ["cuda", "cuda"]
