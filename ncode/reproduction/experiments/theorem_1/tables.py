"""Theorem 1's and Appendix B's numbers as rows of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ncode.reproduction.experiments.theorem_1 import analysis
from ncode.reproduction.experiments.theorem_1.checks import RATES
from ncode.reproduction.experiments.theorem_1.figures import NAMES
from ncode.reproduction.experiments.theorem_1.price import Price
from ncode.reproduction.publishing import numbers

GROUPS = {
    "f": "f",
    "g": "g",
    "γ": "γ, by the boundary term",
    "ℓ": "w of ℓ, by the direct term",
    "x(0)": "x(0)",
}


def groups(records: Sequence, tolerances: Sequence[float]) -> list[list[str]]:
    """The checkpointed adjoint's error by what the gradient is taken of: medians over systems, by tolerance."""

    def row(name: str, label: str) -> list[str]:
        medians = np.median(analysis.errors(records, f"{name}:{{}}", tolerances), 0)
        return [label, *(numbers.number(float(error), 1) for error in medians)]

    return [row(name, label) for name, label in GROUPS.items()]


def contraction(plain: analysis.Contracted, default: analysis.Contracted) -> list[list[str]]:
    """Error and price of the plain adjoint, of the default, and of the default without given checkpoints."""
    cases = (("plain", plain, 0), ("default", default, 16), ("default, none given", default, 0))
    rows = []
    for rate in RATES:
        for name, found, count in cases:
            one = found[rate, count]
            error = numbers.number(one.error)
            rows.append([f"{rate:g}", name, error, *map(numbers.number, (one.nfe.forward, one.nfe.backward))])
    return rows


def price(measured: Price, kept: Mapping[str, int], wrong: Mapping[str, float]) -> list[list[str]]:
    """Time, memory, evaluations and error of every way to one gradient."""

    def row(way: str, name: str) -> list[str]:
        median, low, high = (numbers.number(value, 3) for value in measured.ratio(way))
        nfe = measured.nfe[way]
        return [
            name,
            f"{median} ({low} to {high})",
            numbers.number(kept[way] / 2**20, 3),
            f"{nfe.forward} + {nfe.backward}",
            numbers.number(wrong[way], 1),
        ]

    return [row(way, name) for way, name in NAMES.items()]
