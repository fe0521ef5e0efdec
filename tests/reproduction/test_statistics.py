"""Intervals, against values worked out by hand."""

import math

import numpy as np
import pytest

from ncode.reproduction.metrics.intervals import (
    difference_interval,
    every,
    interval,
    is_above,
    is_below,
    ratio_interval,
    seeds_needed,
)


def test_the_interval_is_students():
    # Three values with mean 2 and standard deviation 1; t(0.975, 2) = 4.302653.
    low, high = interval([1, 2, 3])
    assert low == pytest.approx(2 - 4.302653 / math.sqrt(3), rel=1e-6)
    assert high == pytest.approx(2 + 4.302653 / math.sqrt(3), rel=1e-6)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    bounds = [interval(generator.normal(3, 2, 5)) for _ in range(2000)]
    covered = np.mean([low <= 3 <= high for low, high in bounds])
    # Binomial standard deviation 0.005; four of them.
    assert abs(covered - 0.95) < 0.02


def test_pairing_removes_what_seeds_share():
    shared = np.array([10.0, 20, 30])
    low, high = difference_interval(shared + np.array([1.0, 1.1, 0.9]), shared)
    assert 0.7 < low < 1 < high < 1.3
    low, high = ratio_interval(shared * 2, shared)
    assert low == pytest.approx(2) == high


def test_one_seed_has_no_interval():
    assert np.isnan(interval([1.0])).all()


def test_seeds_needed_are_the_first_number_whose_interval_excludes_zero():
    # Mean 1 and standard deviation 2: t(0.975, n - 1)·2/√n falls below 1 at n = 18 (0.9946), not at 17 (1.0283).
    assert seeds_needed([-1, 1, 3], [0, 0, 0]) == 18
    # What is certain already needs no more than an interval does: 0.898 < 1 at n = 2.
    assert seeds_needed([1.0, 1.1, 0.9], [0, 0, 0]) == 2
    assert seeds_needed([5.0, 5.0], [4.0, 4.0]) == 2


def test_seeds_needed_do_not_exist_without_a_spread_or_a_difference():
    assert seeds_needed([1.0], [0.0]) is None
    assert seeds_needed([-1.0, 1.0], [0.0, 0.0]) is None
    assert seeds_needed([-1.0, 1.001], [0.0, 0.0], most=100) is None


@pytest.mark.parametrize(
    ("bounds", "above", "below"),
    [
        ((1.0, 2.0), True, False),
        ((-2.0, -1.0), False, True),
        ((-1.0, 1.0), None, None),
        ((0.0, 0.0), False, False),
        ((0.0, 1.0), None, None),
    ],
)
def test_an_interval_that_contains_zero_decides_nothing(bounds, above, below):
    assert is_above(bounds) is above
    assert is_below(bounds) is below
    assert is_above((float("nan"), float("nan"))) is None
    assert is_above((1.2, 2.0), 1.0) is True


def test_every_answer_is_yes_unless_one_is_not():
    assert every([True, True]) is True
    assert every([True, None]) is None
    assert every([True, None, False]) is False
