"""Time models on random images, without a dataset."""

from contextlib import AbstractContextManager

import torch
from omegaconf import DictConfig

from tasks.benchmark.outcome import benchmark_outcome
from tasks.benchmark.report import headline_table, main_table, sections
from tasks.benchmark.timing import using_threads
from tasks.build_benchmark import benchmarked, build_benchmark
from tasks.modes.mode import Mode, Result
from tasks.modes.with_trainer import parameter_count
from tasks.reporting.progress import joined
from tasks.reporting.provenance import Provenance


class Benchmark(Mode):
    """`mode=benchmark`: the composed model, or that of `ckpt`, beside those of `compare`."""

    def __init__(self, config: DictConfig) -> None:
        super().__init__(config)
        self.benchmark = build_benchmark(config)

    @classmethod
    def with_checkpoint(cls, config: DictConfig) -> DictConfig:
        """Random images as the dataset, and the task and backbone of the checkpoint."""
        return benchmarked(config)

    @property
    def folder_group(self) -> str:
        """A folder of its own."""
        return "benchmark"

    def environment(self) -> AbstractContextManager[None]:
        """The number of threads that was asked for."""
        return using_threads(self.config.benchmark.threads)

    def opening(self) -> list[str]:
        """Models, number of cases and the machine."""
        benchmark = self.benchmark
        names = [f"{name} ({parameter_count(task)})" for name, task in benchmark.tasks.items()]
        cases = benchmark.case_count
        seconds = f"about {cases * benchmark.settings.seconds:.3g} s of timing after preparation"
        what = f"{self.config.mode.name}, task={self.config.task.name}: {' and '.join(names)}"
        return [
            joined(what, f"{cases} case{'s' if cases != 1 else ''}", seconds),
            joined(
                f"device {benchmark.fabric.device}",
                f"precision {benchmark.fabric.strategy.precision.precision}",
                f"threads {torch.get_num_threads()}",
            ),
        ]

    def run(self, provenance: Provenance) -> Result:  # noqa: ARG002
        """Time every case."""
        findings = self.benchmark.run()
        result = benchmark_outcome(findings)
        result.headline, result.sections = headline_table(findings), sections(findings)
        result.printed = main_table(findings)
        return result
