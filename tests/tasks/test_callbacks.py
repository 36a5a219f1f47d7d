"""The watch over the loss, and the record of positions."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import dcls
from tasks.engine.callbacks import PositionRecorder, positions_of
from tasks.engine.finite import FiniteLoss
from tasks.errors import TrainingError


class Line(L.LightningModule):
    """One weight with gradient -1, so that it counts the steps; a buffer that counts too."""

    def __init__(self, poison_at=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.long))
        self.poison_at = poison_at
        self.validated = []

    def training_step(self, batch, index):
        self.steps_seen += 1
        loss = -self.weight
        return loss * float("nan") if self.global_step == self.poison_at else loss

    def validation_step(self, batch, index):
        self.validated.append(float(self.weight.detach()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def trainer(tmp_path, *callbacks, **settings):
    return L.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        max_epochs=1,
        **settings,
    )


def loader(count=4):
    return DataLoader(range(count), batch_size=1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_bad_loss_is_named_by_its_step_before_anything_is_saved(tmp_path):
    with pytest.raises(TrainingError, match="at step 3 "):
        trainer(tmp_path, FiniteLoss()).fit(Line(poison_at=2), loader(4), loader(1))
    assert list(tmp_path.rglob("*.ckpt")) == []


def test_positions_are_copied_once_per_distinct_tensor():
    model = dcls.create_backbone(
        "convnext_dcls_atto", num_classes=2, depths=(2, 1, 1, 1), dims=(4, 4, 8, 8)
    )
    recorder = PositionRecorder()
    recorder.on_fit_start(None, model)
    assert len(recorder.initial) == 4
    name, before = next(iter(recorder.initial.items()))
    model.get_submodule(name).P.data.add_(1.0)
    assert torch.equal(recorder.initial[name], before)
    assert not torch.equal(positions_of(model)[name], before)
