"""What augmentation buys on toy problems (Augmented Neural ODEs, Sections 4 and 5.1): p = 0 against p > 0.

Three kinds of functions: g(±1) = ∓1 on the line; nested spheres and shells in d dimensions, whose points are mapped
to ±1 in turn; and random labels. All models have the same number of parameters, the one that the largest p has at the
paper's width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ncode.analysis import topology
from ncode.fields.mlp import MLP, TimedMLP
from ncode.models import AugmentedNeuralODE, Flow, NeuralODE
from ncode.reproduction.experiments import toy
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint
from ncode.solvers.errors import SolveError
from ncode.solvers.options import Solver
from ncode.training import Batches, History, fit

FAILURES = {"too many evaluations": "exceeded", "step size underflow": "underflow", "non-finite values": "non-finite"}
"""How a failed solve is counted; training that ends is a success."""

NOISE = 1e-6
"""Standard deviation of the points around ±1 of the function g."""


@dataclass(frozen=True)
class Config:
    """One run of one model.

    Attributes:
        task: ``"flip"``, g(±1) = ∓1; ``"shells"``; or ``"labels"``, points of a cube with random labels.
        dim: d, the dimension of the data.
        augment: p, the number of zeros added; 0 for the plain neural ODE.
        seed: of data, initialisation and batches.
        epochs: of training.
        shells: inner and outer radius of each shell, from the inside; mapped to -1 and +1 in turn.
        points: training points in each shell; their sum elsewhere.
        batch: points a step.
        hidden: width of the field's two hidden layers at p = ``matched``.
        matched: every other p gets the width that makes its number of parameters nearly the same.
        timed: whether the field depends on time.
        learning_rate: Adam's.
        tolerance: rtol and atol of dopri5.
        norm: see :class:`~ncode.solvers.options.Solver`.
        max_nfe: evaluations after which a solve has failed.
        stop: end training at the first solve that fails.
        looks: how often during training all points are looked at, evenly spaced.
    """

    task: str
    dim: int
    augment: int
    seed: int
    epochs: int = 12
    shells: tuple[tuple[float, float], ...] = ((0.0, 0.5), (1.0, 1.5))
    points: tuple[int, ...] = (1000, 2000)
    batch: int = 64
    hidden: int = 32
    matched: int = 5
    timed: bool = True
    learning_rate: float = 1e-3
    tolerance: float = 1e-3
    norm: str = "mean"
    max_nfe: int = 6000
    stop: bool = False
    looks: int = 12


class Regressor(nn.Module):
    """The flow on [x, 0], and a linear readout of all its d + p dimensions, as in the paper's code.

    Args:
        flow: on the augmented state.
        dim: d + p.
        readout: without one the first dimension of x(T) is the output: on the line a readout with the weight -1 would
            flip the order by itself.
    """

    def __init__(self, flow: Flow, dim: int, readout: bool):
        super().__init__()
        self.flow = flow
        self.readout = nn.Linear(dim, 1) if readout else None

    def forward(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        end = self.flow(x)
        return end[:, 0] if self.readout is None else self.readout(end).squeeze(1)


def build(config: Config) -> Regressor:
    """The model, initialised by the configuration's seed."""
    torch.manual_seed(config.seed)
    dim = config.dim + config.augment
    field = _field(config, dim, width(config))
    tolerance = config.tolerance
    solver = Solver(rtol=tolerance, atol=tolerance, norm=config.norm, max_nfe=config.max_nfe)
    if config.augment:
        flow: Flow = AugmentedNeuralODE(field, augment=config.augment, project=False, solver=solver)
    else:
        flow = NeuralODE(field, solver=solver)
    return Regressor(flow, dim, readout=config.task != "flip")


