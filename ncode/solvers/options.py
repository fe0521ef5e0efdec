"""The options of a solve, and its count of evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
        horizon: T, where the flow ends; negative to run backward in time.
        steps: number of fixed steps over the horizon; ignored by the adaptive methods.
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
        kernels: let fields that know their own vector-Jacobian product compute with it (see
            :mod:`ncode.fields.kernels`); otherwise every field goes through autograd.

    Raises:
        ValueError: naming the option that makes no sense.
    """

    method: str = "dopri5"
    rtol: float = 1e-3
    atol: float = 1e-3
    horizon: float = 1.0
    steps: int = 10
    gradients: str = "direct"
    norm: str = "worst"
    max_nfe: int = 10_000
    checkpoints: int = 16
    refine: bool = True
    kernels: bool = True

    def __post_init__(self):
        if self.method not in ADAPTIVE + FIXED:
            raise ValueError(f"method: {self.method!r} is not one of {', '.join(ADAPTIVE + FIXED)}")
        if self.gradients not in ("direct", "adjoint"):
            raise ValueError(f"gradients: {self.gradients!r} is neither 'direct' nor 'adjoint'")
        if self.norm not in ("worst", "mean"):
            raise ValueError(f"norm: {self.norm!r} is neither 'worst' nor 'mean'")
        for name in ("rtol", "atol", "horizon"):
            if not isinstance(getattr(self, name), Real):
                raise ValueError(f"{name}: must be a number, not {getattr(self, name)!r}")
        for name in ("rtol", "atol"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: must be positive and finite, not {getattr(self, name)}")
        if not math.isfinite(self.horizon) or self.horizon == 0:
            raise ValueError(f"horizon: must be finite and not zero, not {self.horizon}")
        for name, least in (("steps", 1), ("max_nfe", 1), ("checkpoints", 0)):
            if not isinstance(getattr(self, name), Integral) or getattr(self, name) < least:
                raise ValueError(f"{name}: must be an integer, at least {least}, not {getattr(self, name)!r}")
        if self.refine not in (True, False):
            raise ValueError(f"refine: must be True or False, not {self.refine!r}")

    @property
    def adaptive(self) -> bool:
        return self.method in ADAPTIVE


@dataclass
class NFE:
    """Number of function evaluations of one solve.

    ``backward`` is what the adjoint's solve took, once it has run; direct gradients evaluate no right-hand side.
    """

    forward: int = 0
    backward: int = 0
