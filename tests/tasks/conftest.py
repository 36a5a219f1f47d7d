"""The command line, driven for real on tiny models and images."""

import shutil
import sys
from dataclasses import replace

import pytest
from commands import Ended
from hydra.core.global_hydra import GlobalHydra


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Call `python -m tasks.run` with overrides, in this process, from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*overrides: str) -> Ended:
        from tasks.run import main

        before = set(tmp_path.glob("runs/*/*"))
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["tasks.run", *overrides])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        out, err = capfd.readouterr()
        return Ended(code, out, err, sorted(set(tmp_path.glob("runs/*/*")) - before))

    return call


@pytest.fixture(scope="session")
def known_runs(tmp_path_factory):
    """How commands of `fitted` ended, by their overrides, and where their folders are kept."""
    return tmp_path_factory.mktemp("known"), {}


@pytest.fixture
def fitted(run, known_runs, tmp_path):
    """As `run`, for a training that a test only starts from: a known one is copied."""
    kept, known = known_runs

    def call(*overrides: str) -> Ended:
        if overrides not in known:
            ended = run(*overrides)
            assert ended.code == 0, ended.err
            copy = shutil.copytree(ended.folder, kept / str(len(known)))
            known[overrides] = ended, ended.folder.relative_to(tmp_path), copy
            return ended
        ended, place, copy = known[overrides]
        folder = tmp_path / place
        while folder.exists():  # of another training that began in the same second
            folder = folder.with_name(f"{folder.name}-again")
        shutil.copytree(copy, folder)
        return replace(ended, folders=[folder])

    return call


@pytest.fixture
def image_folder(tmp_path):
    """A small image-folder dataset with train and val splits of two classes."""
    import numpy as np
    from PIL import Image

    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 5)):
        for level, name in ((60, "dark"), (190, "light")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.normal(level, 20, (20, 24, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root
