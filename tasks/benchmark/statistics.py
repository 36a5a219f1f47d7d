"""What the times of a step come to."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Rounds = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value; between two of them, linear."""
        low, median, high = np.percentile(values, (25, 50, 75))
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Latency:
    """Seconds of a step over all its rounds: percentiles, extremes and mean."""

    p50: float
    p95: float
    p25: float
    p75: float
    shortest: float
    longest: float
    mean: float
    samples: int
    rounds: int

    @classmethod
    def of(cls, rounds: Rounds) -> "Latency":
        """Of at least one sample; percentiles between two samples are linear."""
        samples = np.concatenate([np.asarray(own, dtype=float) for own in rounds])
        p25, p50, p75, p95 = (float(v) for v in np.percentile(samples, (25, 50, 75, 95)))
        return cls(
            p50=p50,
            p95=p95,
            p25=p25,
            p75=p75,
            shortest=float(samples.min()),
            longest=float(samples.max()),
            mean=float(samples.mean()),
            samples=len(samples),
            rounds=len(rounds),
        )

    def throughput(self, batch_size: int) -> Spread:
        """Images per second: those of the median step, and of the quartiles."""
        return Spread(batch_size / self.p50, batch_size / self.p75, batch_size / self.p25)

    def as_plain(self) -> dict[str, Any]:
        """The same as a dictionary."""
        return asdict(self)


def relative_throughput(own: Rounds, reference: Rounds) -> Spread:
    """How many times as fast as a reference of the same batch size: median over the rounds.

    Each round compares the medians of the two turns that it holds, so that a load which comes and
    goes cancels.
    """
    pairs = zip(own, reference, strict=False)  # one of the two may have broken off
    return Spread.of([float(np.median(b) / np.median(a)) for a, b in pairs])
