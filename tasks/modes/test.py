"""Test a checkpoint on the test split, and report."""

from pathlib import Path

from omegaconf import DictConfig

from tasks.data.loaders import TaskData
from tasks.engine.finite_outputs import not_finite_notes
from tasks.engine.task import Task
from tasks.modes.checkpoint_settings import GROUPS, as_trained
from tasks.modes.mode import Result
from tasks.modes.with_trainer import TrainerMode
from tasks.reporting.provenance import Provenance
from tasks.trained_runs import source_of


class Test(TrainerMode):
    """`mode=test`: with the settings of the checkpoint's run, as far as no others were given."""

    __test__ = False  # not a test class of pytest's
    takes_checkpoint = "required"

    @classmethod
    def with_checkpoint(cls, config: DictConfig) -> DictConfig:
        """Task, backbone, dataset and preprocessing as in the run of the checkpoint."""
        if not isinstance(config.ckpt, str) or not Path(config.ckpt).is_file():
            return config  # the check of settings says what is missing
        source = source_of(config.ckpt)
        if source.run is None and source.backbone is None:
            return config
        return as_trained(config, source, GROUPS)

    def build(self) -> tuple[TaskData, Task]:
        """The data, and the task with the weights of the checkpoint."""
        data, task = super().build()
        task.load_weights(self.config.ckpt)
        return data, task

    def run(self, provenance: Provenance) -> Result:  # noqa: ARG002
        """Test the checkpoint."""
        metrics = self.test_metrics()
        notes = [*self.data_notes(self.data.test_split), *not_finite_notes(self.trainer, metrics)]
        return self.finished(Result(metrics, self.config.ckpt, self.test_facts(), notes))
