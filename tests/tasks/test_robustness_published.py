"""Published robustness sets from the command: every figure of known mistakes, against a hand's."""

import csv
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from commands import command, refused
from PIL import Image
from robustness import (
    AT_224,
    COLOURS,
    IN_A,
    IN_R,
    LABELS,
    SETTINGS,
    SYNSETS,
    WHITE,
    all_cells,
    binomial_interval,
    by_hand,
    mean_interval,
    resampled,
    said,
    write_cells,
    write_figure,
    write_model,
    wrong,
)

from tasks.data.images import read_array
from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, SEVERITIES
from tasks.robustness.published import sets
from tasks.robustness.published.layouts import BAR_CORRUPTIONS as BAR
from tasks.robustness.published.layouts import LAYOUTS
from tasks.robustness.scoring.summary import ALEXNET

CELLS = all_cells()
AMONG_A, AMONG_R = (200, IN_A), (200, IN_R)
WHOLE = {
    "clean": "clean",
    "imagenet-sketch": "sketch",
    "imagenetv2-matched-frequency": "v2_matched_frequency",
    "imagenetv2-threshold0.7": "v2_threshold07",
    "imagenetv2-top-images": "v2_top_images",
}
STEPS = [f"imagenet-c/brightness/{severity}" for severity in SEVERITIES]


def close(value):
    return pytest.approx(value, abs=1e-5)


def metric(ended, name):
    return ended.results["metrics"][f"test/{name}"]


def span(ended, name):
    return [metric(ended, f"{name}/{end}") for end in ("low", "high")]


def images_of(cell):
    return CELLS[cell][1]


def error(cell):
    marks = wrong(images_of(cell))
    return sum(marks) / len(marks)


def mean_of(corruption, collection="imagenet-c"):
    return sum(error(f"{collection}/{corruption}/{s}") for s in SEVERITIES) / 5


def some_cells(*names):
    return {name: CELLS[name] for name in names}


def remark(ended, figure):
    notes = ended.results["notes"]
    (found,) = (note for note in notes if figure in note.partition(": ")[0].split(", "))
    return found


def table_row(report, first):
    (row,) = re.findall(rf"^\| {re.escape(first)} \|(.*)\|$", report, re.MULTILINE)
    return [entry.strip() for entry in row.replace("\\", "").split("|")]


def percent(value):
    return f"{100 * value:.2f} %"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "mistaken.pt")


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    """One that takes every class for the one after it in the table of colours."""
    turned = dict(zip(SYNSETS, [*COLOURS.values()][1:] + [*COLOURS.values()][:1], strict=True))
    return turned, write_model(tmp_path_factory.mktemp("model") / "turned.pt", turned)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, model):
    root = write_cells(tmp_path_factory.mktemp("whole"), CELLS)
    ended = command(root / "work", *SETTINGS, f"dataset.root={root}", f"ckpt={model}")
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture(scope="module")
def report(whole):
    return (whole.folder / "report.md").read_text()


