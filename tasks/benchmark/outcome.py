"""A benchmark as figures and plain data, for `results.json`."""

from dataclasses import asdict
from typing import Any

from tasks.benchmark.cases import Findings, Measurement
from tasks.modes.mode import Result


def benchmark_outcome(findings: Findings) -> Result:
    """Figures by name, a record per case and per timed layer, and what could not be measured.

    Figures of single cases have them as their third part; those of the subject in its first
    variant stand for the whole too, as in the table of a sweep.
    """
    measurements = findings.measurements
    metrics = {k: v for one in measurements for k, v in one.figures().items()}
    first = next(one.case.variant for one in measurements)
    for one in measurements:
        if (one.case.model, one.case.variant) == (findings.subject, first) and one.throughput:
            name = f"{one.case.kind}/images_per_second_batch_{one.case.batch_size}"
            metrics[name] = one.throughput.median
    failed = [one for one in measurements if one.failure is not None]
    facts = {**findings.facts, "cases": len(measurements), "not_measured": len(failed)}
    notes = [*findings.notes, *_reasons(failed)]
    return Result(metrics, None, facts, notes, _records(findings, measurements))


def _reasons(failed: list[Measurement]) -> list[str]:
    cases: dict[str | None, list[str]] = {}
    for one in failed:
        cases.setdefault(one.failure, []).append(str(one.case))
    return [f"not measured: {'; '.join(of)}: {reason}" for reason, of in cases.items()]


def _records(findings: Findings, measurements: list[Measurement]) -> list[dict[str, Any]]:
    layers = [
        {"what": "layer", "model": label, **asdict(layer)}
        for label, timed in findings.layers.items()
        for layer in timed
    ]
    return [*({"what": "case", **one.as_plain()} for one in measurements), *layers]
