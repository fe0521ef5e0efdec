"""The one way in which this book writes a number: tables, captions, verdicts and sentences all use these functions.

Small and large numbers are written with a power of ten (``2.3 × 10⁻⁵``), others plainly, with a thin space between
groups of thousands (``75 100``). A mean has as many digits as its spread allows (``58.74 ± 0.04``). No space in a
number lets a line break.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Values = Sequence[float | int] | np.ndarray

SPACE = "\N{NO-BREAK SPACE}"
THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
UNDEFINED = "–"

# Plain notation reaches from a thousandth to below a hundred thousand.
_SMALLEST, _LARGEST = -3, 5
# A spread below this share of the mean is the rounding of its sum.
_ROUNDING = 1e-12
_MOST_DIGITS = 6
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | int, digits: int = 2) -> str:
    """``value`` with so many significant digits; a whole number below 10⁵, given as an ``int``, with all its digits.

    Zero is ``0``, an infinite value ``∞``, an undefined one a dash.
    """
    if isinstance(value, int | np.integer):
        return _plain(value, 0)
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    power = _power(value, digits)
    if _SMALLEST <= power < _LARGEST:
        return _plain(value, digits - 1 - power)
    return f"{_plain(value / 10.0**power, digits - 1)}{_times(power)}"


def setting(value: float | int) -> str:
    """A number that somebody chose, with the digits it was given: ``0.004``, ``10⁻⁴``, ``3 × 10⁻⁵``; three at most."""
    if isinstance(value, int | np.integer) or value == 0 or not math.isfinite(value):
        return number(value)
    mantissa, _, power = f"{value:.2e}".partition("e")
    mantissa, power = mantissa.rstrip("0").rstrip("."), int(power)
    if mantissa == "1" and power < _SMALLEST:
        return f"10{str(power).translate(_SUPERSCRIPTS)}"
    return number(float(value), len(mantissa.replace(".", "").lstrip("-")))


def spread(values: Values, digits: int = 3) -> str:
    """Mean ± standard deviation over seeds, such as ``58.74 ± 0.04`` or ``(1.3 ± 0.4) × 10⁻⁵``.

    The standard deviation has one significant digit, or two where they are 35 at most (the Particle Data Group's rule):
    rounding then changes it little, and no digit stands for noise alone. The mean ends where it ends.

    Args:
        digits: the mean's significant digits where there is one value alone, or no spread.
    """
    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    if len(values) < 2 or not math.isfinite(mean):
        return number(mean, digits)
    deviation = float(values.std(ddof=1))
    if deviation <= _ROUNDING * abs(mean):
        return f"{_whole_or(mean, digits)}{SPACE}±{SPACE}0"
    last = _last_place(deviation)
    power = max(_power(mean, 1) if mean else last, _power(deviation, 1))
    if power - last >= _MOST_DIGITS:
        return f"{number(mean, digits)}{SPACE}±{SPACE}{number(deviation, 1)}"
    if _SMALLEST <= power < _LARGEST:
        return f"{_plain(mean, -last)}{SPACE}±{SPACE}{_plain(deviation, -last)}"
    scaled = (_plain(part / 10.0**power, power - last) for part in (mean, deviation))
    return f"({f'{SPACE}±{SPACE}'.join(scaled)}){_times(power)}"


def percent(shares: Values, digits: int = 3) -> str:
    """:func:`spread` of shares between 0 and 1, in per cent and without the sign."""
    return spread(100 * np.asarray(shares, dtype=float), digits)


def share(value: float | int, digits: int = 2) -> str:
    """One share between 0 and 1 in per cent, with the sign, such as ``33 %``."""
    return f"{number(100.0 * value, max(digits, 3 if value >= 0.9995 else digits))}{SPACE}%"


def interval(bounds: tuple[float | int, float | int], digits: int = 2) -> str:
    """An interval, such as ``[230, 1000]`` or ``[0.30, 1.20] × 10⁻⁴``; a dash where it is not defined.

    Args:
        digits: each bound's significant digits, at least; it has more where the bounds would look alike.
    """
    low, high = bounds
    if math.isnan(low) or math.isnan(high):
        return UNDEFINED
    low, high = float(low), float(high)
    powers = [_power(bound, digits) for bound in (low, high) if bound and math.isfinite(bound)]
    power = max(powers, default=0)
    # Bounds that both need a power of ten, and nearly the same one, share it.
    if not (powers and not _SMALLEST <= power < _LARGEST and min(powers) >= power - 2) or not math.isfinite(low + high):
        return f"[{_bound(low, high - low, digits)}, {_bound(high, high - low, digits)}]"
    low, high = low / 10.0**power, high / 10.0**power
    return f"[{_bound(low, high - low, digits)}, {_bound(high, high - low, digits)}]{_times(power)}"


def _bound(value: float, width: float, digits: int) -> str:
    """A bound with so many significant digits, or as many as the interval's width needs to be seen."""
    if value and math.isfinite(width) and width > _ROUNDING * abs(value):
        digits = min(max(digits, 1 + _power(value, digits) - _last_place(width)), _MOST_DIGITS)
    return number(value, digits)


def _whole_or(value: float, digits: int) -> str:
    return _plain(value, 0) if value == round(value) and abs(value) < 10**_LARGEST else number(value, digits)


def _power(value: float, digits: int) -> int:
    """The power of ten of ``value``'s first digit, after rounding to so many digits."""
    return int(f"{abs(value):.{digits - 1}e}".partition("e")[2])


def _last_place(deviation: float) -> int:
    """The power of ten of the last digit that a standard deviation is written with."""
    power = _power(deviation, 1)
    two, _, finer = f"{deviation:.1e}".partition("e")
    return int(finer) - 1 if float(two) <= 3.5 else power


def _plain(value: float | int, decimals: int) -> str:
    """A number without a power of ten, rounded to ``decimals`` (tens and hundreds where it is negative)."""
    rounded = round(value, decimals)
    text = f"{abs(rounded):.{max(decimals, 0)}f}"
    whole, _, fraction = text.partition(".")
    if len(whole) > 4:
        whole = f"{int(whole):,}".replace(",", THIN)
    text = f"{whole}.{fraction}" if fraction else whole
    return f"{MINUS}{text}" if rounded < 0 else text


def _times(power: int) -> str:
    return f"{SPACE}×{SPACE}10{str(power).translate(_SUPERSCRIPTS)}"
