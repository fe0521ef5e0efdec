"""What the page on augmentation asks of its runs, live or recorded, and of random flows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import fisher_exact
from torch import Tensor
from torch.nn import functional as F

from ncode.analysis.topology import overtakings
from ncode.fields.mlp import MLP
from ncode.models import NeuralODE
from ncode.reproduction.experiments.augmentation import plans
from ncode.reproduction.experiments.augmentation.train import FAILURES, Regressor, experiment, sample, surrounds
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.metrics.intervals import ratio_interval
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run
from ncode.reproduction.runs.recordings import RecordedRun
from ncode.solvers.options import Solver

ACCURATE = Solver(rtol=1e-7, atol=1e-7, max_nfe=100_000)
COARSE = Solver("euler", steps=1)


def by_augment(runs: Iterable[Run | RecordedRun]) -> dict[int, list]:
    """Runs by p, of the seeds that every p has, seeds in order."""
    found: dict[int, dict[int, Run | RecordedRun]] = {}
    for run in runs:
        found.setdefault(run.config.augment, {})[run.config.seed] = run
    whole = sorted(set.intersection(*(set(seeds) for seeds in found.values()))) if found else []
    return {p: [found[p][seed] for seed in whole] for p in sorted(found)}


def sweep(study: str, profile: str) -> dict[int, list[Run]]:
    """The runs of one study in a profile, by p."""
    return by_augment(experiment.run(config) for config in plans.configs(study, profile))


def looks(runs: Sequence, name: str) -> np.ndarray:
    """A series of evaluations over training: a row a seed, a column a look."""
    return np.array([recordings.history(run)["evaluations"][name] for run in runs], dtype=float)


def epochs(runs: Sequence) -> np.ndarray:
    """The epochs after which the looks of :func:`looks` were taken."""
    evaluated = np.array(recordings.history(runs[0])["evaluated"])
    return evaluated / evaluated[-1] * runs[0].config.epochs


def when(runs: Sequence, name: str, loss: float) -> np.ndarray:
    """For each seed, the series ``name`` at the first look at which the training loss is at most ``loss``; or NaN."""
    reached = looks(runs, "loss") <= loss
    values = np.take_along_axis(looks(runs, name), reached.argmax(1)[:, None], 1)[:, 0]
    return np.where(reached.any(1), values, np.nan)


def growth(runs: Sequence) -> np.ndarray:
    """For each seed, evaluations of a forward solve after training over those before it."""
    return metric(runs, "nfe") / metric(runs, "nfe_start")


def ratio(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the geometric mean of a / b, over the seeds where both are known."""
    known = np.isfinite(a) & np.isfinite(b)
    with np.errstate(divide="ignore"):
        return ratio_interval(a[known], b[known])


def outcomes(runs: Sequence) -> Counter:
    """How many trainings ended how: ``exceeded``, ``underflow``, ``non-finite`` or ``success``."""

    def outcome(run) -> str:
        return next((name for name in FAILURES.values() if run.metrics[name]), "success")

    return Counter(outcome(run) for run in runs)


class Kept(NamedTuple):
    """For each of some random fields, 1 where its accurate flow, and one step of Euler's method, keep the topology."""

    accurate: list[int]
    coarse: list[int]


def wild_field(dim: int, seed: int) -> MLP:
    """A random tanh network with large weights, in double precision."""
    torch.manual_seed(seed)
    field = MLP(dim, (32,)).double()
    with torch.no_grad():
        field.layers[1].weight.mul_(8.0)
    return field


@torch.no_grad()
def topology_kept(dim: int, fields: int, radius: float = 1.0) -> Kept:
    """Flows of random fields in one to three dimensions.

    On the line: 1 where 101 points keep their order at all of 21 times, and 0 elsewhere. Else: how often the image of
    the circle or sphere around 0 surrounds the image of 0.
    """
    line = torch.linspace(-2 * radius, 2 * radius, 101, dtype=torch.float64).unsqueeze(1)
    centre = torch.zeros(1, dim, dtype=torch.float64)

    def kept(seed: int, solver: Solver) -> int:
        flow = NeuralODE(wild_field(dim, seed), solver=solver)
        if dim == 1:
            # Between its steps a coarse method has no path worth looking at.
            t = torch.linspace(0, 1, 21) if solver.adaptive else torch.tensor([0.0, 1.0])
            return int(overtakings(flow.trajectory(line, t).x[..., 0]) == 0)
        return surrounds(flow, radius, centre)

    return Kept(*([kept(seed, solver) for seed in range(fields)] for solver in (ACCURATE, COARSE)))


@torch.no_grad()
def view(model: Regressor, x: Float[Tensor, "n d"], t: Sequence[float]) -> Float[Tensor, "time n 2"]:
    """Paths as a plane shows them best: along the readout's direction, and along the widest direction across it.

    In the plane itself that is a rotation of all there is; with added dimensions it is a projection.
    """
    path = model.flow.trajectory(x, torch.as_tensor(t, dtype=x.dtype)).x
    normal = F.normalize(model.readout.weight[0], dim=0)
    along = path @ normal
    across = path - along[..., None] * normal
    flat = across.reshape(-1, across.shape[-1])
    widest = torch.linalg.svd(flat - flat.mean(0), full_matrices=False).Vh[0]
    return torch.stack([along, across @ widest], dim=-1)


def order_bound(run) -> float:
    """The mean squared error on the run's points that no order-keeping map gets below: their targets' variance.

    Where targets fall as the points rise, the best that a non-decreasing function can do is a constant.
    """
    _, y = sample(run.config, 2 * run.config.seed)
    return float(y.double().var(correction=0))


def fails_more(failed: int, runs: int, others_failed: int, others: int, level: float = 0.05) -> bool | None:
    """Whether ``failed`` of ``runs`` is more than ``others_failed`` of ``others`` by Fisher's one-sided exact test.

    ``None`` where neither is: chance explains the counts, which decides nothing.
    """
    table = [[failed, runs - failed], [others_failed, others - others_failed]]
    more, fewer = (fisher_exact(table, alternative=side).pvalue < level for side in ("greater", "less"))
    return True if more else False if fewer else None


TOPOLOGIES = {1: 1, 2: 1, 3: 2}
"""By dimension, the divisor of the number of random fields: in space a field takes longer."""


def topologies(fields: int) -> dict[int, Kept]:
    """:func:`topology_kept` in one to three dimensions, for so many random fields."""
    return {dim: topology_kept(dim, fields // divisor) for dim, divisor in TOPOLOGIES.items()}
