"""The random models' numbers as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers

COLUMNS = ("model", "pairs that cross in x", "nearest approach in z", "two solvers differ by")
"""The headings of :func:`crossings`."""


def crossings(crossed: Mapping[str, tuple[int, float]], agreement: Mapping[str, float]) -> list[list[str]]:
    """By loop: pairs that change order in x, the nearest approach of any pair in z, and two solvers' difference."""
    return [
        [style.LABELS[loop], str(pairs), numbers.number(nearest), numbers.number(agreement[loop], 1)]
        for loop, (pairs, nearest) in crossed.items()
    ]
