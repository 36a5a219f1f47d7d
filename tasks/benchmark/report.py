"""Tables of a benchmark, and what it adds to the report of its run."""

from collections.abc import Sequence

from tasks.benchmark.cases import Findings, Measurement
from tasks.benchmark.figure import throughput_figure
from tasks.benchmark.layers import LayerTime, by_kind
from tasks.benchmark.statistics import Spread
from tasks.reporting.drawing import short
from tasks.reporting.page import Section, Table

_GAP = "-"
_REASON_LENGTH = 60
_MOST_LAYERS = 30
_METHOD = """Models take turns: in every round each case has one turn, so that a load of the machine
falls on all alike. Times run from an idle device to an idle device, after a warm-up. Throughput is
that of the median step, with the quartiles; the ratio is the median over the rounds of the ratio
within a round, with its quartiles.

Peak memory is what PyTorch holds at most during a step above what it held before: activations,
gradients and buffers, without parameters, the optimizer's state and the batch; on a processor
without the scratch memory of libraries. Multiply-adds are those of convolutions and matrix products
in one forward pass of one image, the construction of kernels from points among them. A training
step is the task's loss, its gradients, and the optimizer's update at a rate of 0: the zeros of a
folded kernel, which compiled kernels skip, stay zeros, though training would fill them."""


def headline_table(findings: Findings) -> Table:
    """Images per second: a row per pass and batch size, a column per model and variant."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    for one in findings.measurements:
        text = _number(None if one.throughput is None else one.throughput.median)
        found.setdefault((one.case.kind, one.case.batch_size), {})[one.case.label] = text
    labels = list(dict.fromkeys(one.case.label for one in findings.measurements))
    rows = [
        [f"{kind}, batch {size}", *(own.get(label, _GAP) for label in labels)]
        for (kind, size), own in found.items()
    ]
    return Table(["images/s", *labels], rows)


def main_table(findings: Findings) -> Table:
    """A row per case."""
    columns = [
        "model",
        "pass",
        "batch",
        "images/s",
        "p50 ms",
        "p95 ms",
        f"x of {findings.reference}",
        "peak MiB",
        "weights MiB",
        "parameters M",
        "multiply-adds G",
    ]
    return Table(columns, [_row(one) for one in findings.measurements])


def sections(findings: Findings) -> list[Section]:
    """The image, every case, the method and, if they were timed, the layers."""
    own = [
        Section("Throughput", draw=lambda: [throughput_figure(findings.measurements)]),
        Section("All cases", tables=[main_table(findings)]),
        Section("How it was measured", _METHOD),
    ]
    for label, layers in findings.layers.items():
        tables = [_kind_table(layers), _layer_table(layers)]
        own.append(Section(f"Layers of {label} in inference", tables=tables))
    return own


def _row(one: Measurement) -> list[str]:
    case, counts = one.case, one.counts
    head = [case.label, case.kind, str(case.batch_size)]
    size = [
        _number(None if one.weight_bytes is None else one.weight_bytes / 2**20),
        _number(None if counts is None else counts.parameters / 1e6),
        _number(None if counts is None else counts.multiply_adds / 1e9),
    ]
    if one.failure is not None or one.latency is None:
        reason = short(f"not measured: {one.failure}", _REASON_LENGTH)
        return [*head, reason, _GAP, _GAP, _GAP, _GAP, *size]
    return [
        *head,
        _spread(one.throughput),
        _number(1e3 * one.latency.p50),
        _number(1e3 * one.latency.p95),
        _spread(one.relative),
        _number(None if one.peak_bytes is None else one.peak_bytes / 2**20),
        *size,
    ]


def _kind_table(layers: Sequence[LayerTime]) -> Table:
    rows = [
        [one.kind, one.name, _number(1e3 * one.seconds), f"{one.share:.1%}"]
        for one in by_kind(list(layers))
    ]
    return Table(["kind", "layers", "ms", "share"], rows, "By kind, longest first")


def _layer_table(layers: Sequence[LayerTime]) -> Table:
    rows = [
        [one.name, one.kind, _number(1e3 * one.seconds), f"{one.share:.1%}"]
        for one in layers[:_MOST_LAYERS]
    ]
    return Table(["layer", "kind", "ms", "share"], rows, f"The {len(rows)} longest")


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return _GAP
    if spread.low == spread.high:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.low)} to {_number(spread.high)})"


def _number(value: float | None) -> str:
    """Three digits, whole numbers from 1000 on."""
    if value is None:
        return _GAP
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
