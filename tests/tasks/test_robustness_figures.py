"""The images of a robustness report: cells, curves, bars and strips, with gaps and odd names."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from tasks.reporting.drawing import COLOURS, DPI, new_figure
from tasks.reporting.page import ReportFigure
from tasks.reporting.texts import fitted, text_width
from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, GROUPS, SEVERITIES
from tasks.robustness.figures import baseline_bars as bars_module
from tasks.robustness.figures import heatmap, severity_curves, strip
from tasks.robustness.figures.baseline_bars import BASELINE, baseline_bars, difference_bars
from tasks.robustness.figures.heatmap import severity_heat_map
from tasks.robustness.figures.strip import Shown, strip_figure
from tasks.robustness.figures.values import by_severity, group_spans, has_figure
from tasks.robustness.scoring.summary import ALEXNET, ALEXNET_EXTRA

ODD = "$odd_{$ \u043c name " + "long " * 20
GREY = to_rgba("#d5d9df")


def values_of(corruptions=CORRUPTIONS, base=0.2, without=()):
    """Errors that grow by a tenth with each severity, and a little with each corruption."""
    return {
        (name, level): base + 0.1 * level + 0.01 * i
        for i, name in enumerate(corruptions)
        for level in SEVERITIES
        if (name, level) not in without
    }


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, in order."""
    figures = []

    def keep(name, figure, alt, caption=""):
        figures.append(figure)
        return ReportFigure(name, figure, alt, caption)

    for module in (heatmap, severity_curves, bars_module, strip):
        monkeypatch.setattr(module, "ReportFigure", keep)
    return figures


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def legend_of(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_missing_cells_are_nan_and_groups_are_stretches():
    values = {("fog", 1): 0.5, ("fog", 2): math.nan}
    fog, snow = by_severity(values, ["fog", "snow"])
    assert fog[0] == 50
    assert np.isnan(fog[1:]).all()
    assert np.isnan(snow).all()
    assert has_figure(values, "fog")
    assert not has_figure({("fog", 2): math.nan}, "fog")
    spans = group_spans(["snow", "fog", "contrast", "spatter", "unknown"])
    assert spans == [("weather", 0, 2), ("digital", 2, 3), ("extra", 3, 5)]
    assert [group for group, _, _ in group_spans(CORRUPTIONS)] == list(GROUPS)


def test_heat_map_has_numbers_means_and_groups(drawn):
    image = severity_heat_map(values_of(), CORRUPTIONS, "error", "a model")
    (axes,) = drawn[0].axes
    texts = texts_of(axes)
    assert texts[:6] == ["30.0", "40.0", "50.0", "60.0", "70.0", "50.0"]
    assert texts[-4:] == list(GROUPS)
    assert axes.get_yticklabels()[-1].get_text() == "jpeg compression"
    assert [label.get_text() for label in axes.get_xticklabels()] == [*"12345", "mean"]
    assert drawn[0].get_suptitle() == "error in %: a model"
    assert "Grey" not in image.caption
    assert image.name == "severity_heat_map"


def test_a_missing_cell_is_grey_and_so_is_its_mean(drawn):
    values = {**values_of(["fog", "snow"], without=[("fog", 3)]), ("snow", 5): math.nan}
    figure = severity_heat_map(values, ["snow", "fog"], "error", ODD)
    (image,) = drawn[0].axes[0].images
    colours = image.to_rgba(image.get_array())
    grey = np.isclose(colours, GREY, atol=1e-3).all(-1)
    assert np.argwhere(grey).tolist() == [[0, 4], [0, 5], [1, 2], [1, 5]]
    assert len(texts_of(drawn[0].axes[0])) == 8 + 1  # numbers and one group
    assert "Grey cells" in figure.caption
    assert figure.size[0] == pytest.approx(5.8 * DPI, abs=1)


@pytest.mark.parametrize("worse", ["high", "low"])
def test_darker_is_worse(drawn, worse):
    severity_heat_map(values_of(), CORRUPTIONS, "figure", "model", worse)
    (image,) = drawn[0].axes[0].images
    brightness = image.to_rgba(image.get_array())[..., :3].sum(-1)
    steps = np.diff(brightness[:, : len(SEVERITIES)], axis=1)
    assert (steps < 0).all() if worse == "high" else (steps > 0).all()


def test_colours_may_be_shared_and_small_differences_stay_small(drawn):
    severity_heat_map(values_of(), CORRUPTIONS, "error", "model", limits=(0, 1))
    severity_heat_map({("fog", 1): 0.5, ("fog", 2): 0.51}, ["fog"], "error", "model")
    shared, near = (figure.axes[0].images[0].get_array() for figure in drawn)
    assert shared[0, 0] == pytest.approx(0.3)
    assert near[0, 1] - near[0, 0] == pytest.approx(0.1)


@pytest.mark.parametrize("corruptions", [["fog"], CORRUPTIONS, (*CORRUPTIONS, *EXTRA)])
@pytest.mark.parametrize("full", [True, False])
def test_heat_maps_of_any_height_are_drawn_with_and_without_figures(corruptions, full):
    values = values_of(corruptions) if full else {}
    width, height = severity_heat_map(values, corruptions, "error", "model").size
    assert width == 928
    assert 150 < height < 1100


def test_curves_of_one_model_name_each_corruption_and_begin_at_the_clean_figure(drawn):
    values = values_of(without=[("fog", 3)])
    image = severity_curves.severity_curves({"model": values}, {"model": 0.1}, "error")
    panels = drawn[0].axes
    assert [axes.get_title(loc="left") for axes in panels] == list(GROUPS)
    assert [texts_of(axes) for axes in panels] == [
        [name.replace("_", " ") for name in names] for names in GROUPS.values()
    ]
    assert panels[0].lines[0].get_ydata() == pytest.approx([10, 30, 40, 50, 60, 70])
    gap = np.isnan(panels[2].lines[2].get_ydata())
    assert gap.tolist() == [False, False, False, True, False, False]
    assert not drawn[0].legends
    assert "clean" in image.caption
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_curves_of_several_models_are_means_where_all_corruptions_are_there(drawn):
    models = {
        "one": values_of(),
        "two": values_of(base=0.3, without=[("snow", 5)]),
        ODD: values_of(base=0.1, without=[("zoom_blur", level) for level in SEVERITIES]),
    }
    image = severity_curves.severity_curves(models, {"one": 0.1, "two": 0.2}, "error")
    noise, blur, weather, _ = drawn[0].axes
    assert noise.lines[0].get_ydata() == pytest.approx([10, 31, 41, 51, 61, 71])
    assert np.isnan(noise.lines[2].get_ydata()).tolist() == [True, *[False] * 5]
    assert np.isnan(blur.lines[2].get_ydata()).all()
    assert np.isnan(weather.lines[1].get_ydata()).tolist() == [*[False] * 5, True]
    assert legend_of(drawn[0])[:2] == ["one", "two"]
    assert "begin" not in image.caption  # of one model it is unknown


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_extra_corruptions_have_a_panel_only_if_they_are_there(drawn, count):
    for corruptions in (CORRUPTIONS, (*CORRUPTIONS, "spatter")):
        models = {f"model {i}": values_of(corruptions, 0.01 * i) for i in range(count)}
        image = severity_curves.severity_curves(models, {}, "error")
        assert max(image.size) < 1700
    titles = [[axes.get_title(loc="left") for axes in figure.axes] for figure in drawn]
    assert titles == [list(GROUPS), [*GROUPS, "extra: 1 of 4", ""]]
    styles = {(x.get_color(), x.get_linestyle()) for x in drawn[0].axes[0].lines}
    assert len(styles) == (3 if count == 1 else count)


def test_curves_say_where_there_are_no_figures(drawn):
    severity_curves.severity_curves({"model": values_of(["fog"])}, {"model": 0.1}, "error")
    severity_curves.severity_curves({"one": {}, "two": {}}, {}, "error")
    some, none = ([texts_of(axes) for axes in figure.axes] for figure in drawn)
    assert some == [["fog"]]  # groups without a figure are left out
    assert none == [["no figures"]] * 4


def test_labels_of_lines_lie_apart_in_their_order():
    heights = [0.5, 0.49, 0.9, 0.51, 0.5]
    moved = severity_curves._apart(heights)
    assert np.diff(sorted(moved)).min() > 0.9 * severity_curves._LABEL_GAP
    assert np.argsort(moved, kind="stable").tolist() == np.argsort(heights, kind="stable").tolist()
    assert severity_curves._apart([0.9, 0.1]) == [0.9, 0.1]
    assert severity_curves._apart([]) == []


def lengths(container):
    return [bar.get_width() for bar in container]


def test_bars_stand_beside_alexnet_with_the_known_intervals(drawn):
    errors = {"model": {"fog": 0.5, "snow": 0.4, "spatter": math.nan}}
    intervals = {"model": {"fog": (0.45, 0.55)}}
    image = baseline_bars(errors, intervals, ALEXNET)
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["snow", "fog"]
    baseline, model, interval = axes.containers
    assert lengths(baseline) == pytest.approx([86.6816, 81.9324])
    assert lengths(model) == [40, 50]
    assert interval.has_xerr
    assert model[0].get_facecolor() == to_rgba(COLOURS[0])
    assert legend_of(drawn[0]) == [BASELINE, "model"]
    assert "intervals" in image.caption
    assert "intervals" not in baseline_bars(errors, {}, ALEXNET).caption


@pytest.mark.parametrize("baseline", [None, {**ALEXNET, **ALEXNET_EXTRA}])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_bars_are_drawn_for_any_number_of_models(drawn, baseline, count):
    errors = {f"{i} {ODD}": dict.fromkeys((*CORRUPTIONS, *EXTRA), 0.3) for i in range(count)}
    errors[f"0 {ODD}"].pop("fog")
    image = baseline_bars(errors, {}, baseline)
    assert image.size[0] == 1120
    assert image.size[1] < 4000
    numbered = count + (baseline is not None) <= 4
    assert bool(texts_of(drawn[0].axes[0])) == numbered
    assert len(legend_of(drawn[0])) == count + (baseline is not None)
    assert texts_of(drawn[0].axes[0]).count("no figure") == (numbered and count > 1)


def test_differences_are_coloured_by_what_their_interval_says(drawn):
    differences = {
        "fog": (-0.02, -0.03, -0.01),
        "snow": (0.02, 0.01, 0.03),
        "contrast": (0.01, -0.01, 0.03),
        "pixelate": (0.01, math.nan, math.nan),
        "frost": (math.nan, math.nan, math.nan),
    }
    image = difference_bars(differences, "other")
    (axes,) = drawn[0].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["snow", "fog", "contrast", "pixelate"]
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[:2] == [to_rgba(COLOURS[1]), to_rgba(COLOURS[0])]
    assert len(set(colours)) == 4
    minus = "\N{MINUS SIGN}"
    assert texts_of(axes) == [
        "+2.00  (+1.00 to +3.00)",
        f"{minus}2.00  ({minus}3.00 to {minus}1.00)",
        f"+1.00  ({minus}1.00 to +3.00)",
        "+1.00",
    ]
    assert legend_of(drawn[0])[-1] == "no interval"
    assert "Left of zero other errs less" in image.caption


def test_differences_without_gaps_need_no_remark_on_intervals(drawn):
    difference_bars(dict.fromkeys(CORRUPTIONS, (-1e-9, -1e-9, 1e-9)), ODD)
    assert "no interval" not in legend_of(drawn[0])
    assert texts_of(drawn[0].axes[0])[0] == "0.00  (0.00 to 0.00)"


def test_bars_are_drawn_without_any_figure(drawn):
    baseline_bars({"model": {}}, {}, ALEXNET)
    difference_bars({}, "other")
    assert [texts_of(figure.axes[0]) for figure in drawn] == [["no figures"]] * 2


def panel(height=30, width=40, caption="cat 93%", wrong=False):
    return Shown(np.full((height, width, 3), 128, np.uint8), "fog", caption, wrong)


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 2), (2, 2), (7, 7), (8, 4), (16, 6), (20, 7), (21, 7)]
)
def test_panels_stand_in_lines_of_about_equal_length(count, columns):
    width, height = strip_figure([[panel()] * count], [""]).size
    assert width == pytest.approx(DPI * (columns * 1.5 - 0.1 + 0.16), abs=1)
    assert height < 900


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (2000, 1500), (8, 2000), (2000, 8)])
def test_images_of_any_size_fill_their_panel_and_keep_their_shape(drawn, size):
    strip_figure([[panel(*size)]], [ODD])
    (image,) = drawn[0].axes[0].images
    left, right, low, high = image.get_extent()
    room = strip._PANEL / np.clip(size[1] / size[0], strip._STEEPEST, strip._FLATTEST)
    assert right - left == pytest.approx(strip._PANEL) or low - high == pytest.approx(room)
    if max(size) / min(size) < 3:
        assert (right - left) / (low - high) == pytest.approx(size[1] / size[0])
    kept = image.get_array().shape[:2]
    assert kept == size if max(size) < 200 else max(kept) <= DPI * strip._PANEL / strip._STEEPEST
    assert image.get_interpolation() == "nearest"


