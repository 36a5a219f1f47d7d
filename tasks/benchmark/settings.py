"""What is timed (block `benchmark` of the configuration)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from tasks.engine.benchmarking import BenchmarkSizes
from tasks.errors import SettingError

Pass = Literal["inference", "training"]
PASSES: tuple[Pass, ...] = ("inference", "training")
VARIANTS = ("plain", "folded", "compiled", "folded+compiled")


@dataclass(frozen=True)
class BenchmarkSettings:
    """The cases to time, and how long.

    Args:
        passes: of `PASSES`.
        variants: of `VARIANTS`.
        batch_sizes: images per step; None: those usual for the task.
        image_size: side of the images in pixels; None: likewise.
        classes: that the model tells apart; None: likewise.
        seconds: of timing per case, on average.
        layers: time every layer too.
        threads: of the processor; None: as many as PyTorch has.

    Raises:
        SettingError: values that cannot be.
    """

    passes: Sequence[Pass]
    variants: Sequence[str]
    batch_sizes: Sequence[int] | None
    image_size: int | None
    classes: int | None
    seconds: float
    layers: bool
    threads: int | None

    def __post_init__(self) -> None:
        _check_choices("passes", self.passes, PASSES)
        _check_choices("variants", self.variants, VARIANTS)
        batch_sizes = self.batch_sizes
        if batch_sizes is not None and not (
            isinstance(batch_sizes, list | tuple) and batch_sizes and all(map(_counts, batch_sizes))
        ):
            raise SettingError(
                f"benchmark.batch_sizes={batch_sizes} is no list of whole numbers from 1 on, such "
                "as [1,8], nor null."
            )
        for name in ("image_size", "classes", "threads"):
            value = getattr(self, name)
            if value is not None and not _counts(value):
                raise SettingError(
                    f"benchmark.{name}={value} is no whole number from 1 on, nor null."
                )
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, int | float):
            raise SettingError(f"benchmark.seconds={self.seconds} is no number.")
        if not 0 < self.seconds < float("inf"):
            raise SettingError(f"benchmark.seconds={self.seconds} must be above 0.")
        if not isinstance(self.layers, bool):
            raise SettingError(f"benchmark.layers={self.layers} must be true or false.")

    def completed(self, usual: BenchmarkSizes) -> "BenchmarkSettings":
        """The same with the usual sizes of a task where none were given."""
        return replace(
            self,
            batch_sizes=self.batch_sizes or usual.batch_sizes,
            image_size=self.image_size or usual.image_size,
            classes=self.classes or usual.classes,
        )


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_choices(name: str, chosen: object, choices: Sequence[str]) -> None:
    entries = cast(Sequence[object], chosen) if isinstance(chosen, list | tuple) else ()
    if not entries or any(entry not in choices for entry in entries):
        raise SettingError(
            f"benchmark.{name}={chosen} is no list of some of {', '.join(choices)}; the default is "
            f"benchmark.{name}=[{','.join(choices[:2])}]."
        )
    if len(set(entries)) < len(entries):
        raise SettingError(f"benchmark.{name}={chosen} names one of them twice.")