def width(config: Config) -> int:
    """The width of both hidden layers that gives the field the parameters of the one with p = ``matched``."""

    def count(augment: int, hidden: int) -> int:
        n = config.dim + augment
        return (n + config.timed + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * n

    goal = count(config.matched, config.hidden)
    return min(range(1, 1 + math.isqrt(goal)), key=lambda k: abs(count(config.augment, k) - goal))


def _field(config: Config, dim: int, hidden: int) -> MLP:
    kind = TimedMLP if config.timed else MLP
    return kind(dim, (hidden, hidden), activation="relu")


def sample(config: Config, seed: int, factor: int = 1) -> tuple[Tensor, Tensor]:
    """``factor`` times the configuration's points, and their targets ±1.

    The radii of a shell's points are what the paper's code draws, a + (b - a) u^(1/d): uniform over a ball.
    """
    generator = np.random.default_rng(seed)
    counts = [factor * count for count in config.points]
    if config.task == "flip":
        side = generator.choice([-1.0, 1.0], sum(counts))
        x, y = side + NOISE * generator.standard_normal(len(side)), -side
        x = x[:, None]
    elif config.task == "labels":
        x = generator.uniform(-1, 1, (sum(counts), config.dim))
        y = generator.choice([-1.0, 1.0], len(x))
    elif config.task == "shells":
        parts = [_shell(generator, n, config.dim, *radii) for n, radii in zip(counts, config.shells, strict=True)]
        x = np.concatenate(parts)
        y = np.concatenate([np.full(len(part), 2.0 * (k % 2) - 1) for k, part in enumerate(parts)])
    else:
        raise ValueError(f"task: {config.task!r} is not one of flip, shells, labels")
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def _shell(generator: np.random.Generator, points: int, dim: int, inner: float, outer: float) -> np.ndarray:
    radius = inner + (outer - inner) * generator.uniform(size=(points, 1)) ** (1 / dim)
    direction = generator.standard_normal((points, dim))
    return radius * direction / np.linalg.norm(direction, axis=1, keepdims=True)


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Train one model, and test it on fresh points (on the training points where the labels are random).

    Returns:
        ``loss`` and ``mse`` on the training points; ``error``, the share of test points on the wrong side; ``nfe`` of
        a forward solve of the training points at the start (``nfe_start``), at the end, and at the end with the worst
        sample's error norm (``nfe_worst``); ``parameters``; ``path_length``, ``detour`` and ``solver_error`` as of
        :func:`ncode.reproduction.experiments.toy.paths`; ``exceeded``, ``underflow`` and ``non-finite``, 1 where that
        ended the training or happened in it; ``failures``, how many; ``failed_at``, the first one's iteration (infinite
        without one); and for shells those of :func:`surroundings`. Whatever a failing solve leaves unknown is NaN. The
        history's evaluations are ``loss``, ``mse``, ``error`` and ``nfe``.
    """
    x, y = sample(config, 2 * config.seed)
    test = (x, y) if config.task == "labels" else sample(config, 2 * config.seed + 1)
    model = build(config)
    batches = Batches(x, y, size=config.batch, seed=config.seed)
    iterations = config.epochs * batches.per_epoch

    def loss(model, batch):
        return F.smooth_l1_loss(model(batch[0]), batch[1]), {"nfe": model.flow.nfe.forward}

    def evaluate(model):
        return _look(model, x, y, test)

    model.eval()
    with torch.no_grad():
        start = evaluate(model)
    history = fit(
        model,
        loss,
        batches,
        iterations,
        torch.optim.Adam(model.parameters(), lr=config.learning_rate),
        evaluate=evaluate,
        evaluate_every=-(-iterations // config.looks),
        until=(lambda history: bool(history.failures)) if config.stop else None,
        patience=max(20, iterations),
        checkpoint=checkpoint,
        label=f"{config.task} {config.dim} p={config.augment} {config.seed}",
    )
    model.eval()
    end = evaluate(model)
    metrics = {
        **{name: end[name] for name in ("loss", "mse", "error", "nfe")},
        "nfe_start": start["nfe"],
        "nfe_worst": _nfe(model, x, norm="worst"),
        "parameters": sum(p.numel() for p in model.parameters()),
        **_paths(model, test[0]),
        **_failures(history),
        **(surroundings(model, config) if config.task == "shells" else {}),
    }
    return RunOutput(metrics, history, model, data=fingerprint(x, y))


@torch.no_grad()
def _look(model: Regressor, x: Tensor, y: Tensor, test: tuple[Tensor, Tensor]) -> dict[str, float]:
    try:
        out = model(x)
        nfe = model.flow.nfe.forward
        wrong = (model(test[0]) * test[1] <= 0).float().mean().item()
    except SolveError:
        return dict.fromkeys(("loss", "mse", "error", "nfe"), math.nan)
    return {
        "loss": F.smooth_l1_loss(out, y).item(),
        "mse": F.mse_loss(out, y).item(),
        "error": wrong,
        "nfe": float(nfe),
    }


def _nfe(model: Regressor, x: Tensor, **options) -> float:
    """The evaluations of a forward solve with another option of the solver."""
    flow = model.flow
    solver, flow.solver = flow.solver, Solver(**{**vars(flow.solver), **options})
    try:
        with torch.no_grad():
            flow(x)
        return float(flow.nfe.forward)
    except SolveError:
        return math.nan
    finally:
        flow.solver = solver


def _paths(model: Regressor, x: Tensor) -> dict[str, float]:
    try:
        # A field of ReLUs has kinks, at which a tighter reference would take thousands of steps.
        return toy.paths(model.flow, x[:: max(1, len(x) // 200)], tolerance=1e-6)
    except SolveError:
        return dict.fromkeys(("path_length", "detour", "solver_error"), math.nan)


def surroundings(model: Regressor, config: Config) -> dict[str, float]:
    """Whether the flow still surrounds the innermost ball's centre by the sphere in the middle of the next shell.

    Returns:
        ``separation``: the lowest output found on that sphere minus the centre's, under an accurate solve; a flow
        without augmentation cannot make it positive. ``separation_trained``: the same under the training's solver.
        ``winding``: how often the sphere's image surrounds the centre's, under an accurate solve, and
        ``winding_coarse``, where one step of Euler's method takes the flow's place; without augmentation only.
    """
    exact = copy.deepcopy(model).double()
    radius = sum(config.shells[1]) / 2
    centre = torch.zeros(1, config.dim, dtype=torch.float64)
    solvers = {
        "": Solver(rtol=1e-6, atol=1e-6, norm="mean", max_nfe=100_000),
        "_trained": model.flow.solver,
        "_coarse": Solver("euler", steps=1),
    }
    found = {}
    for name, solver in solvers.items():
        exact.flow.solver = solver
        if name != "_coarse":
            found[f"separation{name}"] = _or_nan(lambda: _separation(exact, radius, centre))
        if name != "_trained" and not config.augment:
            found[f"winding{name}"] = _or_nan(lambda: surrounds(exact.flow, radius, centre))
    return found


def _or_nan(measure: Callable[[], float]) -> float:
    """What ``measure`` gives; NaN where a solve fails, or a curve's image cannot be resolved."""
    try:
        with torch.no_grad():
            return float(measure())
    except (SolveError, ValueError):
        return math.nan