def test_wrong_predictions_are_marked_and_long_names_keep_their_confidence(drawn):
    row = [panel(), panel(caption="dog 7%", wrong=True), panel(caption=f"{ODD} 88%", wrong=True)]
    image = strip_figure([row, row[:1]], [f"truth: {ODD}", ""], "All at severity 3.")
    (axes,) = drawn[0].axes
    truth, _, right, _, wrong, _, long, *_ = axes.texts
    assert right.get_text() == "cat 93%"
    assert wrong.get_text() == "\N{BALLOT X} dog 7%"
    assert wrong.get_color() == COLOURS[1] != right.get_color()
    assert long.get_text().startswith("\N{BALLOT X} $odd_{$ \u043c")
    assert long.get_text().endswith("… 88%")
    assert truth.get_text().endswith("…")
    assert len(axes.patches) == 4 + 2  # a ground each, a frame around the wrong ones
    assert image.caption.startswith("All at severity 3. A wrong prediction is orange")


@pytest.mark.parametrize("text", ["short", ODD, "W" * 300, "\u4e2d" * 90, f"{'W' * 90} 12%", " "])
def test_texts_are_cut_to_their_width(text):
    axes = new_figure(1, 1, 3, 3)[1][0, 0]
    cut = fitted(axes, text, 1.4, 7.5)
    assert text_width(axes, cut, 7.5) <= 1.4
    assert cut == "short" or not text.strip() or text_width(axes, cut, 7.5) > 1.2
    assert cut.endswith(" 12%") == text.endswith(" 12%")
    assert not axes.texts
