"""Separate a disk from the annulus around it (Section 4.1, Figs. 1, 5 and A.1): ANODE's nested spheres in the plane.

A linear readout of x(T) says which. A flow of the plane cannot take the disk out of the annulus; how far a neural
ODE gets on a finite sample all the same, and what γ reaches without any flow, are the controls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ncode.controllers import OpenLoop
from ncode.models import find_flows
from ncode.reproduction.experiments import toy
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint
from ncode.solvers.options import Solver
from ncode.training import Batches, cosine, fit

MODELS = (*toy.FLOWS, "gamma")

# The disk's radius, and the annulus' inner and outer ones (Dupont et al. 2019).
DISK, INNER, OUTER = 0.5, 1.0, 1.5


@dataclass(frozen=True)
class Config:
    """One run of one model.

    Attributes:
        model: one of :data:`MODELS`; ``gamma`` is the open loop's controller with a linear readout and no flow.
        seed: of data, initialisation and batches.
        iterations: of Adam.
        points: training points, half of each class, uniform over their areas.
        batch: points a step.
        hidden, control_hidden: widths of the field's and of the controller's hidden layers.
        steer: which of the field's parameters N-CODE controls.
        learning_rate: Adam's, at the start; it falls to zero along a cosine.
        clip: largest norm of the gradient; beyond it, it is scaled down.
        tolerance: rtol and atol of dopri5.
        horizon: T, where the flow ends.
        test_points: fresh points that accuracy and cross-entropy are measured on.
        evaluate_every: iterations between two looks at the test points.
    """

    model: str
    seed: int
    iterations: int = 500
    points: int = 1000
    batch: int = 128
    hidden: tuple[int, ...] = (32,)
    control_hidden: tuple[int, ...] = (16,)
    steer: str = "*"
    learning_rate: float = 1e-2
    clip: float | None = 1.0
    tolerance: float = 1e-3
    horizon: float = 1.0
    test_points: int = 2000
    evaluate_every: int = 50


class GammaAlone(nn.Module):
    """The open loop's controller γ without the flow that it would control: the control is the feature."""

    def __init__(self, hidden: tuple[int, ...], features: int):
        super().__init__()
        self.gamma = OpenLoop(2, features, hidden=hidden, spread=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma(x)


def build(config: Config) -> nn.Sequential:
    """Features of x and their linear readout, initialised by the configuration's seed."""
    torch.manual_seed(config.seed)
    if config.model == "gamma":
        return nn.Sequential(GammaAlone(config.control_hidden, 2), nn.Linear(2, 1))
    solver = Solver(rtol=config.tolerance, atol=config.tolerance)
    flow = toy.build(
        config.model, 2, config.hidden, config.control_hidden, solver, steer=config.steer, horizon=config.horizon
    )
    if config.model == "anode":
        # Its readout sees the added dimension, as in its paper: that is where it lifts the disk to.
        flow.project = False
    return nn.Sequential(flow, nn.Linear(3 if config.model == "anode" else 2, 1))


def sample(points: int, seed: int) -> tuple[Tensor, Tensor]:
    """``points`` points, half in the disk (label 1) and half in the annulus (label 0), uniform over each area."""
    generator = np.random.default_rng(seed)
    disk = points // 2
    radius = np.sqrt(
        np.concatenate([generator.uniform(0, DISK**2, disk), generator.uniform(INNER**2, OUTER**2, points - disk)])
    )
    angle = generator.uniform(0, 2 * np.pi, points)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return torch.tensor(x, dtype=torch.float32), (torch.tensor(radius) <= DISK).float()


def dense_grid(spacing: float = 0.02) -> tuple[Tensor, Tensor]:
    """A grid over both classes' areas, and the labels; a corridor narrower than the spacing can escape it."""
    side = torch.arange(-OUTER, OUTER + spacing / 2, spacing)
    x = torch.cartesian_prod(side, side)
    radius = x.norm(dim=1)
    inside = (radius <= DISK) | ((radius >= INNER) & (radius <= OUTER))
    return x[inside], (radius[inside] <= DISK).float()


@torch.no_grad()
def evaluate(config: Config, model: nn.Sequential) -> dict[str, float]:
    """A trained model's ``accuracy`` and ``cross_entropy`` on fresh points, and its ``grid_error``."""
    x, y = sample(config.test_points, 2 * config.seed + 1)
    grid_x, grid_y = dense_grid()
    logits = model(x).squeeze(1)
    return {
        "accuracy": _accuracy(logits, y),
        "cross_entropy": F.binary_cross_entropy_with_logits(logits, y).item(),
        "grid_error": 1 - _accuracy(model(grid_x).squeeze(1), grid_y),
    }


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Train and test one model.

    Returns:
        ``accuracy`` and ``cross_entropy`` on fresh points; ``grid_error``, the share of :func:`dense_grid` that is
        on the wrong side; ``iterations_to_all``, the first look at which all fresh points were right (infinite
        where none was); ``nfe`` of a forward solve; ``parameters``; and, where there is a flow, ``path_length``, the
        mean length of the test points' paths, ``detour``, its ratio to the mean distance between their ends, and
        ``solver_error``, the worst test point's.
    """
    x, y = sample(config.points, 2 * config.seed)
    test_x, test_y = sample(config.test_points, 2 * config.seed + 1)
    model = build(config)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)

    def loss(model, batch):
        x, y = batch
        logits = model(x).squeeze(1)
        return F.binary_cross_entropy_with_logits(logits, y), {}

    def look(model):
        logits = model(test_x).squeeze(1)
        return {
            "accuracy": _accuracy(logits, test_y),
            "cross_entropy": F.binary_cross_entropy_with_logits(logits, test_y).item(),
            "nfe": sum(flow.nfe.forward for flow in find_flows(model)),
        }

    history = fit(
        model,
        loss,
        Batches(x, y, size=config.batch, seed=config.seed),
        config.iterations,
        optimiser,
        clip=config.clip,
        schedule=cosine,
        evaluate=look,
        evaluate_every=config.evaluate_every,
        checkpoint=checkpoint,
        label=f"annuli {config.model} {config.seed}",
    )
    looks = history.evaluations
    right = [k for k, share in zip(history.evaluated, looks["accuracy"], strict=True) if share == 1.0]
    flows = find_flows(model)
    metrics = {
        **evaluate(config, model),
        "iterations_to_all": right[0] if right else math.inf,
        "nfe": looks["nfe"][-1],
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    if flows:
        metrics |= toy.paths(flows[0], test_x)
    return RunOutput(metrics, history, model, data=fingerprint(x, y))


def _accuracy(logits: Tensor, y: Tensor) -> float:
    return ((logits > 0) == (y > 0.5)).float().mean().item()


experiment = Experiment("annuli", Config, build, train, evaluate=evaluate)
