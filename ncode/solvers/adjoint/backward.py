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
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torchdiffeq import odeint

from ncode.solvers.adjoint.graph import edges, walk
from ncode.solvers.errors import SolveError
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.torchdiffeq import finite, integrate, per_sample

DEEPEST = 20
"""How often a stretch may be halved before the adjoint gives up."""


class ReconstructionWarning(UserWarning):
    """The state found backward missed a checkpoint: the gradient is not to be trusted."""


class Node(NamedTuple):
    """A state on the forward path at time ``t``, and the loss's gradient there where it has one."""

    t: Tensor
    state: State
    gradient: State | None = None


class Checkpoints:
    """Keeps the states at which a forward solve's steps began, at most ``limit``, evenly thinned.

    Attributes:
        times, states: what is kept; the first step begins at the solve's own start and is not.
        dt: the length proposed for the last step, before it was cut to end at T.
    """

    def __init__(self, limit: int):
        self.limit, self.stride, self.count = limit, 1, 0
        self.times: list[Tensor] = []
        self.states: list[State] = []
        self.dt: float | None = None

    def begin(self, dt: Tensor) -> None:
        self.dt = float(dt)

    def accept(self, t: Tensor, state: State, dt: Tensor) -> None:
        if self.count and self.limit and self.count % self.stride == 0:
            self.times.append(t)
            self.states.append(state)
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
    ):
        self.f, self.solver, self.nfe, self.parts = f, solver, nfe, parts
        self.parameters, self.first_step = tuple(parameters), first_step
        self.known = edges(parameters)
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
            miss = torch.full((len(end.state[0]),), math.inf)
        miss = torch.nan_to_num(miss, nan=math.inf)
        found = bool((miss <= 1).all())
        if found or not refine:
            if not found:
                self.missed.append((float(miss.max()), int(miss.argmax()), float(end.t)))
            self.first_step = step
            for total, part in zip(self.quadratures, quadratures, strict=True):
                total += part
            return carried
        if depth == DEEPEST and failure is not None:
            raise failure
        if depth == DEEPEST:
            sample = int(miss.argmax())
            size = float(per_sample(end.state[: self.parts])[sample])
            raise SolveError("state not reconstructed", sample, float(end.t), self.nfe.backward, size)
        middle = self._between(end, start)
        adjoint = self._stretch(start, middle, adjoint, depth + 1)
        return self._stretch(middle, end, adjoint, depth + 1)

    def _between(self, start: Node, end: Node) -> Node:
        """A checkpoint halfway, from the forward solve again."""
        t = (start.t + end.t) / 2
        with torch.no_grad():
            path = integrate(self.f, start.state, torch.stack([start.t, t]), self.solver, self.nfe, backward=True)
        return Node(t, tuple(part[-1] for part in path))

    def _solve(self, start: Node, end: Node, adjoint: list[Tensor]):
        """State, adjoint and quadratures at ``end``, and the length of the last step that was proposed."""
        n = self.parts
        self.evaluated = True
        system = _System(self.f, self.parameters, self.known, self.reached, self.solver, start, end, adjoint, n)
        initial = (*start.state[:n], *(a / s for a, s in zip(adjoint, system.scale, strict=False)))
        # A state that runs away makes the field ever steeper: such an attempt is cut short.
        limit = self.nfe.backward + 4 * self.nfe.forward + 200 if self.solver.refine else None
        path = integrate(
            system,
            initial,
            torch.stack([start.t, end.t]),
            self.solver,
            self.nfe,
            backward=True,
            steps=system,
            first_step=self.first_step,
            limit=limit,
        )
        if not finite(system.quadratures):
            # A sum over the whole batch: no single sample stands out.
            size = float(per_sample(end.state[:n]).max())
            raise SolveError("non-finite values", None, float(end.t), self.nfe.backward, size)
        last = [part[-1] for part in path]
        carried = [a * s for a, s in zip(last[n:], system.scale, strict=True)]
        return last[:n], [*carried, *adjoint[n:]], system.quadratures, system.dt


