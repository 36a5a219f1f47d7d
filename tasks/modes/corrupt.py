"""Write corrupted copies of the tested images to a folder."""

from omegaconf import DictConfig

from tasks.build_corruption import write_corrupted
from tasks.errors import SettingError
from tasks.modes.mode import Mode, Result
from tasks.reporting.provenance import Provenance


class Corrupt(Mode):
    """`mode=corrupt`: needs no model, and writes to `out` alone."""

    @classmethod
    def check(cls, config: DictConfig) -> None:
        """Raise `SettingError` without a folder to write to."""
        if config.out is None:
            raise SettingError("mode=corrupt needs a folder for the images: out=/data/shapes-c.")

    @property
    def folder_group(self) -> None:
        """No run folder."""
        return

    def run(self, provenance: Provenance) -> Result:
        """Write the images that are not there yet."""
        write_corrupted(self.config, provenance)
        return Result()
