"""Learn x ↦ -x on [-1, 1] (Section 4.1, Fig. 4): what a one-dimensional neural ODE cannot do.

Its flow keeps the order of points on the line, and reflection reverses it; the best it can reach is the constant 0,
with the mean squared error 1/3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ncode.models import Flow
from ncode.reproduction.experiments import toy
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint
from ncode.solvers.options import Solver
from ncode.training import Batches, fit

MODELS = ("node", "anode", "data", "single", "open", "closed")
"""Those of the toy problems, and ``single``, the open loop that controls a single parameter of its field."""


@dataclass(frozen=True)
class Config:
    """One run of one model.

    Attributes:
        model: one of :data:`MODELS`.
        seed: of data and initialisation.
        iterations: of Adam, each on all points.
        points: training points x ~ U[-1, 1].
        hidden, control_hidden: widths of the field's and of the controller's hidden layers.
        learning_rate: Adam's.
        tolerance: rtol and atol of dopri5.
        horizon: T, where the flow ends.
    """

    model: str
    seed: int
    iterations: int = 500
    points: int = 200
    hidden: tuple[int, ...] = (16,)
    control_hidden: tuple[int, ...] = (16,)
    learning_rate: float = 1e-2
    tolerance: float = 1e-3
    horizon: float = 1.0


def build(config: Config) -> Flow:
    """The model, initialised by the configuration's seed."""
    torch.manual_seed(config.seed)
    solver = Solver(rtol=config.tolerance, atol=config.tolerance)
    # On the line the last layer has one output, so its bias is the one parameter that is a single number.
    model, steer = ("open", f"layers.{len(config.hidden)}.bias") if config.model == "single" else (config.model, "*")
    return toy.build(model, 1, config.hidden, config.control_hidden, solver, steer=steer, horizon=config.horizon)


def grid(points: int = 201) -> Tensor:
    """The test points, evenly spaced over [-1, 1]."""
    return torch.linspace(-1, 1, points).unsqueeze(1)


@torch.no_grad()
def evaluate(config: Config, model: Flow) -> dict[str, float]:
    """The mean squared error on :func:`grid`."""
    test = grid()
    return {"mse": (model(test) + test).square().mean().item()}


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Train and test one model.

    Returns:
        ``mse`` on :func:`grid`; ``nfe`` of a forward solve of the grid; ``parameters``; ``solver_error``, the worst
        grid point's.
    """
    generator = torch.Generator().manual_seed(config.seed)
    x = 2 * torch.rand(config.points, 1, generator=generator) - 1
    model = build(config)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)

    def loss(model, batch):
        (x,) = batch
        return (model(x) + x).square().mean(), {}

    label = f"reflection {config.model} {config.seed}"
    history = fit(model, loss, Batches(x), config.iterations, optimiser, checkpoint=checkpoint, label=label)
    metrics = {
        **evaluate(config, model),
        "nfe": model.nfe.forward,
        "parameters": sum(p.numel() for p in model.parameters()),
        "solver_error": model.solver_error(grid()).max().item(),
    }
    return RunOutput(metrics, history, model, data=fingerprint(x))


experiment = Experiment("reflection", Config, build, train, evaluate=evaluate)
