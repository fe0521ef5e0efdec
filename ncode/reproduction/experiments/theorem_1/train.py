"""Theorem 1: how exact the gradients are, what they cost in memory, and when the plain adjoint fails."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from ncode.controllers import ClosedLoop, OpenLoop
from ncode.costs import Point, kinetic, path_cost
from ncode.fields.base import Field
from ncode.fields.mlp import MLP
from ncode.models import NCODE, NeuralODE
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput
from ncode.solvers.adjoint.theorem_1 import ReconstructionWarning
from ncode.solvers.options import NFE, Solver

WAYS = {
    "direct": {"gradients": "direct"},
    "plain": {"gradients": "adjoint", "checkpoints": 0, "refine": False},
    "checkpointed": {"gradients": "adjoint"},
}


class Weighted(nn.Module):
    """A running cost with parameters: ℓ = w₁‖x‖² cos t + w₂‖θ‖² + ‖f‖²."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.7, 0.3], dtype=torch.float64))

    def forward(self, point: Point) -> Tensor:
        x, theta = point.x.square().sum(1), point.theta.square().mean(1)
        return self.weights[0] * x * torch.cos(point.t) + self.weights[1] * theta + kinetic(point)


@dataclass(frozen=True)
class Setting:
    """A random coupled system z = (x, θ) with γ and g, and a running cost with parameters of its own."""

    model: NCODE
    cost: Weighted
    x0: Tensor

    @classmethod
    def build(cls, seed: int, batch: int = 4, width: int = 6) -> Setting:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            gamma, g = OpenLoop(hidden=[5], spread=1.0), ClosedLoop(hidden=[5], spread=0.5)
            model = NCODE(MLP(2, [width]), gamma=gamma, g=g, steer="layers.1.*").double()
            return cls(model, Weighted(), torch.randn(batch, 2, dtype=torch.float64))

    def gradient(self, horizon: float, solver: Solver) -> dict[str, list[Tensor]]:
        """dl/d· for f, γ, g, ℓ and x(0), with l = ∫ℓ dt + φ(x(T)) summed over the samples."""
        x0 = self.x0.clone().requires_grad_()
        self.model.horizon, self.model.solver = horizon, solver
        out = path_cost(self.model, x0, running=self.cost, terminal=lambda x, theta: x.sin().sum(1))
        groups = {
            "f": list(self.model.field.parameters()),
            "γ": list(self.model.gamma.parameters()),
            "g": list(self.model.g.parameters()),
            "ℓ": list(self.cost.parameters()),
            "x(0)": [x0],
        }
        found = iter(torch.autograd.grad(out.cost.sum(), [leaf for leaves in groups.values() for leaf in leaves]))
        return {name: [next(found) for _ in leaves] for name, leaves in groups.items()}

    def chained(self, horizon: float, solver: Solver) -> list[Tensor]:
        """dl/d· for γ by Remark 1: ∂l/∂θ(0), from a solve that starts at θ(0) and knows no γ, times ∂γ/∂·."""
        start = self.model.gamma(self.x0)
        theta0, known = start.detach().requires_grad_(), self.model.gamma
        self.model.horizon, self.model.solver, self.model.gamma = horizon, solver, None
        self.model.initial_control = lambda x0: theta0
        out = path_cost(self.model, self.x0, running=self.cost, terminal=lambda x, theta: x.sin().sum(1))
        (boundary,) = torch.autograd.grad(out.cost.sum(), theta0)
        del self.model.initial_control
        self.model.gamma = known
        return list(torch.autograd.grad(start, list(known.parameters()), boundary))