class _System:
    """The right-hand side (z, a/s)' = (f, -(a ∂f/∂z + ∂ℓ/∂z)/s), with s each sample's scale.

    It looks on as the solver takes its steps, and sums ∫(a ∂f/∂μ + ∂ℓ/∂μ)dt from their stages.
    """

    def __init__(self, f, parameters, known, reached: set[int], solver, start: Node, end: Node, adjoint, parts: int):
        self.f, self.parameters, self.known, self.parts = f, parameters, known, parts
        self.costs, self.rest = adjoint[parts:], start.state[parts:]
        self.weights, self.adaptive = stage_weights(solver.method), solver.adaptive
        self.quadratures = [torch.zeros_like(p) for p in parameters]
        self.pending: list[Tensor] = []
        self.reached = reached
        self.stage = 0
        self.dt = 0.0
        # ∫ runs with the forward solve, steps have positive lengths.
        self.sign = 1.0 if start.t > end.t else -1.0
        # Once a stretch: a walk through the graph takes as long as a small field.
        self.look = True
        self.first = self.evaluate(start.t.to(start.state[0].dtype), start.state[:parts], adjoint[:parts], True)
        self.look = False
        self.start_product = self.product
        self.scale = _scale(adjoint[:parts], self.first[1], float((end.t - start.t).abs()))

    def evaluate(self, t: Tensor, state: State, adjoint: Sequence[Tensor], with_parameters: bool):
        """f, a ∂f/∂z + ∂ℓ/∂z, and where wanted a ∂f/∂μ + ∂ℓ/∂μ, which is kept as ``product``."""
        inputs = self.parameters if with_parameters else ()
        with torch.enable_grad():
            z = tuple(part.detach().requires_grad_() for part in state)
            velocity = self.f(t, (*z, *self.rest))
            if self.look:
                self._must_be_known(velocity, z, t)
            pairs = [(v, a) for v, a in zip(velocity, (*adjoint, *self.costs), strict=True) if v.requires_grad]
            # The graph of what was declared with a history is shared by all evaluations: keep it.
            products = [None] * len((*z, *inputs))
            if pairs:
                velocities, weights = zip(*pairs, strict=True)
                products = torch.autograd.grad(velocities, (*z, *inputs), weights, allow_unused=True, retain_graph=True)
        n = self.parts
        if with_parameters:
            self.product = list(products[n:])
            self.reached.update(i for i, product in enumerate(self.product) if product is not None)
        zeros = [torch.zeros_like(x) if p is None else p for x, p in zip(z, products[:n], strict=True)]
        return [v.detach() for v in velocity[:n]], zeros

    def _must_be_known(self, velocity: State, z: State, t: Tensor) -> None:
        """Raise a ``RuntimeError`` where f reaches a leaf that no gradient is asked of."""
        leaves, _ = walk(edges(velocity), self.known | edges(z))
        if leaves:
            raise RuntimeError(
                f"f reaches a tensor of shape {tuple(leaves[0].shape)} at t = {float(t):.6g} that it does not reach at "
                "the first time, and that needs a gradient, which would be lost: make it a parameter of the field, "
                "name it (solve's parameters, path_cost's captured), or use gradients='direct'"
            )

    def __call__(self, t: Tensor, state: State) -> State:
        if self.first is not None:
            # The solver's first evaluation is the one that the scale came from.
            (velocity, product), self.first = self.first, None
            if not self.adaptive:
                self._count(self.product)
        else:
            self.stage += 1
            weight = self.weights[self.stage]
            adjoint = [a * s for a, s in zip(state[self.parts :], self.scale, strict=True)]
            # The last stage of an adaptive method is the next step's first.
            wanted = weight != 0 or (self.adaptive and self.stage == len(self.weights) - 1)
            velocity, product = self.evaluate(t, state[: self.parts], adjoint, wanted)
            self._count(self.product)
        return (*velocity, *(-p / s for p, s in zip(product, self.scale, strict=True)))

    def _count(self, product: Sequence[Tensor | None]) -> None:
        weight = self.weights[self.stage]
        for total, part in zip(self.pending, product, strict=True) if weight else ():
            if part is not None:
                total.add_(part, alpha=weight)

    def begin(self, dt: Tensor) -> None:
        self.dt = float(dt)
        self.pending = [torch.zeros_like(p) for p in self.parameters]
        # An adaptive method knows a step's first stage from the step before; a fixed one evaluates it in the step.
        self.stage = 0 if self.adaptive or self.first is not None else -1
        if self.adaptive:
            self._count(self.start_product)

    def accept(self, t: Tensor, state: State, dt: Tensor) -> None:
        self.start_product = self.product
        for total, part in zip(self.quadratures, self.pending, strict=True):
            total.add_(part, alpha=self.sign * float(dt))


@cache
def stage_weights(method: str) -> tuple[float, ...]:
    """The weights b of the method's stages, z(t + h) = z(t) + h Σ b_k f_k, in the order of its evaluations.

    Found by one step of the solver on z' = e_k, the k-th unit vector at its k-th evaluation.
    """
    most, calls = 32, 0

    def unit(t: Tensor, z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.eye(most, dtype=torch.float64)[calls - 1]

    start, t = torch.zeros(most, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    # A tolerance that accepts any step.
    options = {"first_step": 1.0} if Solver(method).adaptive else {}
    end = odeint(unit, start, t, method=method, rtol=1e6, atol=1e6, options=options)[-1]
    return tuple(float(b) if abs(b) > 1e-12 else 0.0 for b in end[:calls])


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
    for a, b in zip(found, kept, strict=True):
        tolerances = (solver.atol, solver.rtol) if solver.adaptive else (1e-3, 1e-3)
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
