"""Eq. 6 as a right-hand side, and a step of it that sums ∫ a ∂f/∂μ dt as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ncode.solvers.captured import must_be_known
from ncode.solvers.norms import larger, ratios
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import Norm, RungeKutta, Tolerances, Weights, advance, clock, combine, leaves
from ncode.solvers.tableaus import Tableau

Products = list[Tensor | None]
"""a ∂f/∂μ + ∂ℓ/∂μ for every μ; ``None`` for what is not reached."""
Slope = tuple[State, Products]
"""(z, a/s)' and the integrand beside it."""


class System:
    """z' = f, (a/s)' = -(a ∂f/∂z + ∂ℓ/∂z)/s, and the integrand a ∂f/∂μ + ∂ℓ/∂μ, with s each sample's scale.

    Args:
        f: the forward solve's right-hand side.
        parameters: μ, what f captures and the gradient is asked of.
        known: where μ stand in autograd's graph.
        reached: filled with the positions of those μ that any evaluation reached.
        rest, costs: the parts of the state that feed back into nothing, and their constant adjoints.
    """

    def __init__(
        self,
        f: RightHandSide,
        parameters: Sequence[Tensor],
        known: set,
        reached: set[int],
        rest: Sequence[Tensor],
        costs: Sequence[Tensor],
    ):
        self.f, self.parameters, self.known, self.reached = f, tuple(parameters), known, reached
        self.rest, self.costs = tuple(rest), tuple(costs)
        self.scale: list[Tensor] = []
        # Compiled fields give up their buffers in the one gradient that is taken through them.
        self.keep = True

    def __call__(self, t: Tensor, x: State) -> State:
        """(z, a/s)' at (z, a/s)."""
        return self.scaled(t, x, False)[0]

    def scaled(self, t: Tensor, x: State, with_products: bool) -> tuple[State, Products]:
        """(z, a/s)' at (z, a/s), and where wanted the integrand."""
        n = len(self.scale)
        adjoint = [a * s for a, s in zip(x[n:], self.scale, strict=True)]
        velocity, growth, products = self.evaluate(t, x[:n], adjoint, with_products)
        return self.slope(velocity, growth), products

    def slope(self, velocity: State, growth: Sequence[Tensor]) -> State:
        """(z, a/s)' from z' and -a'."""
        return (*velocity, *(-g / s for g, s in zip(growth, self.scale, strict=True)))

    def look(
        self, t: float, state: State, adjoint: Sequence[Tensor], alike: Callable[[State], None] | None = None
    ) -> tuple[State, list[Tensor], Products]:
        """As :meth:`evaluate` with products, where f reaches nothing that no gradient is asked of.

        Once a stretch: a walk through the graph takes as long as a small field.

        Args:
            alike: is shown f, and may refuse it.

        Raises:
            RuntimeError: where it does.
        """

        def check(velocity: State, z: State) -> None:
            if alike is not None:
                alike(tuple(v.detach() for v in velocity))
            self.keep = must_be_known(velocity, z, t, self.known)

        return self.evaluate(clock(t, state), state, adjoint, True, check)

    def evaluate(
        self,
        t: Tensor,
        state: State,
        adjoint: Sequence[Tensor],
        with_products: bool,
        check: Callable[[State, State], None] | None = None,
    ) -> tuple[State, list[Tensor], Products]:
        """f, a ∂f/∂z + ∂ℓ/∂z, and where wanted a ∂f/∂μ + ∂ℓ/∂μ; ``check`` is shown f and z before."""
        inputs = self.parameters if with_products else ()
        with torch.enable_grad():
            z = leaves(state)
            velocity = self.f(t, (*z, *self.rest))
            if check is not None:
                check(velocity, z)
            pairs = [(v, a) for v, a in zip(velocity, (*adjoint, *self.costs), strict=True) if v.requires_grad]
            found: Products = [None] * len((*z, *inputs))
            if pairs:
                velocities, weights = zip(*pairs, strict=True)
                found = list(
                    torch.autograd.grad(velocities, (*z, *inputs), weights, allow_unused=True, retain_graph=self.keep)
                )
        n = len(z)
        self.reached.update(i for i, product in enumerate(found[n:]) if product is not None)
        zeros = [torch.zeros_like(x) if p is None else p for x, p in zip(z, found[:n], strict=True)]
        return tuple(v.detach() for v in velocity[:n]), zeros, found[n:]


class AdjointStep(RungeKutta):
    """A Runge-Kutta step of (z, a/s), whose stages' integrands are summed with the method's own weights.

    ∫ a ∂f/∂μ dt feeds back into nothing (Kidger, Chen and Lyons 2021), so it is no part of the state. A slope is a
    pair, of (z, a/s)' and of the integrand; what a step keeps of its stages is its share of the integral.

    Args:
        end: where the last step ends, whose slope there nobody asks for.

    Attributes:
        known: the first slope, where it is known already.
    """

    def __init__(self, tableau: Tableau, system: System, end: float):
        super().__init__(tableau, system)
        self.system, self.last = system, end
        self.known: Slope | None = None

    def start(self, t: float, x: State, w: Weights = ()) -> Slope:
        known, self.known = self.known, None
        return known or self.system.scaled(clock(t, x), x, True)

    def __call__(
        self, t: float, x: State, k1: Slope, h: float, tol: Tolerances | None = None, w: Weights = ()
    ) -> tuple[State, Slope | None, Tensor | None, list[Tensor]]:
        tableau, y = self.tableau, x
        slopes, integral = [k1[0]], [torch.zeros_like(p) for p in self.system.parameters]
        products = k1[1]
        _add(integral, products, h * tableau.b[0])
        # The last stage is the next step's first, where there is one.
        hands_on = tableau.fsal and h != self.last - t
        for i in range(1, tableau.stages):
            y = advance(x, h, tableau.a[i], slopes)
            wanted = tableau.b[i] != 0 or (hands_on and i == tableau.stages - 1)
            slope, products = self.system.scaled(clock(t + tableau.c[i] * h, x), y, wanted)
            slopes.append(slope)
            if tableau.b[i]:
                _add(integral, products, h * tableau.b[i])
        if not tableau.fsal:
            y = advance(x, h, tableau.b, slopes)
        errors = None if tol is None else ratios(combine(h, tableau.error, slopes), larger(x, y), *tol)
        return y, (slopes[-1], products) if hands_on else None, errors, integral

    def guess(self, t: float, x: State, k1: Slope, sign: float, tol: Tolerances, norm: Norm, w: Weights = ()) -> float:
        return super().guess(t, x, k1[0], sign, tol, norm, w)


def _add(totals: Sequence[Tensor], products: Products, weight: float) -> None:
    for total, part in zip(totals, products, strict=True):
        if part is not None:
            total.add_(part, alpha=weight)