@dataclass(frozen=True)
class Config:
    """One random system, whose gradients are compared with an independent, tight reference."""

    seed: int
    tolerances: Sequence[float]
    horizon: float


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Relative errors, as ``way@tolerance`` over all parameters and ``group:tolerance`` for the checkpointed way."""
    setting, metrics = Setting.build(config.seed), {}
    # Another method than the one that is tested, and gradients by another way.
    exact = setting.gradient(config.horizon, Solver("dopri8", rtol=1e-13, atol=1e-13, max_nfe=10**6))
    for tolerance in config.tolerances:
        for way, options in WAYS.items():
            solver = Solver("dopri5", rtol=tolerance, atol=tolerance, max_nfe=10**6, **options)
            found = _quietly(setting.gradient, config.horizon, solver)
            metrics[f"{way}@{tolerance:g}"] = distance(_flat(found), _flat(exact))
            if way == "checkpointed":
                metrics |= {f"{k}:{tolerance:g}": distance(found[k], exact[k]) for k in exact}
                metrics[f"chain:{tolerance:g}"] = distance(setting.chained(config.horizon, solver), exact["γ"])
    return RunOutput(metrics)


def written_out(setting: Setting, horizon: float, state: float = 1.0, running: float = 1.0, rtol: float = 1e-12):
    """Eq. 6 in full, (z, a, q)' with z' = h, a' = -a ∂h/∂z - ∂ℓ/∂z and q' = -(a ∂h/∂μ + ∂ℓ/∂μ), for μ of g.

    Args:
        state, running: factors of the adjoint's two terms; 1 is the theorem, -1 a flipped sign.

    Returns:
        ∫(a ∂h/∂μ + ∂ℓ/∂μ)dt for the parameters μ of g.
    """
    model, mu = setting.model, list(setting.model.g.parameters())
    f, (x0, theta0), *_ = model.problem(setting.x0)

    def back(t, parts):
        with torch.enable_grad():
            z = tuple(part.detach().requires_grad_() for part in parts[:2])
            h = f(t, z)
            cost = setting.cost(Point(t, *z, h[0], None))
            along = torch.autograd.grad(h, (*z, *mu), parts[2:4], retain_graph=True, materialize_grads=True)
            extra = torch.autograd.grad(cost.sum(), (*z, *mu), materialize_grads=True)
        slopes = [-state * a - running * b for a, b in zip(along[:2], extra[:2], strict=True)]
        sums = [-(a + b) for a, b in zip(along[2:], extra[2:], strict=True)]
        return (*(part.detach() for part in h), *slopes, *sums)

    t = torch.tensor([0.0, horizon], dtype=torch.float64)
    with torch.no_grad():
        end = [part[-1] for part in odeint(f, (x0, theta0), t, rtol=rtol, atol=rtol)]
        start = (*end, torch.cos(end[0]), torch.zeros_like(end[1]), *(torch.zeros_like(p) for p in mu))
        return [part[-1] for part in odeint(back, start, t.flip(0), rtol=rtol, atol=rtol)[4:]]


class Contractive(Field):
    """x' = Wx + tanh(x) - λx: paths approach each other by e^(-λt), and leave each other as fast backward.

    Args:
        rate: λ, of the contraction.
    """

    def __init__(self, rate: float):
        super().__init__(shape=(2,))
        self.rate = rate
        self.weight = nn.Parameter(torch.tensor([[0.3, -1.1], [0.8, -0.5]], dtype=torch.float64))

    def forward(self, t, x, theta):
        return x @ self.weight.T + torch.tanh(x) - self.rate * x


def contractive(rate: float, horizon: float, solver: Solver) -> tuple[list[Tensor], NFE, bool]:
    """The gradient of ∫‖x‖²dt with respect to W, the evaluations, and whether the library gave a warning."""
    model = NeuralODE(Contractive(rate), horizon=horizon, solver=solver)
    x0 = torch.tensor([[1.0, -0.5], [0.2, 0.9]], dtype=torch.float64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cost = path_cost(model, x0, running=lambda p: p.x.square().sum(1)).cost.sum()
        (found,) = torch.autograd.grad(cost, model.field.weight)
    return [found], model.nfe, any(issubclass(w.category, ReconstructionWarning) for w in caught)


def saved_bytes(gradients: str, horizon: float, tolerance: float = 1e-6) -> tuple[int, int]:
    """What autograd keeps for the backward pass of a contractive path's cost, in bytes, and the forward NFE."""
    solver = Solver("dopri5", rtol=tolerance, atol=tolerance, gradients=gradients, max_nfe=10**6)
    model, kept = NeuralODE(Contractive(1.0), horizon=horizon, solver=solver), {}
    x0 = torch.tensor([[1.0, -0.5], [0.2, 0.9]], dtype=torch.float64)

    def pack(tensor: Tensor) -> Tensor:
        # A tensor that several operations keep is kept once; holding it keeps its address its own.
        kept[tensor.data_ptr(), tensor.numel()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        path_cost(model, x0, running=kinetic)
    return sum(tensor.numel() * tensor.element_size() for tensor in kept.values()), model.nfe.forward


def distance(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """The relative distance of two gradients."""
    a, b = (torch.cat([part.detach().double().flatten() for part in parts]) for parts in (found, exact))
    return float((a - b).norm() / b.norm())


def _flat(gradient: dict[str, list[Tensor]]) -> list[Tensor]:
    return [part for parts in gradient.values() for part in parts]


def _quietly(function, *arguments):
    """The plain adjoint's warnings are what is shown; here they would only be noise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReconstructionWarning)
        return function(*arguments)


experiment = Experiment("theorem_1", Config, None, train)
