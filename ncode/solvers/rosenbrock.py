"""Rosenbrock methods, for stiff problems: every stage solves a linear system with the Jacobian at the step's start.

A stage u_i over a step h from (t, x) solves

(1/(h γ) - ∂f/∂x) u_i = f(t + α_i h, x + Σ_j a_ij u_j) + Σ_j (c_ij / h) u_j + h γ_i ∂f/∂t,

then y = x + Σ m_i u_i, and Σ e_i u_i estimates its error. No equation is iterated on, so gradients go through the steps
as they are. Jacobians are dense, one a sample, by as many vector-Jacobian products as a sample has numbers.

Source: Hairer and Wanner, Solving Ordinary Differential Equations II, IV.7 (RODAS).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from ncode.solvers.adjoint.graph import edges, walk
from ncode.solvers.norms import larger, ratios
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import Norm, RungeKutta, Taken, Tolerances, Weights, clock
from ncode.solvers.tableaus import Row, Tableau
from ncode.tracing import transforming

LARGEST = 128
"""Numbers a sample may have: its Jacobian has their square, and a linear system takes their cube."""


@dataclass(frozen=True)
class Rosenbrock(Tableau):
    """One Rosenbrock method; ``c`` are α, ``a`` and ``b`` the weights of the stages u in f's argument and in y.

    Attributes:
        gamma: the diagonal coefficient γ of the stages.
        shifts: every stage's γ_i.
        couplings: every stage's c_ij.
    """

    gamma: float = 0.0
    shifts: Row = ()
    couplings: tuple[Row, ...] = ()

    @property
    def fsal(self) -> bool:
        return False


_A5 = (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950)
RODAS4 = Rosenbrock(
    "rodas4",
    4,
    (0.0, 0.386, 0.21, 0.63, 1.0, 1.0),
    (
        (),
        (1.544,),
        (0.9466785280815826, 0.2557011698983284),
        (3.314825187068521, 2.896124015972201, 0.9986419139977817),
        _A5,
        (*_A5, 1.0),
    ),
    (*_A5, 1.0, 1.0),
    error=(0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    gamma=0.25,
    shifts=(0.25, -0.1043, 0.1035, -0.03620000000000023, 0.0, 0.0),
    couplings=(
        (),
        (-5.6688,),
        (-2.430093356833875, -0.2063599157091915),
        (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
        (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
        (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
    ),
)

IMPLICIT = {RODAS4.name: RODAS4}
"""Every implicit method by its name."""


@dataclass(frozen=True, slots=True)
class Slope:
    """f at a step's start, with its derivatives: all of them flat, (batch, d) and (batch, d, d)."""

    velocity: Float[Tensor, "batch d"]
    jacobian: Float[Tensor, "batch d d"]
    drift: Float[Tensor, "batch d"]


