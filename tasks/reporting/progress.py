"""How far a run is, for output that nobody watches: a file, a pipe, the log of a cluster."""

import math
import threading
import time
from collections.abc import Callable
from types import TracebackType

from tasks.reporting.console import duration_text, print_line

Clock = Callable[[], float]

INTERVAL = 30.0
"""Seconds within which something is said."""


class Progress:
    """Prints where a run is whenever nothing was printed for half a minute.

    As a context manager it looks at the clock in a thread of its own, so that a line comes however
    long the program waits: for a first batch, for code to be compiled, for a slow disk.

    Args:
        status: where the run is, as a line; called from that thread, so it only reads.
        interval: seconds within which a line comes; None: `INTERVAL`.
        clock: in seconds.
    """

    def __init__(
        self,
        status: Callable[[], str],
        interval: float | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._status = status
        self._interval = INTERVAL if interval is None else interval
        self._clock = clock
        self._told = clock()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Progress":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to look at the clock."""
        self._ended.clear()
        self._told = self._clock()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; may be called twice."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def say(self, line: str) -> None:
        """Print a line now; the next one is due an interval later."""
        with self._lock:
            print_line(line)
            self._told = self._clock()

    def tick(self) -> float:
        """Print the status if it is due; returns the seconds until it will be."""
        left = self._told + self._interval - self._clock()
        if left > 0:
            return left
        try:
            line = self._status()
        except Exception as error:  # a run of days must not end for want of a line
            line = f"still running ({type(error).__name__}: {error})"
        self.say(line)
        return self._interval

    def _run(self) -> None:
        while not self._ended.wait(self.tick()):
            pass


def left_text(done: float, total: float, seconds: float) -> str | None:
    """The time that is left, such as `3 min 20 s left`; None where it cannot be known.

    Args:
        done: parts of the whole, in any unit.
        total: likewise.
        seconds: that those parts took.
    """
    if not 0 < done < total or not math.isfinite(total):
        return None
    return f"{duration_text(seconds * (total - done) / done)} left"


def joined(*parts: str | None) -> str:
    """The parts of a line that are known."""
    return ", ".join(part for part in parts if part)
