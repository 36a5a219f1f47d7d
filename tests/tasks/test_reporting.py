"""Results, provenance, pages and the table of a sweep."""

import base64
import csv
import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tasks.classification.task import ClassificationTask
from tasks.detection.task import DetectionTask
from tasks.errors import ReportError
from tasks.failures import FAILURE_FILE
from tasks.reporting import files, writer
from tasks.reporting.console import duration_text, print_results
from tasks.reporting.curves import learning_curves, read_series
from tasks.reporting.drawing import as_png, bars, heat_map, new_figure
from tasks.reporting.markdown import as_markdown, literal
from tasks.reporting.metrics import as_plain, declared, metric_text
from tasks.reporting.page import Report, ReportFigure, Section, Table
from tasks.reporting.positions import Movement, position_figures, position_table
from tasks.reporting.provenance import Provenance, code_state
from tasks.reporting.results import Results, read_results
from tasks.reporting.run_report import write_run_report
from tasks.reporting.sweep import sweep_table
from tasks.reporting.writer import write_report
from tasks.segmentation.task import SegmentationTask

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


ABOUT = declared([*ClassificationTask.metrics, *SegmentationTask.metrics, *DetectionTask.metrics])


def results_of(**changes):
    plain = {
        "task": "cls",
        "name": "run",
        "mode": "fit",
        "metrics": {"test/top1": 0.5, "test/loss": 1.25, "val/top1": 0.6, "test/iou/tree": 0.1},
        "facts": {"test_samples": 10},
        "checkpoint": "best.ckpt",
        "wall_seconds": 12.5,
        "provenance": Provenance.gather(["seed=1"], 1).as_plain(),
        "config": {"optim": {"lr": 0.1, "betas": [0.9, 0.999]}, "ckpt": None},
        "metrics_about": as_plain(ABOUT),
    }
    return Results(**{**plain, **changes})


def blank(width=4, height=3):
    figure, _ = new_figure(1, 1, width, height)
    return figure


