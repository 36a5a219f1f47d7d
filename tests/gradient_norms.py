"""A callback for the tests of clipping, given on the command line."""

import torch
from lightning.pytorch.callbacks import Callback

SETTINGS = ("+callbacks.norms._target_=gradient_norms.GradientNorms",)


class GradientNorms(Callback):
    """Keeps the norm of the gradients that each step was made with, and the optimizer's form."""

    norms: list[float] = []  # noqa: RUF012  of the last run: Hydra makes the callback
    fused: bool

    def on_fit_start(self, trainer, pl_module):
        type(self).norms = []
        type(self).fused = bool(trainer.optimizers[0].param_groups[0]["fused"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.norms.append(float(norm))
