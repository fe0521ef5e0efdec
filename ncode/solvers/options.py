"""The options of a solve, and its count of evaluations."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral, Real

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "adaptive_heun", "fehlberg2")
FIXED = ("euler", "midpoint", "heun3", "rk4")


@dataclass(frozen=True)
class Solver:
    """How an initial value problem is solved.

    Args:
        method: adaptive (``dopri5``, ``dopri8``, ``bosh3``, ``adaptive_heun``, ``fehlberg2``) or with fixed steps
            (``euler``, ``midpoint``, ``heun3``, ``rk4``).
        rtol, atol: the *local* error that one adaptive step may make, relative and absolute. They bound no global
            error: see :meth:`~ncode.models.Flow.solver_error`.
        steps: of a method with fixed steps: how many equal steps one solve takes from its first time to its last,
            whatever lies between. 10 where neither this nor ``step_size`` is given.
        step_size: of a method with fixed steps, instead of ``steps``: the length of a step, in units of time. A solve
            takes as few equal steps as are no longer.
        gradients: ``"direct"``, backpropagation through the solver's steps, or ``"adjoint"``, a second solve
            backward in time whose memory does not grow with the number of steps.
        norm: ``"worst"`` accepts a step when the RMS error of the worst sample is within tolerance; ``"mean"``
            averages over the batch too, as torchdiffeq does by itself, and lets single samples go wrong.
        max_nfe: the step limit, in evaluations of the right-hand side; a solve that needs more fails, and so does
            the adjoint's backward pass.
        checkpoints: with the adjoint, how many states of the forward solve are kept at most, evenly over its steps.
            The backward solve restarts from each. More cost memory and save evaluations where the state cannot be
            found back over a long stretch.
        refine: with the adjoint, what happens where the state found backward misses a checkpoint: ``True`` solves
            that stretch again with more checkpoints, until it does not; ``False`` goes on with a
            :class:`ncode.solvers.adjoint.theorem_1.ReconstructionWarning`, and a gradient that may be anything.

    Raises:
        ValueError: naming the option that makes no sense; where both ``steps`` and ``step_size`` are given, or either
            with an adaptive method.
    """

    method: str = "dopri5"
    _: KW_ONLY
    rtol: float = 1e-3
    atol: float = 1e-3
    steps: int | None = None
    step_size: float | None = None
    gradients: str = "direct"
    norm: str = "worst"
    max_nfe: int = 10_000
    checkpoints: int = 16
    refine: bool = True

    def __post_init__(self):
        if self.method not in ADAPTIVE + FIXED:
            raise ValueError(f"method: {self.method!r} is not one of {', '.join(ADAPTIVE + FIXED)}")
        if self.gradients not in ("direct", "adjoint"):
            raise ValueError(f"gradients: {self.gradients!r} is neither 'direct' nor 'adjoint'")
        if self.norm not in ("worst", "mean"):
            raise ValueError(f"norm: {self.norm!r} is neither 'worst' nor 'mean'")
        fixed = [name for name in ("steps", "step_size") if getattr(self, name) is not None]
        for name in ("rtol", "atol", "step_size"):
            if name in ("rtol", "atol", *fixed):
                _positive(name, getattr(self, name))
        for name, least in (("steps", 1), ("max_nfe", 1), ("checkpoints", 0)):
            value = getattr(self, name)
            if (name != "steps" or name in fixed) and (not isinstance(value, Integral) or value < least):
                raise ValueError(f"{name}: must be an integer, at least {least}, not {value!r}")
        if len(fixed) == 2:
            raise ValueError("steps, step_size: one says what the other would; give one of them")
        if fixed and self.adaptive:
            raise ValueError(f"{fixed[0]}: {self.method} chooses its own steps; fixed steps take {', '.join(FIXED)}")
        if self.refine not in (True, False):
            raise ValueError(f"refine: must be True or False, not {self.refine!r}")

    @property
    def adaptive(self) -> bool:
        return self.method in ADAPTIVE

    def count(self, first: float, last: float, eps: float) -> int:
        """The number of equal fixed steps that a solve takes from ``first`` to ``last``.

        Args:
            eps: the relative precision that the times were rounded to, which may be more than a millionth of a step.
        """
        if self.step_size is None:
            return self.steps or 10
        # No sliver of a step where the interval is no float multiple of the step.
        slack = max(1e-6, 4 * eps * max(abs(first), abs(last)) / self.step_size)
        return max(1, math.ceil(abs(last - first) / self.step_size - slack))

    def for_stretches(self, duration: float) -> Solver:
        """The same for solves of stretches of an interval of length ``duration``: with steps as long as there."""
        if self.adaptive or self.step_size is not None:
            return self
        return replace(self, steps=None, step_size=abs(duration) / (self.steps or 10))


def _positive(name: str, value: object) -> None:
    if not isinstance(value, Real):
        raise ValueError(f"{name}: must be a number, not {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: must be positive and finite, not {value}")


@dataclass
class NFE:
    """Number of function evaluations of one solve.

    ``backward`` is what the adjoint's solve took, once it has run; direct gradients evaluate no right-hand side.
    """

    forward: int = 0
    backward: int = 0
