"""Sweeps: one folder per job and a closing table."""

import json

from commands import TINY_SHAPES


def test_a_sweep_gives_a_folder_per_job_and_a_table(run, tmp_path):
    ended = run("-m", *TINY_SHAPES, "backbone=convnext_atto,convnext_dcls_atto", "seed=0,1")
    assert ended.code == 0, ended.err
    sweep = ended.folder
    jobs = sorted(path.parent for path in sweep.glob("*/results.json"))
    assert len(jobs) == 4
    chosen = {
        (r["config"]["backbone"]["name"], r["config"]["seed"])
        for r in (json.loads((job / "results.json").read_text()) for job in jobs)
    }
    assert len(chosen) == 4
    table = (sweep / "sweep.md").read_text()
    assert "convnext_dcls_atto" in table
    assert "seed" in table
    assert (sweep / "sweep.json").is_file()
    assert "convnext_dcls_atto" in ended.out


def test_a_failed_job_is_shown_and_the_others_go_on(run):
    ended = run("-m", *TINY_SHAPES, "dataset.level=mild,easy")
    assert ended.code == 1
    assert len(list(ended.folder.glob("*/results.json"))) == 1
    assert "mild" in ended.err
    assert "failed" in (ended.folder / "sweep.md").read_text()
