"""The oscillator's numbers as rows of tables."""

from __future__ import annotations

from collections.abc import Sequence

from ncode.reproduction.experiments.van_der_pol.analysis import Fits, recovered
from ncode.reproduction.publishing import numbers


def monotone(nodes: Sequence, fit) -> list[list[str]]:
    """Every neural ODE's error beside the best monotone curve's, and that of ``fit`` on the first seed's data."""

    def row(i: int, run) -> list[str]:
        ours = numbers.number(fit.metrics["mse"]) if i == 0 else ""
        values = (run.metrics["mse"], run.metrics["floor"])
        return [str(run.config.seed), *(numbers.number(value, 3) for value in values), ours]

    return [row(i, run) for i, run in enumerate(nodes)]


def endings(fits: Fits, starts: int) -> list[list[str]]:
    """By horizon and way: recovered starts of every seed, where the first seed's starts end, and failed solves."""
    found = recovered(fits)
    return [
        [
            f"{horizon:g}",
            way,
            ", ".join(f"{count} of {starts}" for count in found[horizon, way]),
            ", ".join(numbers.number(float(mu), 3) for mu in runs[0].array("mu")),
            str(sum(len(run.history.failures) for run in runs)),
        ]
        for (horizon, way), runs in fits.items()
    ]
