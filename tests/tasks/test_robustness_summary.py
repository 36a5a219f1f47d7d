"""Figures of robustness against hand calculations."""

import math

import pytest

from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, SEVERITIES
from tasks.robustness.scoring.summary import (
    ALEXNET,
    ALEXNET_EXTRA,
    CLEAN_ALEXNET,
    corruption_summary,
    performance_summary,
)


def cells_of(errors):
    return {(name, s): value for name, value in errors.items() for s in SEVERITIES}


def test_the_tables_are_the_published_ones():
    assert (tuple(ALEXNET), tuple(ALEXNET_EXTRA)) == (CORRUPTIONS, EXTRA)
    assert sum(ALEXNET.values()) / 15 == pytest.approx(0.789, abs=5e-4)  # 78.9 % on average
    assert not set(ALEXNET) & set(ALEXNET_EXTRA)


def test_alexnet_itself_has_one_hundred_per_cent():
    found = corruption_summary(cells_of(ALEXNET | ALEXNET_EXTRA), CLEAN_ALEXNET)
    assert found.mce == pytest.approx(1)
    assert found.relative_mce == pytest.approx(1)
    assert found.mean_error == pytest.approx(sum(ALEXNET.values()) / 15)
    assert not found.missing
    assert set(found.errors) == set(ALEXNET)


def test_severities_are_averaged_before_the_division():
    cells = cells_of(dict.fromkeys(ALEXNET, 0.3))
    cells["fog", 5] = 0.8
    found = corruption_summary(cells, 0.2)
    fog = (4 * 0.3 + 0.8) / 5
    others = {name: 0.3 for name in ALEXNET if name != "fog"}
    wanted = [error / ALEXNET[name] for name, error in (others | {"fog": fog}).items()]
    assert found.mce == pytest.approx(sum(wanted) / 15)
    relative = [
        (error - 0.2) / (ALEXNET[name] - CLEAN_ALEXNET)
        for name, error in (others | {"fog": fog}).items()
    ]
    assert found.relative_mce == pytest.approx(sum(relative) / 15)
    assert math.isnan(corruption_summary(cells, None).relative_mce)


def test_a_missing_cell_is_named_and_its_corruption_left_out():
    cells = cells_of(dict.fromkeys(ALEXNET, 0.3))
    del cells["snow", 2]
    found = corruption_summary(cells, 0.2)
    assert found.missing == (("snow", 2),)
    assert "snow" not in found.errors
    assert found.mce == pytest.approx(sum(0.3 / v for k, v in ALEXNET.items() if k != "snow") / 14)
    assert math.isnan(corruption_summary({}, 0.2).mce)


def test_performance_under_corruption_of_dense_tasks():
    """Faster R-CNN R50 on COCO-C: 36.3 clean, 18.2 under corruption, 50.2 %."""
    found = performance_summary(cells_of(dict.fromkeys(ALEXNET, 0.182)), 0.363)
    assert found.mpc == pytest.approx(0.182)
    assert found.rpc == pytest.approx(0.502, abs=1e-3)
    some = performance_summary({("fog", s): 0.1 for s in SEVERITIES}, 0.2, ("fog", "snow"))
    assert some.mpc == pytest.approx(0.1)
    assert some.missing == tuple(("snow", s) for s in SEVERITIES)
    assert math.isnan(performance_summary({}, 0.0).rpc)