def _separation(model: nn.Module, radius: float, centre: Tensor) -> float:
    lowest, _ = topology.lowest_on_sphere(model, centre.shape[1], radius)
    return lowest - model(centre).item()


def surrounds(flow: Flow, radius: float, centre: Tensor) -> int:
    """How often the image of the sphere around 0 surrounds that of its centre, in one to three dimensions."""
    middle = flow(centre)[0]
    if len(middle) == 1:
        low, high = flow(radius * torch.tensor([[-1.0], [1.0]]).double()) - middle
        return int((high.sign() - low.sign()).item()) // 2
    if len(middle) == 2:

        def circle(s: Tensor) -> Tensor:
            return radius * torch.stack([torch.cos(2 * math.pi * s), torch.sin(2 * math.pi * s)], dim=1)

        return topology.image_winding_number(flow, circle, middle)
    points, faces = topology.icosphere(5)
    return topology.degree(flow(radius * points), faces, middle)


def _failures(history: History) -> dict[str, float]:
    reasons = [FAILURES.get(failure["reason"], "non-finite") for failure in history.failures]
    counted = {name: float(name in reasons) for name in FAILURES.values()}
    first = history.failures[0]["iteration"] if history.failures else math.inf
    return {**counted, "failed_at": float(first), "failures": float(len(reasons))}


experiment = Experiment("augmentation", Config, build, train, plans=f"{__package__}.plans")
