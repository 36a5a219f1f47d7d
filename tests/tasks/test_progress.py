"""A run whose output nobody watches says what it does and how far it is, in every mode."""

import os
import re
import subprocess
import sys
import threading
import time

import pytest
from commands import TINY_SHAPES
from detection import DET_SHAPES

from tasks.reporting.progress import Progress, left_text

BENCHMARK = (
    "mode=benchmark",
    "trainer=cpu",
    "benchmark.image_size=32",
    "benchmark.batch_sizes=[2]",
    "benchmark.classes=5",
    "benchmark.seconds=0.05",
    "benchmark.variants=[plain]",
    "+backbone.depths=[1,1,1,1]",
    "+backbone.dims=[4,4,8,8]",
)


class Clock:
    """Time that stands still until it is told to pass."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_line_comes_when_thirty_seconds_have_passed_and_not_before(clock, capsys):
    progress = Progress(lambda: f"at {clock.now:.0f}", clock=clock)
    assert progress.tick() == 30
    clock.now += 29
    assert progress.tick() == 1
    assert lines(capsys) == []
    clock.now += 1
    assert progress.tick() == 30
    assert lines(capsys) == ["at 130"]
    for _ in range(60):
        clock.now += 1
        progress.tick()
    assert lines(capsys) == ["at 160", "at 190"]


def test_whatever_is_said_starts_the_thirty_seconds_anew(clock, capsys):
    progress = Progress(lambda: "status", clock=clock)
    clock.now += 20
    progress.say("validated")
    clock.now += 20
    assert progress.tick() == 10
    clock.now += 10
    progress.tick()
    assert lines(capsys) == ["validated", "status"]


def test_lines_come_while_the_program_waits_for_something_long(capsys):
    """By a thread, which ends with the block, also when an error leaves it."""
    before = threading.active_count()

    def interrupted():
        with Progress(lambda: "waiting", interval=0.01):
            time.sleep(0.2)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        interrupted()
    assert threading.active_count() == before
    assert len(lines(capsys)) >= 3


def test_a_status_that_fails_does_not_end_the_program(clock, capsys):
    progress = Progress(lambda: str(1 / 0), clock=clock)
    clock.now += 30
    progress.tick()
    assert "ZeroDivisionError" in lines(capsys)[0]


@pytest.mark.parametrize(
    ("done", "total", "seconds", "text"),
    [
        (1, 4, 10.0, "30.0 s left"),
        (30, 120, 60.0, "3 min 0 s left"),
        (0, 4, 10.0, None),
        (4, 4, 10.0, None),
        (3, float("inf"), 10.0, None),
    ],
)
def test_the_time_that_is_left(done, total, seconds, text):
    assert left_text(done, total, seconds) == text


@pytest.fixture
def often(monkeypatch):
    """A line whenever two hundredths of a second have passed."""
    monkeypatch.setattr("tasks.reporting.progress.INTERVAL", 0.02)


@pytest.fixture
def no_report(monkeypatch):
    """No report is looked at here."""
    monkeypatch.setattr("tasks.job.write_run_report", lambda *parts, **_: parts[1] / "report.html")


def found(pattern, text):
    matches = re.findall(pattern, text, flags=re.MULTILINE)
    assert matches, f"no line is {pattern}:\n{text}"
    return matches


def test_fit_says_what_it_will_do_where_it_is_and_what_validation_found(run, often, no_report):
    ended = run(*TINY_SHAPES, "trainer.max_epochs=2", "seed=3")
    assert ended.code == 0, ended.err
    first, *rest = ended.out.splitlines()
    assert first == f"run folder: {ended.folder}"
    opening = "\n".join(rest).partition("epoch 1/2")[0]
    for part in ("fit", "task=cls", "convnext_dcls_yocto", "shapes", "cpu", "32-true", "seed 3"):
        assert part in opening, part
    for part in ("24 train", "10 val", "13 test", "2 epochs of 3 steps", "8 images"):
        assert part in opening, part
    rows = found(r"^epoch ([12])/2, step (\d)/6(?:, lr \S+, loss [\d.]+)?", ended.out)
    assert [step for _, step in rows] == sorted(step for _, step in rows)
    found(r"^epoch \d/2, step \d/6, lr [\d.e-]+, loss [\d.]+(, [\d.]+ s left)?$", ended.out)
    validated = found(r"^validated after step (\d), epoch (\d)/2: (.*)$", ended.out)
    assert [(step, epoch) for step, epoch, _ in validated] == [("3", "1"), ("6", "2")]
    assert validated[1][2].startswith("val/top1 ")
    assert "val/loss" in validated[1][2]
    found(r"^testing, batch \d of 2", ended.out)


def test_detection_shows_its_loss_too(run, often, no_report):
    ended = run(*DET_SHAPES)
    assert ended.code == 0, ended.err
    found(r"^epoch 1/1, step \d/2, lr [\d.e-]+, loss [\d.]+", ended.out)
    found(r"^validated after step 2, epoch 1/1: val/box_ap .*val/mask_ap", ended.out)


def test_the_other_modes_that_score_a_model(run, often, no_report):
    best = run(*TINY_SHAPES).folder / "checkpoints/best.ckpt"
    ended = run(*TINY_SHAPES, "mode=test", f"ckpt={best}")
    assert ended.out.startswith(f"run folder: {ended.folder}\ntest, task=cls")
    assert "13 test images" in ended.out
    found(r"^testing, batch \d of 2", ended.out)
    chosen = ("task=robustness", "trainer=cpu", "dataset.workers=0", "corruptions=[fog]")
    ended = run(*chosen, f"ckpt={best}")
    assert ended.out.startswith(f"run folder: {ended.folder}\nrobustness")
    assert "6 conditions" in ended.out
    found(r"^testing, condition \d of 6 \(\S+\), batch \d+(, [\d.]+ s left)?$", ended.out)


def test_corrupt(run, often, tmp_path):
    out = tmp_path / "copies"
    chosen = ("mode=corrupt", "corruptions=[fog]", f"out={out}", "dataset.workers=0")
    ended = run(*TINY_SHAPES, *chosen)
    assert ended.code == 0, ended.err
    first = ended.out.splitlines()[0]
    for part in ("corrupt", "13 images", "shapes", "5 corruptions", str(out)):
        assert part in first, part
    found(r"^\d+ of 13 images(, [\d.]+ s left)?$", ended.out)


def test_benchmark(run, often, monkeypatch, no_report):
    monkeypatch.setattr("tasks.benchmark.timing.WARM_UP_SECONDS", 0.05)
    ended = run(*BENCHMARK)
    assert ended.code == 0, ended.err
    first, *opening = ended.out.splitlines()[:3]
    assert first == f"run folder: {ended.folder}"
    for part in ("benchmark", "task=cls", "convnext_dcls_yocto", "2 cases", "cpu", "32-true"):
        assert part in " ".join(opening), part
    found(r"^preparing convnext_dcls_yocto, \w+, batch 2", ended.out)
    found(r"^timing, \d+ % of about 0.1 s", ended.out)


def test_a_terminal_keeps_its_bar_and_gets_no_lines(run, often, no_report, monkeypatch):
    bars = []

    class Bar:
        def __new__(cls, **given):
            from lightning.pytorch.callbacks import Callback

            bars.append(given)
            return Callback()

    monkeypatch.setattr("tasks.engine.trainer.RichProgressBar", Bar)
    monkeypatch.setattr("tasks.engine.trainer.watched", lambda: True)
    ended = run(*TINY_SHAPES, "mode=fit")
    assert len(bars) == 1
    assert ended.out.startswith(f"run folder: {ended.folder}")
    assert "1 epoch of 3 steps" in ended.out
    assert "validated" not in ended.out


def test_what_is_said_reaches_a_file_at_once(tmp_path):
    """Not when the program ends: it may run for days."""
    code = (
        "import time; from tasks.reporting.progress import Progress\n"
        "with Progress(lambda: 'status', interval=0.05): time.sleep(20)"
    )
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen([sys.executable, "-c", code], stdout=log, env=buffered)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and not (tmp_path / "log").read_text():
            time.sleep(0.05)
        child.kill()
        child.wait()
    assert (tmp_path / "log").read_text().startswith("status\n")