def python(code, *arguments, encoding="utf-8"):
    """Run a line of code in a process of its own."""
    environment = {"PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def imports(module):
    """Names of all modules that are loaded once `module` is."""
    done = python(f"import sys, {module}; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def write_job(folder, number, metrics, *overrides):
    job = folder / str(number)
    job.mkdir(parents=True)
    provenance = {"overrides": list(overrides)}
    results_of(metrics=metrics, provenance=provenance).write(job)


class Page(HTMLParser):
    """Tags with their attributes, and the text of headings and cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


# results.json


def test_results_come_back_as_they_were_written(tmp_path):
    written = results_of(notes=["a remark"])
    read = read_results(written.write(tmp_path))
    assert read == written


def test_what_json_cannot_hold_is_null_and_noted(tmp_path):
    odd = results_of(
        metrics={"test/loss": math.nan, "test/top1": np.float32(0.5)},
        facts={"scale": math.inf, "folder": Path("data"), "count": np.int64(3)},
        config={"trainer": {"limits": [1.0, -math.inf]}},
    )
    text = odd.write(tmp_path).read_text()
    plain = json.loads(text, parse_constant=pytest.fail)
    assert plain["metrics"] == {"test/loss": None, "test/top1": 0.5}
    assert plain["facts"] == {"scale": None, "folder": "data", "count": 3}
    assert plain["config"]["trainer"]["limits"] == [1.0, None]
    noted = " ".join(plain["notes"])
    for place in ("metrics.test/loss", "facts.scale", "config.trainer.limits[1]"):
        assert place in noted
    assert math.isnan(read_results(tmp_path / "results.json").metrics["test/loss"])


def test_metrics_keep_their_order_in_files_tables_and_sweeps(tmp_path, capsys):
    """Those that say most come first, whatever their names are."""
    metrics = {"val/top1": 0.7, "test/top1": 0.8, "test/top5": 0.9, "test/ece": 0.1}
    results = results_of(metrics=metrics)
    folder = tmp_path / "0"
    folder.mkdir()
    results.write(folder)
    assert list(read_results(folder / "results.json").metrics) == list(metrics)
    print_results(results, folder / "report.html")
    out = capsys.readouterr().out
    names = ("test/top1", "test/top5", "test/ece", "val/top1")
    assert [line.split()[1] for line in out.splitlines() if "/" in line and "%" in line] == [*names]
    write_run_report(results, folder, [], {})
    assert "| test/top1 | test/top5 | test/ece |" in (folder / "report.md").read_text()
    sweep_table(tmp_path)
    assert "test/top1 | test/top5 | test/ece |" in (tmp_path / "sweep.md").read_text()


def test_a_tested_validation_split_is_said_beside_the_figures(tmp_path, capsys):
    for number, split in enumerate(("val", "test")):
        folder = tmp_path / str(number)
        folder.mkdir()
        facts = {"test_split": split}
        results = results_of(metrics={"test/top1": 0.8, "val/top1": 0.7}, facts=facts)
        results.write(folder)
        write_run_report(results, folder, [], {})
        print_results(results, folder / "report.html")
        for text in (capsys.readouterr().out, (folder / "report.md").read_text()):
            assert ("test/top1 (val split)" in text) == (split == "val")
            assert "val/top1 (" not in text
    sweep_table(tmp_path)
    assert "| split tested | test/top1 |" in (tmp_path / "sweep.md").read_text()
    assert "| val | 80.00 % |" in (tmp_path / "sweep.md").read_text()
    plain = json.loads((tmp_path / "sweep.json").read_text())
    assert [job["test_split"] for job in plain] == ["val", "test"]
    with (tmp_path / "sweep.csv").open() as file:
        assert [row["test_split"] for row in csv.DictReader(file)] == ["val", "test"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"metrics": {"a": "much"}}', '{"metrics": {}, "task": "cls"}'],
)
def test_a_broken_results_file_is_a_named_error(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ReportError, match=re.escape(str(path))):
        read_results(path)


def test_results_of_the_wrong_kind_or_missing_are_named_errors(tmp_path):
    path = results_of().write(tmp_path)
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({**plain, "provenance": "none"}))
    with pytest.raises(ReportError, match="provenance"):
        read_results(path)
    path.write_text(json.dumps({**plain, "entry_of_a_later_version": 1}))
    assert read_results(path).task == "cls"
    with pytest.raises(ReportError, match="Run the job again"):
        read_results(tmp_path / "nowhere.json")


def test_headline_is_the_last_stage_without_single_classes():
    assert list(results_of().headline()) == ["test/top1", "test/loss"]
    assert list(results_of(metrics={"val/top1": 1.0, "train/x": 2.0}).headline()) == ["val/top1"]
    assert list(results_of(metrics={"c/mce": 1.0, "c/fog/3": 2.0}).headline()) == ["c/mce"]


# files


def test_an_old_file_outlives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    files.write_atomically(path, "old")

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(ReportError, match="No space left"):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_an_interrupted_write_leaves_no_part_behind(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    files.write_atomically(path, "old")

    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path, monkeypatch):
    section = Section("A", figures=[ReportFigure("p", blank(), "p")])
    write_report(Report("old", "", Table([], []), [section]), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert len(before) == 3

    def fail(report):
        raise RuntimeError

    monkeypatch.setattr(writer, "as_markdown", fail)
    changed = Section("B", figures=[ReportFigure("p", blank(5, 5), "p")])
    with pytest.raises(RuntimeError):
        write_report(Report("new", "", Table([], []), [changed]), tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


# provenance


def test_provenance_knows_command_versions_and_machine():
    origin = Provenance.gather(["seed=3", "dataset.counts={train: 4}"], 3).as_plain()
    assert origin["command"] == "python -m tasks.run seed=3 'dataset.counts={train: 4}'"
    assert origin["overrides"] == ["seed=3", "dataset.counts={train: 4}"]
    assert origin["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "numpy", "lightning"} <= set(origin["versions"])
    assert origin["started"].endswith("+00:00")
    assert "threads" in origin["machine"]
    json.dumps(origin)


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_that_of_a_checkout_of_the_code(tmp_path, monkeypatch):
    code = tmp_path / "tasks" / "reporting"
    code.mkdir(parents=True)
    (code / "__init__.py").touch()
    assert code_state(code) == (None, None), "outside git"
    git(tmp_path, "init", "-q")
    assert code_state(code) == (None, None), "a repository around installed code, not tracking it"
    git(tmp_path, "add", "tasks")
    assert code_state(code) == (None, None), "no commit yet"
    git(tmp_path, "commit", "-qm", "first")
    commit, dirty = code_state(code)
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
    assert dirty is False
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "notes.txt").touch()
    assert code_state(code) == (commit, False), "files that take no part in a run"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert code_state(code) == (commit, False), "inside a git hook"
    (tmp_path / "tasks" / "new.py").touch()
    assert code_state(code) == (commit, True)


def test_no_git_at_all_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_state(Path(__file__).parent) == (None, None)


# page


@pytest.fixture
def odd_report():
    image = ReportFigure("a/../b c", blank(), 'a "quoted" <alt>', "caption & <b>more</b>")
    twin = ReportFigure("a/../b c", blank(5, 3), "twin")
    table = Table(
        ["name|x", "share"],
        [["<script>alert(1)</script>", "12.5%"], ["*a*_b", "-"]],
        "a [link](http://example.org)",
    )
    sections = [
        Section("<i>First</i> & *last*", "One <b>.\n\n# two\n\n1. three", [table], [image, twin]),
        Section("Without anything"),
    ]
    return Report("<title> & co", "sub <title>", Table(["test/top1"], [["50.00 %"]]), sections)


def test_the_page_holds_everything_and_refers_to_nothing_outside(odd_report, tmp_path):
    path = write_report(odd_report, tmp_path)
    assert path == tmp_path / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.open, "every tag is closed"
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "i", "b"}
    images = page.of("img")
    assert len(images) == 2
    for image, figure in zip(images, odd_report.sections[0].figures, strict=True):
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) == figure.png
        assert image["alt"] == figure.alt
    assert all(set(attributes) & {"href", "src"} <= {"href", "src"} for _, attributes in page.tags)
    ids = {attributes["id"] for attributes in page.of("section")}
    assert {a["href"].removeprefix("#") for a in page.of("a")} == ids
    assert "url(" not in path.read_text()
    assert "".join(page.texts["h1"]) == "<title> & co"
    assert page.texts["h2"] == ["<i>First</i> & *last*", "Without anything"]
    assert "<script>alert(1)</script>" in page.texts["td"]
    assert page.texts["p"][1:] == ["One <b>.", "# two", "1. three"]


def test_numbers_are_aligned_and_words_are_not(odd_report, tmp_path):
    page = Page(write_report(odd_report, tmp_path).read_text())
    heads = page.of("th")
    assert [head.get("class") for head in heads[1:]] == [None, "number"]


def test_markdown_shows_text_as_it_is_and_names_its_images(odd_report, tmp_path):
    write_report(odd_report, tmp_path)
    text = (tmp_path / "report.md").read_text()
    lines = text.splitlines()
    assert lines[0] == r"# \<title\> \& co"
    assert r"## \<i\>First\</i\> \& \*last\*" in lines
    assert r"\# two" in lines
    assert r"1\. three" in lines
    assert r"| \<script\>alert(1)\</script\> | 12.5% |" in lines
    shown = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(set(shown)) == 2, "two images of one name are two files"
    for name, figure in zip(shown, odd_report.sections[0].figures, strict=True):
        assert (tmp_path / name).read_bytes() == figure.png
    assert r"a \[link\](http://example.org)" in lines


def test_plain_words_need_no_escapes():
    assert literal("convnext_dcls_atto-shapes, 12.5 % (test/top1)") == (
        "convnext_dcls_atto-shapes, 12.5 % (test/top1)"
    )
    assert literal("a\n# b") == "a # b"
    assert as_markdown(Report("t", "", Table([], []))).startswith("# t")


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="1 cells below 2 columns"):
        Table(["a", "b"], [["1"]])


def test_a_run_report_says_what_was_run(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,train/loss,val/top1\n0,1,2.0,\n0,2,,0.5\n")
    rng = np.random.default_rng(0)
    initial = rng.normal(0, 0.5, (2, 6, 5)).astype(np.float32)
    movements = {"stages.0.0.dwconv": Movement(initial, initial + 1, 3)}
    results = results_of(notes=["one remark"])
    page = Page(
        write_run_report(results, tmp_path, [Section("Mine", "text")], movements).read_text()
    )
    titles = page.texts["h2"]
    assert titles == ["Curves", "Mine", "Learned positions", "How it was obtained", "Settings"]
    cells = page.texts["td"]
    for expected in ("50.00 %", "python -m tasks.run seed=1", "one remark", "optim.lr", "0.1"):
        assert expected in cells
    assert "test/iou/tree" not in page.texts["th"]


def test_a_run_without_training_or_positions_has_a_report_too(tmp_path):
    bare = results_of(metrics={}, checkpoint=None)
    page = Page(write_run_report(bare, tmp_path, [], {}).read_text())
    assert page.texts["h2"] == ["How it was obtained", "Settings"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45.21, "45.2 s"), (59.99, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_have_two_units(seconds, text):
    assert duration_text(seconds) == text


# curves


def test_curves_read_sparse_rows_and_survive_a_killed_run(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "epoch,step,lr-AdamW,test/top1,train/loss,val/iou/a,val/loss,val/top1,val/ece\n"
        "0,0,0.1,,2.5,,,,\n0,1,0.2,,nan,,,,\n0,1,,,,0.1,2.0,0.4,0.01\n1,2,,0.5,,,,,\n1,"
    )
    series = read_series(path)
    assert series["train/loss"] == ([0.0], [2.5])
    assert series["lr-AdamW"] == ([0.0, 1.0], [0.1, 0.2])
    assert series["val/top1"] == ([1.0], [0.4])
    images = learning_curves(path)
    names = ["curve_loss", "curve_validation", "curve_calibration", "curve_rates"]
    assert [p.name for p in images] == names
    alts = [p.alt for p in images]
    assert alts[0] == "Loss: train/loss, val/loss"
    assert alts[1] == "Validation: val/top1", "neither tests nor single classes"
    assert alts[2] == "Calibration error: val/ece", "which would be flat beside top-1"
    assert all(p.png.startswith(PNG_HEAD) for p in images)
    assert learning_curves(tmp_path / "none.csv") == []


# drawing and positions


def test_the_same_drawing_gives_the_same_bytes_at_the_size_it_says():
    first, again = (ReportFigure("p", blank(5, 4), "") for _ in range(2))
    assert first.png == again.png
    assert first.size == (800, 640)


def test_drawing_leaves_the_style_of_the_process_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    as_png(blank())
    assert dict(mpl.rcParams) == before
    assert imports("tasks.reporting.run_report").isdisjoint({"matplotlib.pyplot", "torch"})


def test_heat_map_shows_gaps_and_numbers():
    figure, ((axes,),) = new_figure(1, 1, 4, 3)
    values = np.array([[0.25, np.nan], [0.0, 1.0]])
    heat_map(axes, values, ["$a_{$", "b"], ["c", "\u4e2d"], "{:.0%}", limits=(0, 1))
    assert [text.get_text() for text in axes.texts] == ["25%", "100%"]
    assert as_png(figure, dpi=30).startswith(PNG_HEAD)
    empty, ((axes,),) = new_figure(1, 1, 4, 3)
    heat_map(axes, np.full((2, 2), np.nan), ["a", "b"], ["c", "d"], "{:.1f}")
    assert as_png(empty, dpi=30).startswith(PNG_HEAD)


def test_bars_say_where_there_is_no_figure():
    figure, ((axes,),) = new_figure(1, 1, 4, 3)
    series = {"ours": [0.2, math.nan], "other": [0.3, 0.4]}
    bars(axes, ["fog", "snow"], series, {"ours": [(0.1, 0.3), (math.nan, math.nan)]}, "{:.1f}")
    assert [t.get_text() for t in axes.texts] == ["0.2", "no figure", "0.3", "0.4"]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["ours", "other"]
    assert as_png(figure, dpi=30).startswith(PNG_HEAD)


def test_movements_are_measured_in_cells():
    initial = np.zeros((2, 3, 4), np.float32)
    learned = initial.copy()
    learned[0], learned[1, :, 0] = 3, 4
    movement = Movement(initial, learned, 4)
    assert movement.mean_distance == pytest.approx((5 + 3 * 3) / 4)
    assert movement.border_share == pytest.approx(1 / 4)
    table = position_table({"layer": movement})
    assert table.rows == [["layer", "3", "4", "3.50", "0.00", "3.50", "25.0%"]]


def test_rows_of_positions_are_drawn_along_the_axes_they_act_on():
    learned = np.stack([np.full((1, 1), 1.0), np.full((1, 1), 2.0)]).astype(np.float32)
    down_right = Movement(learned, learned, 3)
    right_down = Movement(learned, learned, 3, row_axes=(1, 0))
    assert down_right.drawn(learned).ravel().tolist() == [1, 2]
    assert right_down.drawn(learned).ravel().tolist() == [2, 1]


def test_images_of_positions_stay_of_one_size_and_skip_what_is_not_planar():
    rng = np.random.default_rng(0)

    def movement(rows):
        initial = rng.normal(0, 0.5, (rows, 3, 4)).astype(np.float32)
        return Movement(initial, initial + 0.2, 2)

    four = {f"layer{i}": movement(2) for i in range(4)}
    many = {f"layer{i}": movement(2) for i in range(18)}
    (small,), (large,) = position_figures(four), position_figures(many)
    assert small.size == large.size
    assert "4 of 18 layers" in large.caption
    assert position_figures({"line": movement(1)}) == []
    assert position_figures({}) == []


# console


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("test/top1", 0.98765, "98.77 %"),
        ("test/ece", 0.0312, "3.12 %"),
        ("test/iou/arrow", 0.5, "50.00 %"),
        ("test/box_ap50", 0.4, "40.00 %"),
        ("test/loss", 1.23456, "1.235"),
        ("test/topology", 0.5, "0.5"),
    ],
)
def test_shares_are_percentages(name, value, text):
    assert metric_text(name, value, ABOUT) == text


def test_the_last_line_is_the_whole_path(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    page = Path("/runs") / ("very_long_name_" * 20) / "report.html"
    print_results(results_of(name="[red]run[/red] :tada:"), page)
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"report: {page}"
    assert "[red]run[/red] :tada:" in out
    assert "\x1b" not in out, "no colours in a pipe"
    assert "50.00 %" in out
    assert "test/iou/tree" not in out


def test_a_stream_that_knows_few_signs_is_no_error(tmp_path):
    write_job(tmp_path, 0, {"test/top1": 0.5}, "seed=0", "name=\u4e2d")
    write_job(tmp_path, 1, {"test/top1": 0.6}, "seed=1", "name=\u4e2d")
    code = "import pathlib, sys; from tasks.reporting.sweep import sweep_table as table; "
    done = python(code + "table(pathlib.Path(sys.argv[1]))", str(tmp_path), encoding="ascii")
    assert done.returncode == 0, done.stderr
    assert "55.00 %" in done.stdout


# sweep


def test_a_sweep_is_read_without_torch_and_without_drawing():
    loaded = imports("tasks.reporting.sweep") | imports("tasks.reporting.writer")
    assert loaded.isdisjoint({"torch", "matplotlib", "lightning"})


def test_a_sweep_shows_what_differs_and_the_spread_over_seeds(tmp_path, capsys):
    values = {("a", 0): 0.5, ("a", 1): 0.7, ("b", 0): 0.4, ("b", 1): 0.4}
    for number, ((backbone, seed), value) in enumerate(values.items()):
        overrides = (f"backbone={backbone}", "+extra=1", f"seed={seed}")
        write_job(tmp_path, number, {"test/top1": value, "test/iou/x": 0.1}, *overrides)
    sweep_table(tmp_path)
    out = capsys.readouterr().out
    assert "60.00 % ± 14.14 %" in out
    assert "40.00 % ± 0.00 %" in out
    assert f"sweep: {tmp_path}" in out
    with (tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["job", "status", "backbone", "seed", "test/top1", "error"]
    assert [(r["backbone"], int(r["seed"])) for r in rows] == list(values)
    assert [float(r["test/top1"]) for r in rows] == list(values.values())
    plain = json.loads((tmp_path / "sweep.json").read_text())
    assert plain[0]["overrides"] == {"backbone": "a", "extra": "1", "seed": "0"}
    text = (tmp_path / "sweep.md").read_text()
    assert "| backbone | seeds | test/top1 |" in text
    assert "| a | 2 | 60.00 % ± 14.14 % |" in text


def test_jobs_stand_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 0):
        write_job(tmp_path, number, {"test/top1": 0.5}, f"optim.lr={number}")
    (tmp_path / ".hidden").mkdir()
    sweep_table(tmp_path)
    assert [job["job"] for job in json.loads((tmp_path / "sweep.json").read_text())] == [
        "0",
        "2",
        "10",
    ]


def test_failed_jobs_are_never_dropped(tmp_path, capsys):
    write_job(tmp_path, 0, {"test/top1": 0.5, "test/loss": math.nan}, "seed=0")
    failures = {
        "1": {FAILURE_FILE: '{"message": "no such level\\nmore", "overrides": ["seed=1"]}'},
        "2": {},
        "3": {"results.json": "{"},
        "4": {FAILURE_FILE: "{"},
    }
    for name, contents in failures.items():
        (tmp_path / name).mkdir()
        for file, content in contents.items():
            (tmp_path / name / file).write_text(content)
    sweep_table(tmp_path)
    plain = {job["job"]: job for job in json.loads((tmp_path / "sweep.json").read_text())}
    assert [plain[name]["status"] for name in "01234"] == ["finished", *["failed"] * 4]
    assert plain["1"]["error"].startswith("no such level")
    assert plain["1"]["overrides"] == {"seed": "1"}
    assert plain["0"]["metrics"] == {"test/loss": None, "test/top1": 0.5}
    assert any("test/loss is nan" in note for note in plain["0"]["notes"])  # no silent null
    assert "0,finished,0,0.5,nan," in (tmp_path / "sweep.csv").read_text()
    text = (tmp_path / "sweep.md").read_text()
    assert text.count("failed") >= 8
    assert "job 1 failed: no such level" in text
    assert "1 of 5, others failed" in text
    assert "job 3 failed" in capsys.readouterr().out


def test_a_sweep_of_failures_alone_and_an_empty_one(tmp_path):
    (tmp_path / "none").mkdir()
    sweep_table(tmp_path / "none")
    assert not list((tmp_path / "none").iterdir())
    (tmp_path / "all" / "0").mkdir(parents=True)
    sweep_table(tmp_path / "all")
    assert "| 0 | failed |" in (tmp_path / "all" / "sweep.md").read_text()
