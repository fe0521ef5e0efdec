"""Fits of the Van der Pol oscillator: the loss over μ, recovered starts, and the questions behind claim N7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ncode.reproduction.experiments import van_der_pol
from ncode.reproduction.experiments.van_der_pol.train import CLOSE, START, Config
from ncode.reproduction.metrics.comparison import metric

Fits = Mapping[tuple[float, str], Sequence]
"""Runs of N-CODE by horizon and way, ``plain`` or ``growing``; one a seed of the noise."""


def minima(curve: Float[Tensor, " n"]) -> int:
    """Local minima of a sampled curve that lie inside it."""
    return int(((curve[1:-1] < curve[:-2]) & (curve[1:-1] < curve[2:])).sum())


def slices(config: Config, mu: Float[Tensor, " n"], horizons: Sequence[float]) -> dict[float, Float[Tensor, " n"]]:
    """The loss over ``mu`` on the observations up to each of the horizons; one batch of solves gives them all."""
    loss = van_der_pol.landscape(config, mu)
    return {horizon: loss[:, round(horizon * config.per_unit) - 1] for horizon in horizons}


def is_monotone(record, tolerance: float = 1e-3) -> bool:
    """Whether a neural ODE's path falls or rises all the time, up to the solver's tolerance."""
    steps = np.diff(record.array("path")[:, 0])
    return bool((steps <= tolerance).all() or (steps >= -tolerance).all())


@torch.no_grad()
def solver_error(record, horizon: float, tolerance: float) -> float:
    """The worst start's global solver error at ``horizon``, for the μ that the run ended with."""
    mu = torch.tensor(record.array("mu"))
    model = van_der_pol.oscillator(mu, tolerance)
    model.horizon = horizon
    return model.solver_error(torch.full((len(mu), 1), START)).max().item()


def recovered(fits: Fits) -> dict[tuple[float, str], list[int]]:
    """How many starts of every seed ended near the true μ (:func:`~.train.is_close`)."""
    return {key: [int(count) for count in metric(runs, "recovered")] for key, runs in fits.items()}


def checks(nodes: Sequence, fits: Fits, starts: int) -> dict[str, bool]:
    """The questions that decide claim N7."""
    found, horizons = recovered(fits), sorted({horizon for horizon, _ in fits})
    seeds = len(next(iter(fits.values())))
    to = f"N-CODE recovers μ to {100 * CLOSE:g} % from every start"
    cases = {
        f"{to} at T = {horizons[0]:g}, noise seeds: {seeds}": (horizons[0], "plain"),
        f"{to} at T = {horizons[-1]:g} with a growing horizon, noise seeds: {seeds}": (horizons[-1], "growing"),
    }
    return {
        "NODE's path is monotone, on every seed": all(map(is_monotone, nodes)),
        "NODE is no better than the best monotone curve, on every seed": all(
            run.metrics["mse"] >= run.metrics["floor"] - 1e-3 for run in nodes
        ),
        **{name: all(count == starts for count in found[case]) for name, case in cases.items()},
    }
