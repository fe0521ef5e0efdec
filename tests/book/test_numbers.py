"""How the book writes numbers: examples first, then what holds for every number."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncode.reproduction.publishing.numbers import THIN, interval, number, percent, setting, share, spread
from tests.written import typed

VALUES = st.floats(1e-12, 1e12)
SIGNED = st.one_of(VALUES, VALUES.map(lambda value: -value))


def read(text: str) -> float:
    """The value of a number as the book writes it."""
    text = text.replace(THIN, "").replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", "")
    mantissa, _, power = text.partition("×10")
    return float(mantissa) * 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (0, "0"),
        (1234, "1234"),
        (123456, "123 456"),
        (8950.0, "9000"),
        (230.0, "230"),
        (2.3e6, "2.3 × 10⁶"),
        (0.0004, "4.0 × 10⁻⁴"),
        (-0.25, "-0.25"),
        (99999.0, "1.0 × 10⁵"),
        (math.inf, "∞"),
        (math.nan, "–"),
    ],
)
def test_a_number(value, expected):
    assert typed(number(value)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([58.70, 58.74, 58.78], "58.74 ± 0.04"),
        ([74_300.0, 75_141.0, 75_982.0], "75 100 ± 800"),
        ([9e-6, 1.3e-5, 1.7e-5], "(1.3 ± 0.4) × 10⁻⁵"),
        ([1.0, 3.0], "2.0 ± 1.4"),
        ([1.38, 1.38, 1.38], "1.38 ± 0"),
        ([100.0, 100.0], "100 ± 0"),
        ([0.0, 0.0], "0 ± 0"),
        ([-0.1, 0.1], "0.00 ± 0.14"),
        ([20.0], "20.0"),
    ],
)
def test_a_mean_ends_where_its_spread_ends(values, expected):
    assert typed(spread(values)) == expected


def test_shares_are_per_cent():
    assert typed(percent([0.58, 0.60])) == "59.0 ± 1.4"
    assert typed(share(1 / 3)) == "33 %"
    assert typed(share(1.0)) == "100 %"
    assert typed(share(0.0)) == "0 %"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.001, "0.001"),
        (1e-12, "10⁻¹²"),
        (3e-4, "3 × 10⁻⁴"),
        (0.01 / 3, "0.00333"),
        (0.05, "0.05"),
        (0.1, "0.1"),
        (2.0, "2"),
        (128, "128"),
    ],
)
def test_a_setting_has_the_digits_that_it_was_given(value, expected):
    assert typed(setting(value)) == expected


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((230.0, 1000.0), "[230, 1000]"),
        ((0.97, 1.2), "[0.97, 1.20]"),
        ((1.013, 1.041), "[1.013, 1.041]"),
        ((340.0, 15_000.0), "[340, 15 000]"),
        ((-7.85, 4.85), "[-7.8, 4.8]"),
        ((3.0e-5, 1.2e-4), "[0.30, 1.2] × 10⁻⁴"),
        ((4e-11, 4.2e8), "[4.0 × 10⁻¹¹, 4.2 × 10⁸]"),
        ((0.0, 0.0), "[0, 0]"),
        ((math.nan, math.nan), "–"),
    ],
)
def test_an_interval(bounds, expected):
    assert typed(interval(bounds)) == expected


@given(SIGNED, st.integers(1, 6))
def test_a_number_is_off_by_half_its_last_digit_at_most(value, digits):
    assert abs(read(number(value, digits)) - value) <= 0.5000001 * 10.0 ** (1 - digits) * abs(value)


@given(SIGNED)
def test_no_number_is_written_by_the_machine(value):
    assert not re.search(r"\de[+-]?\d| |-", number(value))


@given(st.lists(SIGNED, min_size=2, max_size=6))
def test_mean_and_spread_end_in_the_same_place_and_never_break(values):
    text = spread(values)
    assert not re.search(r"\de[+-]?\d|[ -]", text)
    assert text.count("±") == 1
    deviation, mean = np.std(values, ddof=1), abs(np.mean(values))
    if deviation > 1e-5 * mean:
        ends = re.findall(r"[\d.]+", text.replace(THIN, "").partition("×")[0])
        assert len({len(end.partition(".")[2]) for end in ends}) == 1, text


@given(SIGNED, SIGNED)
def test_an_interval_keeps_its_order(a, b):
    low, high = sorted((a, b))
    text = interval((low, high))
    inside, _, power = text.partition("]")
    left, right = inside.removeprefix("[").split(", ")
    assert read(left + power) <= read(right + power) if "×" not in inside else "[" in text
