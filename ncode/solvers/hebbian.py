"""Hebbian flow of a network with dynamic synapses, in an exact low-rank form.

The flow of Eq. 7, x' = tanh(θx) - λx and θ' = μ ∘ x xᵀ, moves θ by outer products only. Every stage of an explicit
Runge-Kutta method therefore has θ_r = θ_0 + Σ_j w_rj μ ∘ x_j x_jᵀ, and all that a stage needs of it is

    θ_r x_r = θ_0 x_r + Σ_j w_rj x_j ∘ (μ (x_j ∘ x_r)).

No n × n temporary is built in a stage: θ is read, never written, and updated once at the end. It is the same
method, with the same nodes and weights, not an approximation. Gradients are formed in the same way.
"""

from __future__ import annotations

import ctypes
import math
import sys
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ncode.arguments import arguments, flag, integer, one_of, optional, real, tensor
from ncode.solvers.errors import SolveError
from ncode.solvers.finite import finite, first_bad

# (A, b) of the explicit methods as torchdiffeq has them: its rk4 is the 3/8 rule.
TABLEAUS = {
    "euler": (((0.0,),), (1.0,)),
    "midpoint": (((0.0, 0.0), (0.5, 0.0)), (0.0, 1.0)),
    "rk4": (
        ((0.0, 0.0, 0.0, 0.0), (1 / 3, 0.0, 0.0, 0.0), (-1 / 3, 1.0, 0.0, 0.0), (1.0, -1.0, 1.0, 0.0)),
        (1 / 8, 3 / 8, 3 / 8, 1 / 8),
    ),
}


@arguments(
    x=tensor(None, None, least=1),
    theta=tensor(None, None, None, finite=False),
    mu=tensor(None, None),
    duration=real(),
    method=one_of(TABLEAUS),
    steps=integer(1),
    leak=real(),
    free=optional(tensor(None, None)),
    move_theta=flag,
)
def flow(
    x: Float[Tensor, "batch n"],
    theta: Float[Tensor, "batch n n"],
    mu: Float[Tensor, "n n"],
    duration: float,
    *,
    method: str = "rk4",
    steps: int = 1,
    leak: float = 0.0,
    free: Float[Tensor, "batch n"] | None = None,
    move_theta: bool = True,
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch n n"]]:
    """The Hebbian flow x' = free ∘ (tanh(θx) - λx), θ' = μ ∘ x xᵀ (Eq. 7) over one ``duration``.

    Args:
        x: the state at the start.
        theta: the synapses at the start, one matrix a sample.
        mu: μ, how fast and in which direction every synapse changes; shared by the samples.
        duration: length of the interval.
        method: ``"euler"``, ``"midpoint"`` or ``"rk4"`` (torchdiffeq's, the 3/8 rule).
        steps: equal steps over the interval.
        leak: λ, the rate of decay.
        free: 1 where a unit moves, 0 where it is clamped; all move where none is given.
        move_theta: whether θ at the end is wanted; without it, ``theta`` itself comes back.

    Returns:
        x and θ at the end. Gradients of first order reach ``x``, ``theta`` and ``mu``.

    Raises:
        SolveError: when x leaves the floating-point range, as it does where ``theta`` is not finite.
        ValueError: naming the argument that makes no sense, or whose shape does not fit.
    """
    batch, n = x.shape
    if theta.shape != (batch, n, n) or mu.shape != (n, n):
        raise ValueError(
            f"theta, mu: must be {(batch, n, n)} and {(n, n)} as x is {(batch, n)}, not {tuple(theta.shape)} and "
            f"{tuple(mu.shape)}"
        )
    if free is not None and free.shape != x.shape:
        raise ValueError(f"free: must have x's shape {tuple(x.shape)}, not {tuple(free.shape)}")
    end, moved = _Flow.apply(x, theta, mu, free, float(leak), _tableau(method, steps, float(duration)), move_theta)
    if not finite([end]):
        raise SolveError("non-finite values", first_bad(end), duration, steps * len(TABLEAUS[method][1]), math.inf)
    return end, moved if move_theta else theta


@cache
def _tableau(method: str, steps: int, duration: float) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]:
    """All steps as one method: rows of stage weights and the final ones, times the step's length.

    Several steps of an explicit method are one explicit method with more stages.
    """
    rows, weights = TABLEAUS[method]
    length = duration / steps
    weights = tuple(length * b for b in weights)
    all_rows = []
    for step in range(steps):
        all_rows += [step * weights + tuple(length * a for a in row[:r]) for r, row in enumerate(rows)]
    return tuple(all_rows), steps * weights


