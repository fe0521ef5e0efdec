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


def price_told(measured: Price, kept: Mapping[str, int]) -> list[str]:
    """What :func:`price` says of the library against the two ways of torchdiffeq, in sentences."""
    time = {way: measured.ratio(way)[0] for way in NAMES}
    mib = {way: f"{numbers.number(size / 2**20, 3)} MiB" for way, size in kept.items()}
    said = [f"The library's gradient takes {numbers.share(time['adjoint'] / time['state'])} of the listing's time."]
    if time["adjoint"] < time["parameter"] < time["state"]:
        saved = (time["state"] - time["parameter"]) / (time["state"] - time["adjoint"])
        said.append(
            f"Of the time that it saves, {numbers.share(saved)} is saved because θ is no longer state, which "
            "`adjoint_params` gives as well."
        )
    said.append(
        f"With its checkpoints the library keeps {mib['adjoint']}; the listing keeps {mib['state']}, `adjoint_params` "
        f"{mib['parameter']}."
    )
    return said


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
