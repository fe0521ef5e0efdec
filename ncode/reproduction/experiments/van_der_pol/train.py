"""Fit the Van der Pol oscillator (Fig. 3): x'' = μ(1 - x²)x' - x, from observations of x alone.

With θ = x' as a control that moves, x' = θ and θ' = μ(1 - x²)θ - x, the oscillator is a closed loop with one unknown,
μ. With a constant θ, a one-dimensional neural ODE can only draw a monotone curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from ncode.fields.elementary import Velocity
from ncode.fields.mlp import MLP
from ncode.models import NCODE, Flow, NeuralODE
from ncode.reproduction.models.van_der_pol import VanDerPol
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint
from ncode.solvers.options import Solver
from ncode.training import Batches, fit

MODELS = ("ncode", "node")
TRUE_MU = 2.0
START = 2.0
CLOSE = 0.01
"""How near to the true μ counts as recovered, relative to it."""


@dataclass(frozen=True)
class Config:
    """One run: N-CODE from several μ at once, or one neural ODE.

    Attributes:
        model: one of :data:`MODELS`.
        seed: of the observations' noise and of the initialisation.
        iterations: of Adam.
        horizon: T, up to which x is observed.
        growing: fit a horizon that grows from 1 to T over the first three quarters of the iterations.
        noise: standard deviation of the observations' noise.
        per_unit: observations per unit of time.
        starts: how many μ are fitted side by side, log-spaced over [0.3, 5].
        hidden: widths of the neural ODE's hidden layers.
        learning_rate: Adam's.
        tolerance: rtol and atol of dopri5.
    """

    model: str
    seed: int
    iterations: int = 100
    horizon: float = 10.0
    growing: bool = False
    noise: float = 0.05
    per_unit: int = 5
    starts: int = 8
    hidden: tuple[int, ...] = (16,)
    learning_rate: float = 1e-1
    tolerance: float = 1e-3


class Observed(Batches):
    """Batch k: the observations that iteration k fits, up to a horizon that may grow with k."""

    def __init__(self, t: Tensor, x: Tensor, config: Config):
        super().__init__(t, x)
        self.t, self.x, self.config = t, x, config

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        config = self.config
        grown = k / (0.75 * config.iterations) if config.growing else 1.0
        horizon = 1 + (config.horizon - 1) * min(grown, 1.0)
        seen = max(2, int((self.t <= horizon + 1e-6).sum()))
        return self.t[:seen], self.x[:seen]


def oscillator(mu: float | Tensor, tolerance: float) -> NCODE:
    """The closed loop x' = θ, θ' = μ(1 - x²)θ - x, from θ(0) = 0; only μ is learned."""
    model = NCODE(Velocity(1), g=VanDerPol(mu), solver=Solver(rtol=tolerance, atol=tolerance))
    model.theta0.requires_grad_(False)
    return model


def build(config: Config) -> Flow:
    """The model, initialised by the configuration's seed."""
    torch.manual_seed(config.seed)
    if config.model == "ncode":
        return oscillator(torch.logspace(np.log10(0.3), np.log10(5.0), config.starts), config.tolerance)
    return NeuralODE(MLP(1, config.hidden), solver=Solver(rtol=config.tolerance, atol=config.tolerance))


def path(mu: float, t: Tensor) -> Tensor:
    """x at the times ``t`` for the true initial state, solved tightly in double precision."""
    model = oscillator(mu, 1e-9).double()
    with torch.no_grad():
        return model.trajectory(torch.full((1, 1), START, dtype=torch.float64), t.double()).x[:, 0, 0].float()


def is_close(mu: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """Whether each ``mu`` counts as recovered; the one rule for tables, checks and the verdict."""
    return abs(mu - TRUE_MU) <= CLOSE * TRUE_MU


def observe(config: Config) -> tuple[Tensor, Tensor]:
    """Times and noisy observations of the true oscillator; the first is the initial state, known exactly."""
    t = torch.linspace(0, config.horizon, round(config.per_unit * config.horizon) + 1)
    generator = torch.Generator().manual_seed(config.seed)
    noise = config.noise * torch.randn(len(t), generator=generator)
    noise[0] = 0
    return t, path(TRUE_MU, t) + noise


def landscape(config: Config, mu: Tensor) -> Tensor:
    """The loss of every ``mu`` (rows) on the observations up to every time (columns from the second on)."""
    t, x = observe(config)
    with torch.no_grad():
        paths = oscillator(mu, config.tolerance).trajectory(torch.full((len(mu), 1), START), t).x[..., 0]
    squares = (paths - x.unsqueeze(1)).square()[1:]
    return (squares.cumsum(0) / torch.arange(1, len(t)).unsqueeze(1)).T


def monotone_floor(x: Tensor) -> tuple[float, np.ndarray]:
    """The least mean squared error on ``x`` (in order of time) of any monotone function that starts at ``x[0]``, and
    that function: isotonic regression on the one side of its start that each direction leaves it.
    """
    y, start = x.numpy(), float(x[0])
    up = IsotonicRegression(increasing=True, y_min=start).fit_transform(np.arange(len(y)), y)
    down = IsotonicRegression(increasing=False, y_max=start).fit_transform(np.arange(len(y)), y)
    errors = [float(np.mean((fitted - y) ** 2)) for fitted in (up, down)]
    return min(errors), (up, down)[int(np.argmin(errors))]


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Fit one configuration.

    Returns:
        ``mse`` on the observations up to T, the best start's; for N-CODE ``recovered``, how many of the starts ended
        at a μ that :func:`is_close`; ``floor``, the best monotone function's ``mse``. Kept: ``t``, ``x`` (observed),
        ``path`` (time, starts), and every start's ``mu``. The history has every start's μ at each iteration.
    """
    t, x = observe(config)
    model = build(config)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learned, lr=config.learning_rate)
    batch = config.starts if config.model == "ncode" else 1
    x0 = torch.full((batch, 1), START)

    def loss(model, batch):
        t, x = batch
        errors = (model.trajectory(x0, t).x[..., 0] - x.unsqueeze(1)).square().mean(0)
        # A sum: each start has a μ of its own, and does not feel the others.
        mu = {f"mu {i}": value for i, value in enumerate(model.g.mu.tolist())} if config.model == "ncode" else {}
        return errors.sum(), mu

    label = f"van der pol {config.model} T={config.horizon:g} {config.seed}"
    history = fit(model, loss, Observed(t, x, config), config.iterations, optimiser, checkpoint=checkpoint, label=label)
    with torch.no_grad():
        fitted = model.trajectory(x0, t).x[..., 0]
    errors = (fitted - x.unsqueeze(1)).square().mean(0)
    metrics = {"mse": errors.min().item(), "floor": monotone_floor(x)[0]}
    arrays = {"t": t, "x": x, "path": fitted, "errors": errors}
    if config.model == "ncode":
        metrics["recovered"] = int(is_close(model.g.mu).sum())
        arrays["mu"] = model.g.mu.detach()
    return RunOutput(metrics, history, model, arrays, data=fingerprint(t, x))


experiment = Experiment("van_der_pol", Config, build, train)
