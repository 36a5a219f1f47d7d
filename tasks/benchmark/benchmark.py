"""The course of a benchmark: prepare every case, time all of them interleaved, sum up."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import lightning as L
import torch

from dcls.depthwise import get_backend
from tasks.benchmark.cases import Case, Findings, Measurement
from tasks.benchmark.counting import ON_META, Counts, counted
from tasks.benchmark.layers import LayerTime, time_layers
from tasks.benchmark.memory import peak_bytes, weight_bytes
from tasks.benchmark.models import Model, learned_layers
from tasks.benchmark.random_images import RandomImages
from tasks.benchmark.settings import BenchmarkSettings
from tasks.benchmark.statistics import Latency, Rounds, relative_throughput
from tasks.benchmark.steps import InferenceStep, TrainingStep
from tasks.benchmark.timing import Step, burst_length, time_by_turns, warm_up
from tasks.engine.task import Task
from tasks.reporting.console import print_line
from tasks.reporting.progress import Progress

_LONGEST_REASON = 300


@dataclass
class Benchmark:
    """Times models of one task on one device.

    Args:
        task: name of the task.
        tasks: by the names of their backbones; the first is the subject, the others it is
            compared to.
        data: that the tasks were built with.
        settings: with the usual sizes filled in.
        fabric: device and precision.
        channels_last: memory layout of inputs.
        seed: of images.
        notes: remarks for the reader.
    """

    task: str
    tasks: dict[str, Task]
    data: RandomImages
    settings: BenchmarkSettings
    fabric: L.Fabric
    channels_last: bool
    seed: int
    notes: list[str]

    def __post_init__(self) -> None:
        self._models: list[Model] = []
        self._measurements: dict[Case, Measurement] = {}
        self._steps: dict[Case, Step] = {}
        self._bursts: dict[Case, int] = {}
        self._status = "preparing"

    def run(self) -> Findings:
        """Measure; a case that fails becomes a measurement that says why."""
        most = len(self.tasks) * len(self.settings.variants) * len(self._cases_of("", ""))
        progress = Progress(lambda: self._status)
        with _quiet(), _room_for_compiled(most), progress:
            self._models = list(self._variants())
            for model in self._models:
                self._prepare(model)
            self._time()
            layers = self._layers() if self.settings.layers else {}
        measurements = sorted(self._measurements.values(), key=self._place)
        return Findings(
            task=self.task,
            subject=next(iter(self.tasks)),
            reference=Case(self._reference.name, self._reference.variant, "inference", 1).label,
            measurements=measurements,
            layers=layers,
            facts=self._facts(),
            notes=self.notes,
        )

    @property
    def case_count(self) -> int:
        """How many cases there are."""
        variants = [v for t in self.tasks.values() for v in self.settings.variants if _has(t, v)]
        return len(variants) * len(self._cases_of("", ""))

    def _place(self, measurement: Measurement) -> tuple[int, int]:
        """Cases that can be compared stand together."""
        case, settings = measurement.case, self.settings
        sizes = list(settings.batch_sizes or ())
        return list(settings.passes).index(case.kind), sizes.index(case.batch_size)

    def _facts(self) -> dict[str, int | float | str]:
        return {
            "device": str(self.fabric.device),
            "precision": str(self.fabric.strategy.precision.precision),
            "image_size": self._size,
            "classes": len(self.data.class_names),
            "layout": "channels_last" if self.channels_last else "contiguous",
            "threads": torch.get_num_threads(),
            "depthwise": get_backend(),
        }

    @property
    def _reference(self) -> Model:
        """What throughput is compared to: the first compared model, else the only one."""
        name = list(self.tasks)[1 if len(self.tasks) > 1 else 0]
        return next(model for model in self._models if model.name == name)

    def _variants(self) -> Iterator[Model]:
        """Every model in every variant that it has."""
        for name, task in self.tasks.items():
            base = Model(name, "plain", task)
            for variant in self.settings.variants:
                if _has(task, variant):
                    yield base.in_variant(variant)

    def _cases_of(self, model: str, variant: str) -> list[Case]:
        return [
            Case(model, variant, kind, size)
            for kind in self.settings.passes
            for size in self.settings.batch_sizes or ()
        ]

    def _prepare(self, model: Model) -> None:
        """Count a model, and for each of its cases warm up and measure a step's memory."""
        cases = self._cases_of(model.name, model.variant)
        own = [Measurement(case) for case in cases]
        self._measurements |= dict(zip(cases, own, strict=True))
        try:
            counts = self._counts(model)
            model.task.to(self.fabric.device)
        except Exception as error:  # as below
            for one in own:
                self._fail(one, error)
            return
        for one in own:
            one.counts, one.weight_bytes = counts, weight_bytes(model.task)
            try:
                self._prepare_case(model, one)
            except Exception as error:  # whatever one model cannot, the others are measured
                self._fail(one, error)

    def _counts(self, model: Model) -> Counts:
        """Of the model as it is before compilation, which changes how, not what, it computes."""
        variant = "folded" if "folded" in model.variant else "plain"
        base = Model(model.name, "plain", self.tasks[model.name]).in_variant(variant)
        device = self.fabric.device
        base.train(False)
        found = counted(base.network.to(device), self._input(model, 1), device)
        if found.counted_on != ON_META:
            note = f"Multiply-adds of task={self.task} depend on the image: one random image's."
            self.notes += [note] if note not in self.notes else []
        return found

    def _prepare_case(self, model: Model, measurement: Measurement) -> None:
        case, device = measurement.case, self.fabric.device
        self._status = f"preparing {case}"
        step = self._step(model, case)
        seconds = warm_up(step, device)
        measurement.peak_bytes = peak_bytes(step, device)
        # The untimed step of a burst makes the kernels that training has changed in between.
        fewest = 2 if case.kind == "inference" else 1
        self._steps[case], self._bursts[case] = step, max(fewest, burst_length(seconds))
        print_line(f"ready: {case} ({1e3 * seconds:.1f} ms)")

    def _step(self, model: Model, case: Case) -> Step:
        if case.kind == "inference":
            return InferenceStep(model, self._input(model, case.batch_size), self.fabric.autocast)
        size, draw = self._size, self._draw()
        batch = {**model.task.random_batch(case.batch_size, size, draw), "unreadable": []}
        return TrainingStep(model, self.fabric.to_device(batch), self.fabric.autocast)

    def _time(self) -> None:
        seconds = self.settings.seconds * len(self._steps)
        print_line(f"timing {len(self._steps)} cases interleaved, about {seconds:.0f} s")

        def tell(share: float) -> None:
            self._status = f"timing, {100 * share:.0f} % of about {seconds:.3g} s"

        tell(0.0)
        timings = time_by_turns(self._steps, self._bursts, self.fabric.device, seconds, tell)
        for case, error in timings.failures.items():
            self._fail(self._measurements[case], error)
        rounds = {k: r for k, r in timings.rounds.items() if k not in timings.failures}
        for case, own in rounds.items():
            measurement = self._measurements[case]
            measurement.latency = Latency.of(own)
            reference = self._reference_rounds(case, rounds)
            if reference is not None:
                measurement.relative = relative_throughput(own, reference)

    def _reference_rounds(self, case: Case, rounds: dict[Case, list[list[float]]]) -> Rounds | None:
        model = self._reference
        return rounds.get(Case(model.name, model.variant, case.kind, case.batch_size))

    def _layers(self) -> dict[str, list[LayerTime]]:
        """Of the models that are not compiled, at the first batch size, where inference works."""
        found = {}
        for model in self._models:
            case = Case(model.name, model.variant, "inference", self._first_batch)
            failed = self._measurements.get(case, Measurement(case)).failure
            if "compiled" not in model.variant and failed is None:
                step, device = self._step(model, case), self.fabric.device
                self._status = f"timing the layers of {case.label}"
                found[case.label] = time_layers(model.network, step, device)
        return found

    def _fail(self, measurement: Measurement, error: Exception) -> None:
        """Keep why a case was not measured; what it held is given back."""
        lines = str(error).strip().splitlines() or [""]
        measurement.failure = f"{type(error).__name__}: {lines[0]}"[:_LONGEST_REASON]
        print_line(f"not measured: {measurement.case}: {measurement.failure}")
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()

    def _input(self, model: Model, batch_size: int) -> object:
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        images = torch.randn(batch_size, 3, self._size, self._size, generator=self._draw())
        taken = model.task.network_input(images.contiguous(memory_format=layout))
        return self.fabric.to_device(taken)

    def _draw(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    @property
    def _size(self) -> int:
        assert self.settings.image_size is not None
        return self.settings.image_size

    @property
    def _first_batch(self) -> int:
        assert self.settings.batch_sizes is not None
        return self.settings.batch_sizes[0]


def _has(task: Task, variant: str) -> bool:
    """Whether a model has a variant; one without learned positions cannot be folded."""
    return "folded" not in variant or bool(learned_layers(task))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's remark that a task logs, but no trainer is there to take it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*You are trying to `self.log.*")
        yield


@contextmanager
def _room_for_compiled(cases: int) -> Iterator[None]:
    """Let every case have compiled code: of a function beyond the limit PyTorch goes on without."""
    config = cast(Any, torch.compiler.config)
    with config.patch(recompile_limit=config.recompile_limit + 4 * cases):
        yield
