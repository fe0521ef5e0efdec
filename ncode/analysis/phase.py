"""Phase portraits of planar fields: their equilibria and what becomes of them when the control changes.

A bifurcation of x' = f(x, θ) is a change of the phase portrait that no continuous deformation undoes; for
hyperbolic equilibria it shows as a change in how many there are of each type.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ncode.arguments import arguments, instance, integer, real, tensor
from ncode.fields.base import Field


class Equilibria(NamedTuple):
    """The equilibria of one sample's field: ``points`` (number, 2) and the ``kinds`` of each.

    A kind is ``sink``, ``source`` or ``saddle``, from the signs of the Jacobian's eigenvalues' real parts, or
    ``degenerate`` where one of these is zero up to rounding, as at a centre.
    """

    points: Tensor
    kinds: list[str]

    @property
    def signature(self) -> tuple[tuple[str, int], ...]:
        """How many of each kind: what a bifurcation changes."""
        return tuple(sorted(Counter(self.kinds).items()))


@arguments(
    field=instance(Field),
    theta=tensor(None, None, least=1),
    box=real(above=0),
    starts=integer(2, 1000),
    iterations=integer(1, 10_000),
    tolerance=real(above=0),
)
def equilibria(
    field: Field,
    theta: Float[Tensor, "samples m"],
    *,
    box: float = 4.0,
    starts: int = 13,
    iterations: int = 40,
    tolerance: float = 1e-5,
) -> list[Equilibria]:
    """The equilibria in [-box, box]² of the field x' = f(x, θ) of every sample, autonomous and planar.

    Newton's method from a grid of starts, each step no longer than the grid's spacing. Equilibria closer than a
    hundredth of the box are counted once; one that no start leads to is missed, so compare portraits, not counts,
    and only with the same grid.

    Args:
        theta: the samples' controls, as the field unpacks them.
        box: half the side of the square that is searched.
        starts: per side of the grid.
        iterations: of Newton's method.
        tolerance: largest residual speed of what counts as an equilibrium, relative to the largest speed on
            the grid.
    """
    if field.shape != (2,):
        raise ValueError(f"field: must be planar, of shape (2,), not {field.shape}")
    if theta.shape[1] != (m := sum(math.prod(shape) for shape in field.steered.values())):
        raise ValueError(f"theta: must have the {m} control variables that are steered, not {theta.shape[1]}")
    samples, (dtype, device) = len(theta), (theta.dtype, theta.device)
    side = torch.linspace(-box, box, starts, dtype=dtype, device=device)
    grid = torch.cartesian_prod(side, side)
    values = field.unpack(theta.detach().repeat_interleave(len(grid), dim=0))
    x = grid.repeat(samples, 1)
    scale = _velocity(field, x, values).norm(dim=1).reshape(samples, -1).amax(1)
    longest = 2 * box / (starts - 1)
    for _ in range(iterations):
        velocity, jacobian = _linearise(field, x, values)
        # Damped where the Jacobian is near singular, as it is next to a bifurcation.
        square = jacobian.mT @ jacobian
        damping = (4 * torch.finfo(dtype).eps * square.diagonal(dim1=1, dim2=2).sum(1)).clamp(min=1e-10)
        square = square + damping[:, None, None] * torch.eye(2, dtype=dtype, device=device)
        step = torch.linalg.solve(square, (jacobian.mT @ velocity.unsqueeze(2))).squeeze(2)
        x = x - step * (longest / step.norm(dim=1, keepdim=True).clamp(min=longest))
    velocity, jacobian = _linearise(field, x, values)
    converged = velocity.norm(dim=1).reshape(samples, -1) < tolerance * scale.unsqueeze(1)
    found = converged & (x.abs().amax(1) <= box).reshape(samples, -1)
    x, jacobian = x.reshape(samples, -1, 2), jacobian.reshape(samples, -1, 2, 2)
    return [_distinct(x[i][found[i]], jacobian[i][found[i]], box / 100) for i in range(samples)]


def _velocity(field: Field, x: Tensor, values: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return field(x.new_zeros(()), x, values)


def _linearise(field: Field, x: Tensor, values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Velocity and Jacobian at every point; points do not interact, so two gradients give all Jacobians."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        velocity = field(x.new_zeros(()), x, values)
        rows = [torch.autograd.grad(velocity[:, i].sum(), x, retain_graph=i == 0)[0] for i in range(2)]
    return velocity.detach(), torch.stack(rows, dim=1)


def _distinct(points: Tensor, jacobians: Tensor, radius: float) -> Equilibria:
    kept: list[int] = []
    for i in range(len(points)):
        if all((points[i] - points[j]).norm() > radius for j in kept):
            kept.append(i)
    kinds = []
    for jacobian in jacobians[kept]:
        eigenvalues = torch.linalg.eigvals(jacobian)
        real = eigenvalues.real
        if (real.abs() <= torch.finfo(real.dtype).eps ** 0.5 * eigenvalues.abs().max()).any():
            kinds.append("degenerate")
        else:
            kinds.append("sink" if (real < 0).all() else "source" if (real > 0).all() else "saddle")
    return Equilibria(points[kept], kinds)