class _Flow(torch.autograd.Function):
    """One interval. Rows of stage vectors are (batch, stages, n), so that μ meets them in one matrix product."""

    @staticmethod
    def forward(ctx, x, theta, mu, free, leak, tableau, move_theta):
        rows, weights = tableau
        states = x.new_empty(len(x), len(rows), x.shape[1])
        slopes = torch.empty_like(states)
        rates = torch.empty_like(states)
        products = []
        for r, row in enumerate(rows):
            states[:, r] = _combine(x, row, slopes)
            current = states[:, r]
            drive = torch.bmm(theta, current.unsqueeze(2)).squeeze(2)
            pairs, scale = _used(row, states)
            product = None
            if scale is not None:
                product = (pairs * current.unsqueeze(1)) @ mu.T
                drive = drive + (product * pairs * scale).sum(1)
            products.append(product)
            rates[:, r] = torch.tanh(drive)
            slope = rates[:, r] - leak * current if leak else rates[:, r]
            slopes[:, r] = slope * free if free is not None else slope
        end = _combine(x, weights, slopes)
        ctx.tableau, ctx.leak, ctx.move_theta, ctx.products = tableau, leak, move_theta, products
        ctx.save_for_backward(theta, mu, free, states, rates)
        if not move_theta:
            # A fresh, empty output: what is not computed takes no memory and gets no gradient.
            return end, x.new_empty(0)
        return end, torch.addcmul(theta, mu, _gram(states, weights))

    @staticmethod
    @once_differentiable
    def backward(ctx, end_bar, moved_bar):
        theta, mu, free, states, rates = ctx.saved_tensors
        rows, weights = ctx.tableau
        states_bar, left, right = torch.zeros_like(states), [], []
        slopes_bar = end_bar.unsqueeze(1) * states.new_tensor(weights).unsqueeze(1)
        drives_bar = torch.empty_like(states)
        mu_bar = None
        if ctx.move_theta:
            mu_bar = moved_bar * _gram(states, weights)
            steered = moved_bar * mu
            both = states @ steered.transpose(1, 2) + states @ steered
            states_bar += both * states.new_tensor(weights).unsqueeze(1)
            del steered
        x_bar = end_bar.clone()
        for r in reversed(range(len(rows))):
            current, slope_bar = states[:, r], slopes_bar[:, r]
            if free is not None:
                slope_bar = slope_bar * free
            drive_bar = (1 - rates[:, r].square()) * slope_bar
            drives_bar[:, r] = drive_bar
            state_bar = states_bar[:, r] + torch.bmm(drive_bar.unsqueeze(1), theta).squeeze(1)
            if ctx.leak:
                state_bar = state_bar - ctx.leak * slope_bar
            pairs, scale = _used(rows[r], states)
            if scale is not None:
                used = [j for j, w in enumerate(rows[r]) if w]
                scaled = drive_bar.unsqueeze(1) * scale
                product_bar = scaled * pairs
                pair_bar = product_bar @ mu
                states_bar[:, used] += scaled * ctx.products[r] + pair_bar * current.unsqueeze(1)
                state_bar = state_bar + (pair_bar * pairs).sum(1)
                left.append(product_bar)
                right.append(pairs * current.unsqueeze(1))
            x_bar += state_bar
            for j, w in enumerate(rows[r]):
                if w:
                    slopes_bar[:, j] += w * state_bar
        mu_bar = _mu_gradient(mu, mu_bar, left, right) if ctx.needs_input_grad[2] else None
        theta_bar = None
        if ctx.needs_input_grad[1]:
            ranks = drives_bar.transpose(1, 2), states
            theta_bar = torch.baddbmm(moved_bar, *ranks) if ctx.move_theta else torch.bmm(*ranks)
        return x_bar, theta_bar, mu_bar, None, None, None, None


def _combine(x: Tensor, row: tuple[float, ...], slopes: Tensor) -> Tensor:
    """x + Σ_j w_j k_j."""
    for j, w in enumerate(row):
        if w:
            x = torch.add(x, slopes[:, j], alpha=w)
    return x


def _used(row: tuple[float, ...], states: Tensor) -> tuple[Tensor, Tensor | None]:
    """The earlier stages that this one's θ is made of, and their weights as a column."""
    used = [j for j, w in enumerate(row) if w]
    if not used:
        return states[:, :0], None
    return states[:, used], states.new_tensor([row[j] for j in used]).unsqueeze(1)


def _gram(states: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Σ_r w_r x_r x_rᵀ."""
    return torch.bmm((states * states.new_tensor(weights).unsqueeze(1)).transpose(1, 2), states)


def _mu_gradient(mu: Tensor, from_theta: Tensor | None, left: list[Tensor], right: list[Tensor]) -> Tensor:
    """The gradient with respect to μ: through θ at the end, summed over the batch, and through the stages."""
    total = torch.zeros_like(mu) if from_theta is None else from_theta.sum(0)
    if left:
        total.addmm_(torch.cat(left, 1).flatten(0, 1).T, torch.cat(right, 1).flatten(0, 1))
    return total


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for the next allocation instead of giving it back to the system.

    An episode at n = 1000 allocates and frees matrices of 4 MB all the time. By default glibc maps and unmaps each of
    them, and the kernel zeroes every page again; keeping them makes training several times faster. The same as the
    environment variables ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_``, which must be set before Python
    starts.

    Returns:
        Whether it was done: only where the C library is glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    trim_threshold, mmap_threshold = -1, -3
    # 32 MB is the largest threshold that glibc accepts.
    return bool(libc.mallopt(mmap_threshold, 32 << 20) and libc.mallopt(trim_threshold, 1 << 30))
