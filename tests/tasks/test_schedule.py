"""Exact tables of the learning-rate schedules: a wrong rate is silent otherwise."""

import math
from dataclasses import replace

import pytest
from optimization import SETTINGS

from tasks.engine.schedule import (
    constant,
    cosine,
    polynomial,
    schedule,
    stepwise,
    warmup_steps,
)
from tasks.errors import SettingError


def test_cosine_with_warmup_is_the_published_table():
    factor = cosine(total=8, warmup=4, floor=0.1)
    expected = [0.0, 1 / 3, 2 / 3, 1.0] + [
        0.1 + 0.45 * (1 + math.cos(math.pi * i / 4)) for i in range(4)
    ]
    assert [factor(step) for step in range(8)] == pytest.approx(expected, abs=1e-12)


def test_cosine_reaches_the_floor_and_stays_there():
    factor = cosine(total=10, warmup=0, floor=0.25)
    assert factor(0) == 1.0
    assert factor(10) == pytest.approx(0.25)
    assert factor(99) == pytest.approx(0.25)


def test_polynomial_is_the_published_one_of_segmentation():
    """The decay runs from step 0; the ramp from 1e-6 multiplies it, as in mmsegmentation 0.x."""
    factor = polynomial(total=160_000, warmup=1500, power=1.0, floor=0.0, start=1e-6)
    assert factor(0) == pytest.approx(1e-6)
    assert factor(750) == pytest.approx((1 - 750 / 160_000) * (1 - 0.5 * (1 - 1e-6)))
    assert factor(1500) == pytest.approx(1 - 1500 / 160_000)
    assert factor(80_000) == pytest.approx(0.5)
    assert factor(160_000) == 0.0
    assert polynomial(10, 0, power=2.0, floor=0.2, start=0.0)(5) == pytest.approx(0.2 + 0.8 * 0.25)


def test_constant_warms_up_and_stays():
    factor = constant(warmup=3)
    assert [factor(step) for step in range(5)] == [0.0, 0.5, 1.0, 1.0, 1.0]


def test_warmup_in_steps_wins_over_epochs():
    assert warmup_steps(epochs=2, steps=0, steps_per_epoch=10) == 20
    assert warmup_steps(epochs=2, steps=7, steps_per_epoch=10) == 7
    assert warmup_steps(epochs=0.5, steps=0, steps_per_epoch=3) == 2


def test_steps_are_the_published_ones_of_detection():
    """Warm-up of 500 steps from 1e-3, then 1, 0.1 and 0.01, as in mmdetection 2.x."""
    factor = stepwise(milestones=[27_000, 33_000], gamma=0.1, warmup=500, start=1e-3)
    assert factor(0) == pytest.approx(1e-3)
    assert factor(250) == pytest.approx(1 - 0.5 * (1 - 1e-3))
    assert [factor(step) for step in (500, 26_999)] == [1.0, 1.0]
    assert [factor(step) for step in (27_000, 32_999)] == pytest.approx([0.1, 0.1])
    assert factor(33_000) == pytest.approx(0.01)


def test_milestones_are_epochs():
    settings = replace(SETTINGS, schedule="steps", milestones=[2, 2.5], gamma=0.5, warmup_epochs=0)
    factor = schedule(settings, total=40, steps_per_epoch=10)
    assert [factor(step) for step in (19, 20, 24, 25, 39)] == [1.0, 0.5, 0.5, 0.25, 0.25]


def test_a_warmup_longer_than_the_run_is_refused():
    settings = replace(SETTINGS, warmup_steps=11)
    with pytest.raises(SettingError, match=r"warmup_epochs.*max_epochs"):
        schedule(settings, total=10, steps_per_epoch=1)


def test_an_unknown_schedule_is_refused():
    settings = replace(SETTINGS, schedule="linear")
    with pytest.raises(SettingError, match="choose one of cosine, constant, polynomial, steps"):
        schedule(settings, total=10, steps_per_epoch=1)
