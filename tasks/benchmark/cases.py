"""The cases of a benchmark, and what was measured of each."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.benchmark.counting import Counts
from tasks.benchmark.layers import LayerTime
from tasks.benchmark.settings import Pass
from tasks.benchmark.statistics import Latency, Spread


@dataclass(frozen=True)
class Case:
    """A model in a variant, a pass, and a batch size."""

    model: str
    variant: str
    kind: Pass
    batch_size: int

    def __str__(self) -> str:
        return f"{self.label}, {self.kind}, batch {self.batch_size}"

    @property
    def label(self) -> str:
        """Name of the model, with the variant unless it is the plain one."""
        return self.model if self.variant == "plain" else f"{self.model} {self.variant}"


@dataclass
class Measurement:
    """What is known of a case; None: not measured.

    Args:
        case: which one.
        counts: of its model in its variant.
        weight_bytes: of the model's parameters.
        peak_bytes: of a step (see `tasks.benchmark.memory.peak_bytes`).
        latency: of its steps, in seconds.
        relative: throughput as a multiple of the reference's in the same pass and batch size.
        failure: why it was not measured.
    """

    case: Case
    counts: Counts | None = None
    weight_bytes: int | None = None
    peak_bytes: int | None = None
    latency: Latency | None = None
    relative: Spread | None = None
    failure: str | None = None

    @property
    def throughput(self) -> Spread | None:
        """Images per second."""
        if self.latency is None:
            return None
        return self.latency.throughput(self.case.batch_size)

    def as_plain(self) -> dict[str, Any]:
        """Everything as plain data: times in seconds, memory in bytes."""
        case, throughput = self.case, self.throughput
        return {
            "model": case.model,
            "variant": case.variant,
            "pass": case.kind,
            "batch_size": case.batch_size,
            "images_per_second": throughput and asdict(throughput),
            "latency_seconds": self.latency and self.latency.as_plain(),
            "relative_throughput": self.relative and asdict(self.relative),
            "peak_bytes": self.peak_bytes,
            "weight_bytes": self.weight_bytes,
            **(asdict(self.counts) if self.counts else {}),
            "failure": self.failure,
        }

    def figures(self) -> dict[str, float]:
        """The main figures by name, with the case as their third part."""
        case, found = self.case, {}
        if self.latency is not None:
            found["images_per_second"] = case.batch_size / self.latency.p50
            found["latency_p50_ms"] = 1e3 * self.latency.p50
            found["latency_p95_ms"] = 1e3 * self.latency.p95
        if self.relative is not None:
            found["relative_throughput"] = self.relative.median
        if self.peak_bytes is not None:
            found["peak_mib"] = self.peak_bytes / 2**20
        place = f"{case.model}/{case.variant}/{case.batch_size}"
        return {f"{case.kind}/{name}/{place}": value for name, value in found.items()}


@dataclass
class Findings:
    """A finished benchmark.

    Args:
        task: its name.
        subject: name of the model that is not there for comparison.
        reference: label of the model that throughput is compared to.
        measurements: in the order of the tables.
        layers: by model and variant (see `tasks.benchmark.layers`).
        facts: device, precision and the like, by name.
        notes: remarks for the reader.
    """

    task: str
    subject: str
    reference: str
    measurements: list[Measurement]
    layers: dict[str, list[LayerTime]] = field(default_factory=dict)
    facts: dict[str, int | float | str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
