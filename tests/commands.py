"""Settings that make a run tiny, and what is known of a command that has ended."""

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

TINY = (
    "figures=false",  # most of a run's time; tests that look at figures ask for them
    "trainer=cpu",
    "trainer.max_epochs=1",
    "trainer.log_every_n_steps=1",
    "optim.warmup_epochs=0",
    "dataset.workers=0",
    "dataset.batch_size=8",
    "dataset.image_size=16",
    "+backbone.depths=[1,1,1,1]",
    "+backbone.dims=[4,4,8,8]",
)
TINY_SHAPES = (*TINY, "dataset.counts={train:24,val:10,test:13}")


@dataclass
class Ended:
    """How a command ended: exit code, both streams, and the run folders it left."""

    code: int
    out: str
    err: str
    folders: list[Path]

    @property
    def folder(self) -> Path:
        assert len(self.folders) == 1, (self.folders, self.out, self.err)
        return self.folders[0]

    @property
    def results(self) -> dict:
        return json.loads((self.folder / "results.json").read_text())


def command(folder: Path, *overrides: str) -> Ended:
    """Call `python -m tasks.run` in this process, from `folder`; for fixtures of a module."""
    from tasks.run import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    before = set(folder.glob("runs/*/*"))
    GlobalHydra.instance().clear()
    with pytest.MonkeyPatch.context() as patch:
        folder.mkdir(exist_ok=True)
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["tasks.run", *overrides])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as leaving:
                code = int(leaving.code or 0)
    folders = sorted(set(folder.glob("runs/*/*")) - before)
    return Ended(code, out.getvalue(), err.getvalue(), folders)


def refused(ended: Ended, *parts: str) -> None:
    """The command failed with a message, not a traceback, that holds all parts."""
    assert ended.code == 1, ended.out
    assert "Traceback" not in ended.err, ended.err
    for part in parts:
        assert part in ended.err, ended.err