class RosenbrockStep(RungeKutta):
    """A step of a Rosenbrock method for any right-hand side whose samples do not depend on each other.

    ``evaluations`` do not count what Jacobians take.

    Raises:
        ValueError: at the first evaluation, when a sample has more than :data:`LARGEST` numbers, or complex ones.
        RuntimeError: under a transform of :mod:`torch.func` or in forward mode.
    """

    def __init__(self, method: Rosenbrock, f: RightHandSide):
        super().__init__(method, f)
        self.method = method

    def start(self, t: float | Tensor, x: State, w: Weights = ()) -> Slope:
        size = sum(part[0].numel() for part in x)
        if size > LARGEST or any(part.is_complex() for part in x):
            kind = "complex ones" if size <= LARGEST else str(size)
            raise ValueError(
                f"method: {self.method.name} takes dense Jacobians of at most {LARGEST} real numbers a sample, the "
                f"state has {kind}; the explicit methods take any"
            )
        if transforming():
            raise RuntimeError(
                f"method: {self.method.name} takes its Jacobians by autograd, which torch.func's transforms and "
                "forward mode do not see through; the explicit methods take them"
            )
        differentiable, given = torch.is_grad_enabled(), any(part.requires_grad for part in x)
        copied = _Copied() if torch.is_inference_mode_enabled() else nullcontext()
        with torch.inference_mode(False), torch.enable_grad(), copied:
            # Views: what the derivatives are asked for must not stand behind itself.
            x = tuple(p.view_as(p) if differentiable and p.requires_grad else p.detach().requires_grad_() for p in x)
            time = clock(t, x).detach().requires_grad_()
            velocity = _flat(self.f(time, x))
            # Where nothing else wants a gradient, steps must not hang together by their states.
            differentiable = differentiable and (given or bool(walk(edges((velocity,)), edges((*x, time)))[0]))
            jacobian = _jacobian(velocity, x, differentiable)
            drift = _drift(velocity, time, differentiable)
        found = Slope(velocity, jacobian, drift)
        return found if differentiable else Slope(velocity.detach(), jacobian.detach(), drift.detach())

    def __call__(
        self, t: float | Tensor, x: State, k1: Slope, h: float | Tensor, tol: Tolerances | None = None, w: Weights = ()
    ) -> tuple[State, None, Tensor | None, list]:
        method, start = self.method, _flat(x)
        identity = torch.eye(start.shape[1], dtype=start.dtype, device=start.device)
        # The estimates of steps that are too long may be anything; they are rejected.
        factors, pivots, _ = torch.linalg.lu_factor_ex(identity / (h * method.gamma) - k1.jacobian)
        stages: list[Tensor] = []
        for i in range(method.stages):
            if i == 0:
                velocity = k1.velocity
            else:
                at = start + _sum(method.a[i], stages)
                velocity = _flat(self.f(clock(t + method.c[i] * h, x), _parts(at, x)))
            right = velocity + (h * method.shifts[i]) * k1.drift
            if i:
                right = right + _sum(method.couplings[i], stages) / h
            stages.append(torch.linalg.lu_solve(factors, pivots, right.unsqueeze(-1)).squeeze(-1))
        y = _parts(start + _sum(method.b, stages), x)
        errors = None
        if tol is not None:
            with torch.no_grad():
                errors = ratios(_parts(_sum(method.error, stages), x), larger(x, y), *tol)
        return y, None, errors, []

    def guess(self, t: float, x: State, k1: Slope, sign: float, tol: Tolerances, norm: Norm, w: Weights = ()) -> float:
        return super().guess(t, x, _parts(k1.velocity, x), sign, tol, norm, w)

    def between(self, taken: Taken, s: float | Tensor) -> State:
        """The state at t + s h, from the cubic through both ends' states and slopes."""
        ends = [_parts(slope.velocity, taken.x) for slope in (taken.k1, taken.k_last)]
        return super().between(Taken(taken.t, taken.h, taken.end, taken.x, ends[0], taken.y, ends[1], []), s)


class _Copied(TorchFunctionMode):
    """Operations on copies of what inference mode made, the state or what f captures: it takes part in no gradient."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        args, kwargs = tree_map_only(Tensor, lambda a: a.clone() if a.is_inference() else a, (args, kwargs or {}))
        return func(*args, **kwargs)


def _flat(parts: State) -> Float[Tensor, "batch d"]:
    return torch.cat([part.reshape(part.shape[0], -1) for part in parts], dim=1)


def _parts(flat: Tensor, like: State) -> State:
    sizes = [part[0].numel() for part in like]
    return tuple(part.reshape(x.shape) for part, x in zip(flat.split(sizes, dim=1), like, strict=True))


def _sum(weights: Sequence[float], stages: Sequence[Tensor]) -> Tensor:
    total = torch.zeros_like(stages[0])
    for weight, stage in zip(weights, stages, strict=False):
        if weight:
            total = torch.add(total, stage, alpha=weight)
    return total


def _jacobian(velocity: Tensor, x: State, differentiable: bool) -> Float[Tensor, "batch d d"]:
    """∂f/∂x of every sample, row by row: a sum over the batch has each sample's row as its gradient."""
    rows = []
    for i in range(velocity.shape[1]):
        found = [None] * len(x)
        if velocity.requires_grad:
            found = torch.autograd.grad(
                velocity[:, i].sum(), x, create_graph=differentiable, retain_graph=True, allow_unused=True
            )
        rows.append(_flat(tuple(torch.zeros_like(p) if g is None else g for p, g in zip(x, found, strict=True))))
    return torch.stack(rows, dim=1)


def _drift(velocity: Tensor, time: Tensor, differentiable: bool) -> Float[Tensor, "batch d"]:
    """∂f/∂t: the derivative of v ∂f/∂t, one number for all samples, by v."""
    along = torch.zeros_like(velocity, requires_grad=True)
    (rate,) = torch.autograd.grad((velocity * along).sum(), time, create_graph=True, allow_unused=True)
    if rate is None or not rate.requires_grad:
        return torch.zeros_like(velocity)
    (drift,) = torch.autograd.grad(rate.sum(), along, create_graph=differentiable, allow_unused=True)
    return torch.zeros_like(velocity) if drift is None else drift
