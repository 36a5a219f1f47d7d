"""Exact tables of the learning-rate schedules: a wrong rate is silent otherwise."""

import math

import pytest

from tasks.errors import SettingError
from tasks.training.schedule import constant, cosine, polynomial, schedule, warmup_steps


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


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(SettingError, match=r"warmup_epochs.*max_epochs"):
        schedule("cosine", total=10, warmup=11, floor=0.0, power=1.0, start=0.0)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(SettingError, match="choose cosine, polynomial or constant"):
        schedule("linear", total=10, warmup=1, floor=0.0, power=1.0, start=0.0)
