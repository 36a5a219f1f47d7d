"""What a run keeps."""

from pathlib import Path
from typing import Literal

from lightning.pytorch.callbacks import Callback, ModelCheckpoint

BEST, LAST = "best", "last"


def checkpoint_callbacks(monitor: str, mode: Literal["max", "min"], folder: Path) -> list[Callback]:
    def keep(filename: str, monitor: str | None) -> Callback:
        return ModelCheckpoint(
            dirpath=folder / "checkpoints",
            filename=filename,
            monitor=monitor,
            mode=mode,
            enable_version_counter=False,
        )

    return [keep(BEST, monitor), keep(LAST, None)]
