"""The adjoint's backward solve: from checkpoint to checkpoint, each state found back and compared with the one kept.

Three things make it right and affordable.

*Checkpoints.* Where the dynamics contract, solving z backward multiplies every error exponentially, and the gradient
is wrong by any number of orders of magnitude without a sign of it. So z restarts from the states that the forward
solve kept, and where it misses the next one, the stretch is solved again with more of them.

*Quadratures outside the state.* ∫ a ∂f/∂μ dt feeds back into nothing (Kidger, Chen and Lyons 2021). It is summed here,
from the stages of the steps that were taken and with the method's own weights, instead of being carried through the
solver. In the open loop, where μ holds every sample's θ, that is most of what there is to compute.

*Scale.* The equation is linear in the adjoint, so each sample's is scaled to unit size: an absolute tolerance then
means the same whether the loss was summed or averaged.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ncode.solvers.adjoint.graph import edges
from ncode.solvers.adjoint.system import AdjointStep, System
from ncode.solvers.engine import end_of, steps
from ncode.solvers.errors import SolveError
from ncode.solvers.finite import finite
from ncode.solvers.norms import Tolerance, of, per_sample
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import RungeKutta, Taken
from ncode.solvers.tableaus import TABLEAUS

DEEPEST = 20
"""How often a stretch may be halved before the adjoint gives up."""


class ReconstructionWarning(UserWarning):
    """The state found backward missed a checkpoint: the gradient is not to be trusted."""


class Node(NamedTuple):
    """A state on the forward path at time ``t``, and the loss's gradient there where it has one."""

    t: float
    state: State
    gradient: State | None = None


class Checkpoints:
    """Keeps the states at which a forward solve's steps began, at most ``limit``, evenly thinned.

    Attributes:
        times, states: what is kept; the first step begins at the solve's own start and is not.
        dt: the length proposed for the last step, before it was cut to end at T.
        slope: f where the last step ended, which a method whose last stage is the next step's first has computed.
    """

    def __init__(self, limit: int):
        self.limit, self.stride, self.count = limit, 1, 0
        self.times: list[float] = []
        self.states: list[State] = []
        self.dt: float | None = None
        self.slope: State | None = None

    def look(self, taken: Taken) -> None:
        """Keep the state where a step that was taken began, or not."""
        self.dt, self.slope = taken.length or None, taken.k_last
        if self.count and self.limit and self.count % self.stride == 0:
            self.times.append(taken.t)
            self.states.append(taken.x)
            if len(self.times) > self.limit:
                self.stride *= 2
                self.times, self.states = self.times[1::2], self.states[1::2]
        self.count += 1


