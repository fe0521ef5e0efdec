"""Costs along the path: l = ∫ℓ(t, z)dt + φ(x(T), θ(T)) + Σ ψ(t_k, x(t_k), θ(t_k)), for any model (Theorem 1).

The running cost is solved along with the path, as c' = ℓ, so one solve gives the path's end and its cost, and either
kind of gradient (``Solver.gradients``) reaches the parameters of f, g and γ, those of ℓ, and x(0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ncode.arguments import arguments, function, instance, optional, tensor
from ncode.inputs import Input
from ncode.models import Flow


class Point(NamedTuple):
    """Where a running cost is evaluated.

    Attributes:
        t: the time.
        x: the state that flows, (batch, …); an augmented model's with its added dimensions.
        theta: the control (batch, m), ``None`` where the model has none.
        velocity: f(t, x, θ), already evaluated.
        field: the map from x to f(t, x, θ) at this t and θ.
    """

    t: Tensor
    x: Tensor
    theta: Tensor | None
    velocity: Tensor
    field: Callable[[Tensor], Tensor]


Running = Callable[[Point], Float[Tensor, " batch"]]
"""ℓ: every sample's running cost at a point of its path."""
Terminal = Callable[[Tensor, Tensor | None], Float[Tensor, " batch"]]
"""φ(x, θ)."""
Discrete = Callable[[Tensor, Tensor, Tensor | None], Float[Tensor, " batch"]]
"""ψ(t, x, θ)."""


class PathCost(NamedTuple):
    """What :func:`path_cost` returns: every sample's ``cost`` l, and the path it belongs to, time first.

    Attributes:
        cost: (batch,), all terms added.
        running: (time, batch), ∫ℓdt up to each time.
        t, x, theta: the path; ``theta`` is ``None`` where the model has no control.
    """

    cost: Tensor
    running: Tensor
    t: Tensor
    x: Tensor
    theta: Tensor | None


@arguments(
    x0=instance(Tensor),
    running=optional(function),
    terminal=optional(function),
    discrete=optional(function),
    t=optional(instance(Tensor, list, tuple)),
    captured=instance(list, tuple),
)
def path_cost(
    model: Flow,
    x0: Float[Tensor, "batch *state"],
    u: Input | None = None,
    *,
    running: Running | None = None,
    terminal: Terminal | None = None,
    discrete: Discrete | None = None,
    t: Tensor | Sequence[float] | None = None,
    captured: Sequence[Tensor] = (),
) -> PathCost:
    """The cost of every sample's path, differentiable in whatever f, g, γ, ℓ, φ and ψ depend on, and in ``x0``.

    Args:
        model: any flow; its ``solver`` decides how the gradient is computed, and its ``nfe`` is set.
        u: the input, as for :meth:`ncode.models.flow.Flow.forward`.
        running: ℓ, such as :func:`kinetic`, :func:`jacobian` or a function of your own, with or without parameters.
        terminal: φ, at the last time.
        discrete: ψ, summed over ``t[1:]``.
        t: times, the first where ``x0`` holds; [0, horizon] where none are given.
        captured: tensors with a history that ``running`` captures, so that the adjoint stops there; leaves and
            module parameters are found by themselves.

    Raises:
        SolveError: when the solve fails.
        ValueError: when ℓ, φ or ψ gives anything but one number a sample, or ``x0`` or ``t`` make no sense.

    Example:
        >>> out = path_cost(model, x0, running=kinetic)  # one solve, no extra evaluations
        >>> loss = cross_entropy(head(out.x[-1]), y) + 0.01 * out.cost.mean()
    """
    if not isinstance(model, Flow):
        raise TypeError(f"model: must be an ncode.Flow, not {type(model).__name__}")
    problem = model.pose(x0, u)
    given = [0.0, model.horizon] if t is None else t
    times = torch.as_tensor(given, dtype=x0.dtype, device=x0.device)
    start = problem.state[0]

    def with_cost(time, z):
        *parts, _ = z
        velocity = problem.f(time, tuple(parts))
        if running is None:
            return (*velocity, torch.zeros_like(z[-1]))
        x, rest = parts[0], tuple(parts[1:])
        point = Point(time, x, problem.control(parts), velocity[0], lambda y: problem.f(time, (y, *rest))[0])
        return (*velocity, _one_each(running(point), x, "running"))

    with_running = problem._replace(
        f=with_cost,
        state=(*problem.state, start.new_zeros(len(start))),
        captured=(*problem.captured, *captured),
        costs=1,
        kernel=None,
        only=None,
        reading=None,
    )
    *path, c = model.integrate(with_running, given)
    controls = [problem.control([part[i] for part in path]) for i in range(len(times))]
    cost = c[-1]
    if terminal is not None:
        cost = cost + _one_each(terminal(path[0][-1], controls[-1]), start, "terminal")
    if discrete is not None:
        for time, x, theta in zip(times[1:], path[0][1:], controls[1:], strict=True):
            cost = cost + _one_each(discrete(time, x, theta), start, "discrete")
    moved = [theta for theta in controls if theta is not None]
    return PathCost(cost, c, times, path[0], torch.stack(moved) if moved else None)


def kinetic(point: Point) -> Float[Tensor, " batch"]:
    """The kinetic energy ‖f(t, x, θ)‖² (Finlay et al. 2020, Eq. 7): small where paths are straight and slow."""
    return point.velocity.reshape(len(point.x), -1).square().sum(1)


@arguments(direction=tensor(least=1))
def jacobian(direction: Float[Tensor, "batch *state"]) -> Running:
    """The running cost ‖εᵀ ∂f/∂x‖² (Finlay et al. 2020), an unbiased estimate of the Jacobian's squared norm.

    Args:
        direction: ε, of the state's shape, with zero mean and unit covariance; draw a new one for every solve, such
            as ``torch.randn_like(x0)``. It stays the same along the path, otherwise no solver could follow.
    """

    def running(point: Point) -> Tensor:
        pullback = torch.func.vjp(point.field, point.x)[1]
        (product,) = pullback(direction)
        return product.reshape(len(product), -1).square().sum(1)

    return running


def control_effort(point: Point) -> Float[Tensor, " batch"]:
    """‖θ‖² along the path: what the control costs.

    Raises:
        ValueError: when the model has no control.
    """
    if point.theta is None:
        raise ValueError("model: has no control whose effort could be counted")
    return point.theta.square().sum(1)


@arguments(scales=tensor(None, least=1))
def control_deviation(scales: Float[Tensor, " m"]) -> Terminal:
    """The terminal cost mean_i ((θ_i - mean θ_i)/s_i)²: how far a sample's control lies from the batch's mean control.

    Args:
        scales: s, the size of each control variable.
    """

    if not (scales > 0).all():
        raise ValueError("scales: must be positive")

    def terminal(x: Tensor, theta: Tensor | None) -> Tensor:
        if theta is None:
            raise ValueError("model: has no control whose deviation could be measured")
        return ((theta - theta.mean(0)) / scales).square().mean(1)

    return terminal


def _one_each(value: Tensor, x: Tensor, name: str) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != (len(x),):
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name}: must give one number a sample, shape ({len(x)},), not {shape}")
    return value