@pytest.fixture(scope="module")
def rows(whole):
    with (whole.folder / "cells.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def small(run, model, tmp_path):
    """Run the model on cells in `tmp_path`."""

    def call(*overrides, settings=SETTINGS, ckpt=model):
        return run(*settings, f"dataset.root={tmp_path}", f"ckpt={ckpt}", *overrides)

    return call


def test_alexnets_errors_are_the_published_ones():
    assert ALEXNET["gaussian_noise"] == 0.886428
    assert ALEXNET["jpeg_compression"] == 0.606500
    assert list(ALEXNET) == list(CORRUPTIONS)


def test_every_cell_is_in_the_table_with_its_three_figures(rows):
    found = {}
    for row in rows:
        cell = "/".join(filter(None, (row["set"], row["corruption"], row["severity"])))
        found.setdefault(cell, {})[row["figure"]] = row
    assert list(found) == list(CELLS)
    for cell, figures in found.items():
        images = images_of(cell)
        expected = by_hand(images)
        among = {name for name in figures if name.startswith("top1_among_")}
        assert list(figures) == [*expected, *sorted(among)], cell
        assert bool(among) == (cell in ("clean", "imagenet-a", "imagenet-r")), cell
        for name, row in figures.items():
            assert row["model"] == "mistaken"
            if name in among:
                continue
            assert float(row["value"]) == close(expected[name]), (cell, name)
            assert row["images"] == str(len(images))
        top1 = figures["top1"]
        right = len(images) - sum(wrong(images))
        bounds = [float(top1["low"]), float(top1["high"])]
        assert bounds == close(binomial_interval(right, len(images))), cell
        assert figures["ece"]["low"] == ""
        assert f"{len(images)} of {int(top1['published']):,} images" in top1["note"]
    published = {row["set"]: int(row["published"]) for row in rows}
    assert published["imagenet-a"] == 7500
    assert published["imagenetv2-top-images"] == 10000


def test_mce_mean_error_and_relative_mce(whole):
    means = {name: mean_of(name) for name in CORRUPTIONS}
    clean = error("clean")
    assert metric(whole, "mean_error") == close(sum(means.values()) / 15)
    assert metric(whole, "mce") == close(sum(m / ALEXNET[c] for c, m in means.items()) / 15)
    relative = [(m - clean) / (ALEXNET[c] - 0.4348) for c, m in means.items()]
    assert metric(whole, "relative_mce") == close(sum(relative) / 15)
    extra = sum(mean_of(name) for name in EXTRA) / 4
    assert metric(whole, "extra_error") == close(extra)
    bar = [error(f"imagenet-c-bar/{name}/{s}") for name in BAR for s in SEVERITIES]
    assert metric(whole, "c_bar_error") == close(sum(bar) / 50)


def test_intervals_of_means_over_cells_resample_images(whole):
    def sums(cells, weight):
        marks = [[weight(c) * w for w in wrong(images_of(c))] for c in cells]
        return np.sum(marks, axis=0)

    counted = [f"imagenet-c/{name}/{s}" for name in CORRUPTIONS for s in SEVERITIES]
    kind = {cell: cell.split("/")[1] for cell in counted}
    by_alexnet = sums(counted, lambda c: 1 / 75 / ALEXNET[kind[c]])
    assert span(whole, "mce") == close(mean_interval(by_alexnet))
    assert span(whole, "mean_error") == close(mean_interval(sums(counted, lambda c: 1 / 75)))
    added = sums(counted, lambda c: 1 / 75 / (ALEXNET[kind[c]] - 0.4348))
    fall = sum(1 / 15 / (ALEXNET[c] - 0.4348) for c in CORRUPTIONS)
    relative = added - fall * np.array(wrong(images_of("clean")))
    assert span(whole, "relative_mce") == close(mean_interval(relative))
    extra = sums([f"imagenet-c/{c}/{s}" for c in EXTRA for s in SEVERITIES], lambda c: 1 / 20)
    assert span(whole, "extra_error") == close(mean_interval(extra))
    bar = sums([f"imagenet-c-bar/{c}/{s}" for c in BAR for s in SEVERITIES], lambda c: 1 / 50)
    assert span(whole, "c_bar_error") == close(mean_interval(bar))


@pytest.mark.parametrize(("cell", "name"), WHOLE.items())
def test_sets_of_all_classes(whole, cell, name):
    images = images_of(cell)
    expected = by_hand(images)
    for figure, value in expected.items():
        assert metric(whole, f"{name}_{figure}") == close(value), figure
    right = round(expected["top1"] * len(images))
    assert span(whole, f"{name}_top1") == close(binomial_interval(right, len(images)))
    confidences = [said(image.colour)[1] for image in images]
    assert span(whole, f"{name}_confidence") == close(mean_interval(confidences))


@pytest.mark.parametrize(
    ("cell", "name", "among"), [("imagenet-a", "a", AMONG_A), ("imagenet-r", "r", AMONG_R)]
)
def test_sets_of_two_hundred_classes_masked_and_not(whole, cell, name, among):
    images = images_of(cell)
    masked, unmasked = by_hand(images, among), by_hand(images)
    assert masked["top1"] > unmasked["top1"] > 0, "the mask must matter"
    for figure, value in masked.items():
        assert metric(whole, f"{name}_{figure}") == close(value), figure
    assert metric(whole, f"{name}_top1_unmasked") == close(unmasked["top1"])
    for figure, share in (("top1", masked["top1"]), ("top1_unmasked", unmasked["top1"])):
        expected = binomial_interval(round(share * len(images)), len(images))
        assert span(whole, f"{name}_{figure}") == close(expected), figure


def test_the_drop_is_from_clean_images_of_the_same_classes_under_the_same_mask(whole):
    for cell, name, among in (("imagenet-a", "a", AMONG_A), ("imagenet-r", "r", AMONG_R)):
        same = [p for p in images_of("clean") if p.label in among[1]]
        assert len(same) == 4
        clean, there = by_hand(same, among)["top1"], by_hand(images_of(cell), among)["top1"]
        assert metric(whole, f"{name}_clean_top1") == close(clean)
        assert metric(whole, f"{name}_drop") == close(clean - there)
        clean_right, right = (
            [said(p.colour, among)[0] == p.label for p in listed]
            for listed in (same, images_of(cell))
        )
        order = np.random.default_rng(20190329).permutation(1000)  # lest the two draw alike
        drops = resampled(clean_right) - resampled(right)[order]
        assert span(whole, f"{name}_drop") == close(list(np.percentile(drops, (2.5, 97.5))))
    assert metric(whole, "a_clean_top1") == 1
    assert span(whole, "a_clean_top1") == [1, 1], "all right leaves no doubt"
    assert 0 < metric(whole, "r_clean_top1") < 1


def test_the_reports_text_has_the_figures(report):
    below = [mean_of(name) for name in CORRUPTIONS]
    for name in (*CORRUPTIONS, *EXTRA):
        errors = [error(f"imagenet-c/{name}/{s}") for s in SEVERITIES]
        assert table_row(report, name) == [percent(e) for e in (*errors, sum(errors) / 5)]
    assert table_row(report, "mean error")[0] == percent(sum(below) / 15)
    assert table_row(report, "A")[0] == percent(by_hand(images_of("imagenet-a"), AMONG_A)["top1"])
    clean = percent(1 - error("clean"))
    headline = next(line for line in report.splitlines() if line.startswith(f"| {clean}"))
    assert headline.count("\\*") == 9, "none of these sets is whole"
    assert "falls short of the protocol" in report
    assert "| SK | V2 (matched frequency) | C-bar error |" in report


def test_whole_sets_are_not_marked(small, tmp_path, monkeypatch):
    """The sets are told to have four classes and eight images, so that they are whole."""
    classes = {
        True: {str(label): label for label in LABELS},
        False: {SYNSETS[label]: label for label in LABELS},
    }
    told = [
        replace(layout, images=8, classes=lambda own=classes[layout.key == "v2"]: own)
        for layout in LAYOUTS
    ]
    monkeypatch.setattr(sets, "LAYOUTS", told)
    write_cells(tmp_path, some_cells("clean", "imagenetv2-top-images"))
    ended = small()
    assert ended.code == 0, ended.err
    assert ended.results["notes"] == []
    text = (ended.folder / "report.md").read_text()
    assert "falls short" not in text
    assert "imagenet-a is not there" in ended.err


INCOMPLETE = [
    *(f"imagenet-c/{name}/{s}" for name in ("snow", "frost", "contrast") for s in SEVERITIES),
    *(f"imagenet-c/{name}/{s}" for name in EXTRA[:2] for s in SEVERITIES),
    *(f"imagenet-c-bar/{name}/{s}" for name in BAR[:2] for s in SEVERITIES),
    *("clean", "imagenetv2-top-images"),
]
GONE = ("imagenet-c/snow/3", f"imagenet-c/{EXTRA[1]}/5", f"imagenet-c-bar/{BAR[1]}/4")


@pytest.fixture(scope="module")
def incomplete(tmp_path_factory, model):
    """Corruptions and severities are missing, of frost/2 a class, and of contrast/4 an image."""
    cells = some_cells(*(name for name in INCOMPLETE if name not in GONE))
    for cell, kept in (("imagenet-c/frost/2", slice(6)), ("imagenet-c/contrast/4", slice(7))):
        cells[cell] = (cells[cell][0], cells[cell][1][kept])
    root = write_cells(tmp_path_factory.mktemp("incomplete"), cells)
    ended = command(
        root / "work", *SETTINGS, f"dataset.root={root}", f"ckpt={model}", "figures=true"
    )
    assert ended.code == 0, ended.err
    return ended, cells


def test_what_is_incomplete_counts_over_what_is_whole_and_says_so(incomplete):
    ended, cells = incomplete
    means = {}
    for name in ("frost", "contrast"):
        errors = [np.mean(wrong(cells[f"imagenet-c/{name}/{s}"][1])) for s in SEVERITIES]
        means[name] = float(np.mean(errors))
    assert metric(ended, "mean_error") == close(sum(means.values()) / 2)
    assert metric(ended, "mce") == close(sum(m / ALEXNET[c] for c, m in means.items()) / 2)
    clean = error("clean")
    relative = [(m - clean) / (ALEXNET[c] - 0.4348) for c, m in means.items()]
    assert metric(ended, "relative_mce") == close(sum(relative) / 2)
    assert metric(ended, "extra_error") == close(mean_of(EXTRA[0]))
    for figure in ("mce", "mean_error", "relative_mce"):
        text = remark(ended, figure)
        assert (
            f"over 2 of 15 corruptions: {', '.join(c for c in CORRUPTIONS if c in means)};" in text
        )
        assert "997 of 1000 class folders missing" in text
        assert "7 of 50,000 images" in text
    over = f"over 1 of 4 corruptions: {EXTRA[0]}"
    assert over in remark(ended, "extra_error")


def test_cells_of_different_images_have_no_interval(incomplete):
    ended, _ = incomplete
    found = ended.results["metrics"]
    for figure in ("mce", "mean_error", "relative_mce"):
        assert f"test/{figure}/low" not in found
    assert "test/extra_error/low" in found
    report = (ended.folder / "report.md").read_text()
    assert table_row(report, "mCE")[1] == "-"


def test_a_row_of_the_table_without_a_severity_has_no_mean(incomplete):
    ended, cells = incomplete
    report = (ended.folder / "report.md").read_text()
    for name, gap in (("snow", 2), (EXTRA[1], 4)):
        row = table_row(report, name)
        assert [i for i, entry in enumerate(row) if entry == "-"] == [gap, 5]
    assert table_row(report, "frost")[1] == percent(np.mean(wrong(cells["imagenet-c/frost/2"][1])))
    assert "fog" not in [line.split("|")[1].strip() for line in report.splitlines() if "|" in line]
    headline = next(
        line for line in report.splitlines() if line.startswith(f"| {percent(1 - error('clean'))}")
    )
    assert "%" in headline
    assert re.search(r"\| - \|", headline.replace("\\", "")), "A, R and Sketch are not there"
    assert headline.count("\\*") == 5


def test_sets_that_are_not_there_are_named_with_their_trees(incomplete):
    ended, _ = incomplete
    for expected in (
        "imagenet-a is not there, and is left out; it would be imagenet-a/n01498041/*.jpg",
        "imagenet-r is not there, and is left out; it would be imagenet-r/n01443537/*.jpg",
        "imagenet-sketch is not there",
        "imagenetv2-threshold0.7 is not there",
        "imagenet-c: 12 of 15 corruptions missing: gaussian_noise",
        "imagenet-c/snow: missing severities: 3",
        f"imagenet-c-bar/{BAR[1]}: missing severities: 4",
    ):
        assert expected in ended.err.replace("\n", " "), expected
    missing = table_row((ended.folder / "report.md").read_text(), "missing")[0]
    assert missing.startswith("imagenet-a, imagenet-r, imagenet-sketch, imagenetv2-matched")
    assert not [name for name in ended.results["metrics"] if name.startswith("test/a_")]


def test_an_incomplete_c_bar_is_marked_as_such(incomplete):
    ended, _ = incomplete
    text = remark(ended, "c_bar_error")
    assert f"over 1 of 10 corruptions: {BAR[0]};" in text


def test_a_remark_says_each_thing_once(whole):
    parts = remark(whole, "relative_mce").partition(": ")[2].split("; ")
    assert len(parts) == len(set(parts))


def test_nothing_at_all_or_no_folder_shows_every_tree(small, tmp_path):
    ended = small()
    refused(ended, "There is no set of images", "imagenet-c/gaussian_noise/1/n01440764/*.JPEG")
    ended = small(f"dataset.root={tmp_path / 'elsewhere'}")
    refused(ended, "elsewhere is not a folder", "imagenetv2-top-images-format-val/0/*.jpeg")
    (tmp_path / "imagenet-a" / SYNSETS[0]).mkdir(parents=True)
    ended = small()
    refused(ended, "imagenet-a has no image", SYNSETS[0], "200 class folders")


def odd_images(folder):
    """Images in modes and sizes of all kinds, of known classes: black is tench's, grey too."""
    tench, light = folder / SYNSETS[0], folder / SYNSETS[17]
    for own in (tench, light):
        own.mkdir(parents=True)
    dark, bright = COLOURS[0], COLOURS[17]
    Image.new("L", (50, 60), 40).save(tench / "grey.png")
    Image.new("LA", (50, 60), (40, 0)).save(tench / "grey_alpha.png")
    Image.new("RGBA", (50, 60), (*dark, 0)).save(tench / "clear.png")
    Image.new("1", (300, 300), 0).save(tench / "bit.png")
    Image.fromarray(np.full((60, 50), 40 * 257, np.uint16)).save(tench / "deep.png")
    palette = Image.new("P", (60, 50), 1)
    palette.putpalette([*bright, *dark])
    palette.save(tench / "palette.png")
    Image.new("RGB", (8, 8), bright).save(light / "tiny.png")
    Image.new("RGB", (2000, 40), bright).save(light / "wide.png")
    Image.new("CMYK", (70, 70), (40, 40, 40, 0)).save(light / "print.tif")
    Image.new("CMYK", (70, 70), (40, 40, 40, 0)).save(light / "print.JPEG", quality=95)
    Image.new("RGB", (70, 70), bright).save(light / "lossy.JPEG", quality=50)


def test_images_of_every_mode_and_size_are_classified(small, tmp_path):
    """The frame of a clean image is cut away, that of an image of ImageNet-C, of 224, is not."""
    odd_images(tmp_path / "val")
    framed = Image.new("RGB", (256, 256), COLOURS[17])
    framed.paste(COLOURS[0], (16, 16, 240, 240))
    framed.save(tmp_path / "val" / SYNSETS[0] / "framed.png")
    corrupted = framed.crop((16, 16, 240, 240))
    corrupted.paste(COLOURS[17], (0, 0, 224, 70))
    corrupted.paste(COLOURS[17], (0, 154, 224, 224))
    for severity in SEVERITIES:
        place = tmp_path / "imagenet-c/fog" / str(severity) / SYNSETS[0]
        place.mkdir(parents=True)
        corrupted.save(place / "x.png")
    ended = small(settings=AT_224)
    assert ended.code == 0, ended.err
    assert metric(ended, "clean_top1") == 1
    assert ended.results["facts"]["unreadable_samples"] == 0
    resized = small("dataset.recipe.resize_corrupted=true", settings=AT_224)
    assert resized.code == 0, resized.err
    for one, share in ((ended, 140 / 224), (resized, (140 - 2 * 14) / (224 - 2 * 14))):
        seen = [a + share * (b - a) for a, b in zip(COLOURS[0], COLOURS[17], strict=True)]
        with (one.folder / "cells.csv").open() as file:
            fog = [row for row in csv.DictReader(file) if row["corruption"] == "fog"]
        confidences = [float(row["value"]) for row in fog if row["figure"] == "confidence"]
        assert confidences == pytest.approx([said(seen)[1]] * 5, abs=5e-3), share


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    image = Image.new("P", (6, 5), 1)
    image.putpalette([*COLOURS[17], *COLOURS[0]])
    image.save(tmp_path / "x.png", transparency=bytes([255, 128]))
    assert (read_array(tmp_path / "x.png") == COLOURS[0]).all()


@pytest.fixture
def damaged(tmp_path):
    """An unreadable image of V2 and one of C, and two of Sketch that make the model say nan."""
    write_cells(tmp_path, some_cells("clean", "imagenetv2-top-images", "imagenet-sketch", *STEPS))
    whole = (tmp_path / "imagenet-c/brightness/2" / images_of("clean")[0].file).read_bytes()
    for place in (
        "imagenetv2-top-images-format-val/0/val_00000001.png",
        "imagenet-c/brightness/2/n01440764/val_00000000.png",
    ):
        (tmp_path / place).write_bytes(whole[:60] if "-c/" in place else b"no image")
    for number in (3, 4):
        image = images_of("imagenet-sketch")[number]
        write_figure(tmp_path / "imagenet-sketch" / image.file, WHITE)
    return tmp_path


def test_unreadable_images_are_skipped_and_noted(small, damaged):
    ended = small()
    assert ended.code == 0, ended.err
    kept = [p for n, p in enumerate(images_of("imagenetv2-top-images")) if n != 1]
    assert metric(ended, "v2_top_images_top1") == close(by_hand(kept)["top1"])
    assert "1 image could not be read" in remark(ended, "v2_top_images_top1")
    assert ended.results["facts"]["unreadable_samples"] == 2
    for name in ("0/val_00000001.png", "brightness/2/n01440764/val_00000000.png"):
        assert len(re.findall(f"skipped an unreadable sample: .*{name}", ended.err)) == 1
    errors = [error(cell) for cell in STEPS]
    errors[1] = float(np.mean(wrong(images_of(STEPS[1])[1:])))
    assert metric(ended, "mean_error") == close(float(np.mean(errors)))
    assert "1 image could not be read" in remark(ended, "mce")
    assert "test/mean_error/low" not in ended.results["metrics"]
    sketch = images_of("imagenet-sketch")
    right = [1 - w for n, w in enumerate(wrong(sketch)) if n not in (3, 4)]
    assert metric(ended, "sketch_top1") == close(sum(right) / len(sketch))
    certain = [said(p.colour)[1] for n, p in enumerate(sketch) if n not in (3, 4)]
    assert metric(ended, "sketch_confidence") == close(sum(certain) / len(sketch))
    assert "2 images without a prediction but NaN, which counts as wrong" in remark(
        ended, "sketch_top1"
    )


def test_an_unreadable_image_is_an_error_if_so_wished(small, damaged):
    ended = small("dataset.on_corrupt=error")
    refused(
        ended, "brightness/2/n01440764/val_00000000.png cannot be read", "dataset.on_corrupt=skip"
    )


def test_a_cell_without_a_readable_image_does_not_take_the_others_figures_away(small, tmp_path):
    frost = [f"imagenet-c/frost/{severity}" for severity in SEVERITIES]
    write_cells(tmp_path, some_cells("clean", *STEPS, *frost))
    for image in images_of(frost[0]):
        (tmp_path / frost[0] / image.file).write_bytes(b"no image")
    ended = small()
    refused(ended, "8 of 8 samples of imagenet-c/frost/1", "nothing is left", "max_unreadable=1")
    ended = small("dataset.max_unreadable=1")
    assert ended.code == 0, ended.err
    assert metric(ended, "mean_error") == close(mean_of("brightness"))
    assert "over 1 of 15 corruptions" in remark(ended, "mce")
    row = table_row((ended.folder / "report.md").read_text(), "frost")
    assert row[0] == row[5] == "-"


TEN = (*SYNSETS, 500, 501)
NAMES_OF_TEN = (*SYNSETS.values(), "n03042490", "n03045698")


@pytest.fixture
def ten(tmp_path):
    """A model of ten outputs, in an order of its own, and the file that names them."""
    outputs = TEN[::-1]
    (tmp_path / "ten.txt").write_text("\n".join(NAMES_OF_TEN[::-1]) + "\n")
    return write_model(tmp_path / "ten.pt", outputs=outputs), tmp_path / "ten.txt"


def test_a_model_of_other_classes_needs_their_names(small, ten, tmp_path):
    file, names = ten
    write_cells(tmp_path, some_cells("clean", "imagenet-a", *STEPS))
    refused(small(ckpt=file), "ten.pt was trained on 10 classes", "dataset.classes=<file>")
    ended = small(f"dataset.classes={names}", ckpt=file)
    assert ended.code == 0, ended.err
    coloured = set(SYNSETS)
    for figure, value in by_hand(images_of("clean"), (10, coloured)).items():
        assert metric(ended, f"clean_{figure}") == close(value), figure
    a = images_of("imagenet-a")
    assert metric(ended, "a_top1") == close(by_hand(a, (4, IN_A))["top1"])
    assert metric(ended, "a_confidence") == close(by_hand(a, (4, IN_A))["confidence"])
    assert metric(ended, "a_top1_unmasked") == close(by_hand(a, (10, coloured))["top1"])
    assert metric(ended, "mean_error") == close(mean_of("brightness"))


def test_images_of_classes_that_a_model_has_not_are_left_out_and_noted(small, tmp_path):
    write_cells(tmp_path, some_cells("clean", "imagenetv2-top-images"))
    file = write_model(tmp_path / "few.pt", {k: COLOURS[k] for k in (1, 6, 15)}, outputs=(1, 6, 15))
    (tmp_path / "few.txt").write_text("\n".join(SYNSETS[k] for k in (1, 6, 15)))
    ended = small(f"dataset.classes={tmp_path / 'few.txt'}", ckpt=file)
    assert ended.code == 0, ended.err
    kept = [p for p in images_of("clean") if p.label]
    assert metric(ended, "clean_top1") == close(by_hand(kept, (3, {1, 6, 15}))["top1"])
    assert re.search(r"\b2 (images|images)\b", remark(ended, "clean_top1"))


def test_a_set_of_which_a_model_has_no_class_gives_no_figure(small, tmp_path):
    write_cells(tmp_path, some_cells("clean", "imagenet-a"))
    file = write_model(tmp_path / "few.pt", {k: COLOURS[k] for k in (0, 1)}, outputs=(0, 1))
    (tmp_path / "few.txt").write_text(f"{SYNSETS[0]}\n{SYNSETS[1]}\n")
    ended = small(f"dataset.classes={tmp_path / 'few.txt'}", ckpt=file)
    assert ended.code == 0, ended.err
    assert ended.results["metrics"].get("test/a_top1") is None


def test_files_of_classes_that_cannot_be(small, ten, tmp_path):
    write_cells(tmp_path, some_cells("clean"))
    file, names = ten
    for text, part in (
        ("n01440764\nn99999999\n", "names no synsets of ImageNet-1k: n99999999"),
        ("n01440764\nn01443537\nn01440764\n", "names synsets twice: n01440764"),
        ("\n", "is empty"),
    ):
        names.write_text(text)
        refused(small(f"dataset.classes={names}", ckpt=file), str(names), part, "one a line")
    names.write_bytes(b"\xff\xfe\x00")
    refused(small(f"dataset.classes={names}", ckpt=file), "cannot be read")
    refused(small(f"dataset.classes={tmp_path}/none.txt", ckpt=file), "none.txt cannot be read")


def first_of_each_class(images):
    """One image per class: that whose name has the least SHA-256."""
    digests = sorted(images, key=lambda p: hashlib.sha256(p.file.encode()).digest())
    return list({p.label: p for p in reversed(digests)}.values())


def test_a_limit_takes_the_same_of_all_classes_and_two_models_go_as_one_each(
    small, model, other_model, tmp_path
):
    turned, file = other_model
    used = some_cells("clean", "imagenet-sketch", *STEPS)
    write_cells(tmp_path, used)
    both = small("limit=4", ckpt=f"[{model},{file}]")
    assert both.code == 0, both.err
    metrics = both.results["metrics"]
    for name, colours in (("mistaken", COLOURS), ("turned", turned)):
        kept = {cell: first_of_each_class(images) for cell, (_, images) in used.items()}
        for cell, own in (("clean", "clean"), ("imagenet-sketch", "sketch")):
            for figure, value in by_hand(kept[cell], colours=colours).items():
                assert metrics[f"{name}/{own}_{figure}"] == close(value), (name, cell, figure)
        errors = np.array([wrong(kept[cell], colours) for cell in STEPS])
        assert metrics[f"{name}/mean_error"] == close(errors.mean())
        order = np.argsort([p.file for p in kept[STEPS[0]]])
        interval = mean_interval(errors.mean(0)[order])
        found = [metrics[f"{name}/mean_error/{end}"] for end in ("low", "high")]
        assert found == close(interval), "the cells hold the same images"
    with (both.folder / "cells.csv").open() as table:
        assert {row["images"] for row in csv.DictReader(table)} == {"4"}
    said_of = "On a subset: 4 images per set, evenly of all classes."
    report = (both.folder / "report.md").read_text()
    assert report.count(said_of) >= 4, "headline, figures, and a table of cells per model"
    for name, checkpoint in (("mistaken", model), ("turned", file)):
        alone = small("limit=4", ckpt=checkpoint).results["metrics"]
        assert {k.removeprefix("test/"): v for k, v in alone.items()} == {
            k.removeprefix(f"{name}/"): v for k, v in metrics.items() if k.startswith(f"{name}/")
        }