class Backward:
    """Solves Eq. 6 from the last node to the first.

    Args:
        f: the forward solve's right-hand side.
        parameters: what f captures and the gradient is asked of.
        parts: how many parts of the state there are before the costs.
        first_step: length of the first step to try.
        alike: is shown the velocity at the first of the nodes, and may refuse it.

    Attributes:
        evaluated: whether there was anything to solve.
        reached: positions of the parameters that any evaluation reached.
    """

    def __init__(
        self,
        f: RightHandSide,
        solver: Solver,
        nfe: NFE,
        parameters: Sequence[Tensor],
        parts: int,
        first_step: float | None,
        alike: Callable[[State], None] | None = None,
    ):
        self.f, self.nfe, self.parts, self.alike = f, nfe, parts, alike
        # The adjoint's parts after the state's.
        self.solver = replace(solver, rtol=_twice(solver.rtol, parts), atol=_twice(solver.atol, parts))
        self.parameters, self.first_step = tuple(parameters), first_step
        self.known = edges(parameters)
        self.tableau = TABLEAUS[solver.method]
        self.quadratures = [torch.zeros_like(p) for p in parameters]
        self.missed: list[tuple[float, int, float]] = []
        self.reached: set[int] = set()
        self.evaluated = False

    def __call__(self, nodes: Sequence[Node]) -> tuple[list[Tensor], list[Tensor]]:
        """The adjoint at the last of ``nodes``, which run against the forward solve, and ∫ a ∂f/∂μ dt."""
        adjoint = [torch.zeros_like(part) for part in nodes[0].state]
        for node, following in zip(nodes, [*nodes[1:], None], strict=True):
            if node.gradient is not None:
                adjoint = [a + jump for a, jump in zip(adjoint, node.gradient, strict=True)]
            if following is not None and any(a.any() for a in adjoint):
                adjoint = self._stretch(node, following, adjoint, 0)
        if self.missed:
            _warn(*max(self.missed))
        return adjoint, self.quadratures

    def _stretch(self, start: Node, end: Node, adjoint: list[Tensor], depth: int) -> list[Tensor]:
        """The adjoint at ``end`` from that at ``start``, the later of the two in the forward solve."""
        refine, failure = self.solver.refine and self.solver.adaptive, None
        try:
            state, carried, quadratures, step = self._solve(start, end, adjoint)
            miss = _miss(state, end.state[: self.parts], self.solver)
        except SolveError as error:
            failure = error
            if not refine or self.nfe.backward >= self.solver.max_nfe:
                raise
            miss = torch.zeros(len(end.state[0]))
            miss[error.sample or 0] = math.inf
        miss = torch.nan_to_num(miss, nan=math.inf)
        found = bool((miss <= 1).all())
        if found or not refine:
            if not found:
                self.missed.append((float(miss.max()), int(miss.argmax()), end.t))
            self.first_step = step
            for total, part in zip(self.quadratures, quadratures, strict=True):
                total += part
            return carried
        if depth == DEEPEST and failure is not None:
            raise failure
        if depth == DEEPEST:
            sample = int(miss.argmax())
            size = float(per_sample(end.state[: self.parts])[sample])
            raise SolveError("state not reconstructed", sample, end.t, self.nfe.backward, size)
        middle = self._between(end, start, miss)
        adjoint = self._stretch(start, middle, adjoint, depth + 1)
        return self._stretch(middle, end, adjoint, depth + 1)

    def _between(self, start: Node, end: Node, miss: Tensor) -> Node:
        """A checkpoint halfway, from the forward solve again."""
        t = (start.t + end.t) / 2
        with torch.no_grad():
            step, times = RungeKutta(self.tableau, self.f), [start.t, t]
            again = steps(step, start.state, times, self.solver, self.nfe, "backward", blame=miss)
            return Node(t, end_of(again, start.state))

    def _solve(self, start: Node, end: Node, adjoint: list[Tensor]):
        """State, adjoint and quadratures at ``end``, and the length of the last step that was proposed."""
        n = self.parts
        self.evaluated = True
        system = System(self.f, self.parameters, self.known, self.reached, start.state[n:], adjoint[n:])
        # Of the first stretch alone.
        alike, self.alike = self.alike, None
        velocity, growth, products = system.look(start.t, start.state[:n], adjoint[:n], alike)
        scale = _scale(adjoint[:n], growth, abs(end.t - start.t))
        system.scale = scale
        step = AdjointStep(self.tableau, system, end.t)
        step.known = system.slope(velocity, growth), products
        initial = (*start.state[:n], *(a / s for a, s in zip(adjoint, scale, strict=False)))
        # A state that runs away makes the field ever steeper: such an attempt is cut short.
        limit = self.nfe.backward + 4 * self.nfe.forward + 200 if self.solver.refine else None
        quadratures, last, length = [torch.zeros_like(p) for p in self.parameters], initial, self.first_step
        with torch.no_grad():
            for taken in steps(
                step, initial, [start.t, end.t], self.solver, self.nfe, "backward", limit, self.first_step
            ):
                # Backward in the forward solve's time, and so with the other sign.
                for total, part in zip(quadratures, taken.stages, strict=True):
                    total.sub_(part)
                last, length = taken.y, taken.length or None
        if not finite(quadratures):
            # A sum over the whole batch: no single sample stands out.
            size = float(per_sample(end.state[:n]).max())
            raise SolveError("non-finite values", None, end.t, self.nfe.backward, size)
        carried = [a * s for a, s in zip(last[n:], scale, strict=True)]
        return last[:n], [*carried, *adjoint[n:]], quadratures, length


def _twice(tolerance: Tolerance, parts: int) -> Tolerance:
    return tolerance if isinstance(tolerance, int | float) else 2 * tuple(of(tolerance, i) for i in range(parts))


def _scale(adjoint: Sequence[Tensor], product: Sequence[Tensor], length: float) -> list[Tensor]:
    """Every sample's size of a, shaped to divide each part.

    Where a is zero, as at T without a terminal cost, the size that it is about to have; too small is on the safe
    side, since the relative tolerance takes over as a grows.
    """
    sizes, growth = per_sample(adjoint), length * per_sample(product)
    sizes = torch.where(sizes > 0, sizes, torch.where(growth > 0, growth, 1.0))
    return [sizes.reshape(-1, *[1] * (a.dim() - 1)) for a in adjoint]


def _miss(found: Sequence[Tensor], kept: Sequence[Tensor], solver: Solver) -> Tensor:
    """Every sample's distance between the state found back and the one kept, over what is allowed.

    Allowed are a hundred tolerances, since errors add up over a stretch's steps, or half the digits that a tolerance
    asks for where that is stricter. Fixed steps have no tolerance: three per cent.
    """
    ratios = []
    for i, (a, b) in enumerate(zip(found, kept, strict=True)):
        tolerances = (of(solver.atol, i), of(solver.rtol, i)) if solver.adaptive else (1e-3, 1e-3)
        atol, rtol = (max(tolerance, 10 * torch.finfo(b.dtype).eps) for tolerance in tolerances)
        allowed = min(100 * atol, atol**0.5) + min(100 * rtol, rtol**0.5) * per_sample([b])
        ratios.append(per_sample([a - b]) / allowed)
    return torch.stack(ratios).amax(0)


def _warn(miss: float, sample: int, t: float) -> None:
    warnings.warn(
        f"The adjoint's backward solve missed the state at t = {t:.6g} by {miss:.3g} times what is allowed (sample "
        f"{sample}): the gradient is not to be trusted. Raise checkpoints or steps, or use gradients='direct'.",
        ReconstructionWarning,
        stacklevel=3,
    )
