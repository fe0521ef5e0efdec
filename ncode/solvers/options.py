"""The options of a solve, and its count of evaluations."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field, replace
from numbers import Integral, Real

from torch import Tensor

from ncode.solvers.norms import NORMS
from ncode.solvers.rosenbrock import IMPLICIT
from ncode.solvers.stepsize import CONTROLLERS
from ncode.solvers.tableaus import TABLEAUS

EXPLICIT = tuple(name for name, method in TABLEAUS.items() if method.adaptive)
ADAPTIVE = (*EXPLICIT, *IMPLICIT)
FIXED = tuple(name for name, method in TABLEAUS.items() if not method.adaptive)


CHOSEN = ("first_step", "min_step", "max_step", "jumps", "controller")
"""Options of how an adaptive method chooses its steps."""
OWN = (*CHOSEN, "independent")
"""Options that only the library's own engine has."""


@dataclass(frozen=True)
class Solver:
    """How an initial value problem is solved.

    Args:
        method: adaptive (``dopri5``, ``tsit5``, ``dopri8``, ``bosh3``, ``adaptive_heun``, ``fehlberg2``),
            implicit for stiff fields (``rodas4``, see :mod:`ncode.solvers.rosenbrock`), or with
            fixed steps (``euler``, ``midpoint``, ``heun``, ``heun3``, ``rk4``): see :mod:`ncode.solvers.tableaus`.
        rtol, atol: the *local* error that one adaptive step may make, relative and absolute; a tuple gives one for
            every part of the state. They bound no global error: see :meth:`~ncode.models.flow.Flow.solver_error`.
        steps: of a method with fixed steps: how many equal steps one solve takes from its first time to its last,
            whatever lies between. 10 where neither this nor ``step_size`` is given.
        step_size: of a method with fixed steps, instead of ``steps``: the length of a step, in units of time. A solve
            takes as few equal steps as are no longer.
        gradients: ``"direct"``, backpropagation through the steps that were taken; ``"checkpointed"``, the same
            gradient, in memory that grows as the steps' square root: steps are taken again, backward; or
            ``"adjoint"``, a second solve backward in time whose memory does not grow with the number of steps.
        norm: ``"worst"`` accepts a step when the RMS error of the worst sample is within tolerance; ``"mean"``
            averages over the batch too, as torchdiffeq does by itself, and lets single samples go wrong.
        max_nfe: the step limit, in evaluations of the right-hand side; a solve that needs more fails before it
            spends them, and so does the adjoint's backward pass.
        checkpoints: with the adjoint, how many states of the forward solve are kept at most, evenly over its steps.
            The backward solve restarts from each. More cost memory and save evaluations where the state cannot be
            found back over a long stretch.
        refine: with the adjoint, what happens where the state found backward misses a checkpoint: ``True`` solves
            that stretch again with more checkpoints, until it does not; ``False`` goes on with a
            :class:`ncode.solvers.adjoint.theorem_1.ReconstructionWarning`, and a gradient that may be anything.
        first_step: length of the first adaptive step to try; found from the field where none is given.
        min_step: the shortest adaptive step; a solve that would need a shorter one fails.
        max_step: the longest adaptive step, so that none passes over what happens in between.
        jumps: times at which the right-hand side jumps. An adaptive step ends at each, and the next begins with an
            evaluation of its own. Fixed steps know none: end a solve at each, and begin the next there.
        controller: ``"I"``, where a step's error alone decides the next length, or ``"PI"``, where the last one's
            does as well: fewer rejected steps where stability limits them.
        backend: ``"ncode"``, or ``"torchdiffeq"`` to have that library take the steps: the tests' reference. It
            has direct gradients only, and no step options.
        kernels: let fields that know their own vector-Jacobian product compute with it (see
            :mod:`ncode.fields.kernels`); otherwise every field goes through autograd.
        independent: every sample takes steps of its own, as if it were alone: with its own times, lengths, error,
            controller and failure, so that nothing of it depends on who else is in the batch. Samples that have arrived
            are evaluated no more where the right-hand side is a model's. At equal worst-sample error it pays where few
            samples need most of the steps. Where horizons differ much it saves evaluations; where all samples need
            about as many steps, shared ones are faster (the book's page on performance). Gradients are direct or
            checkpointed.
        compiled: compile such a field's steps by ``torch.compile``, which needs a C++ compiler. The first solve of
            every shape takes seconds longer.

    Raises:
        ValueError: naming the option that makes no sense; where both ``steps`` and ``step_size`` are given, or either
            with an adaptive method; where an option of adaptive steps is given with fixed ones.
    """

    method: str = "dopri5"
    _: KW_ONLY
    rtol: float | tuple[float, ...] = 1e-3
    atol: float | tuple[float, ...] = 1e-3
    steps: int | None = None
    step_size: float | None = None
    gradients: str = "direct"
    norm: str = "worst"
    max_nfe: int = 10_000
    checkpoints: int = 16
    refine: bool = True
    first_step: float | None = None
    min_step: float = 0.0
    max_step: float = math.inf
    jumps: tuple[float, ...] = ()
    controller: str = "I"
    backend: str = "ncode"
    kernels: bool = True
    compiled: bool = False
    independent: bool = False

    def __post_init__(self):
        for name, known in {
            "method": ADAPTIVE + FIXED,
            "gradients": ("direct", "checkpointed", "adjoint"),
            "norm": tuple(NORMS),
            "controller": tuple(CONTROLLERS),
            "backend": ("ncode", "torchdiffeq"),
        }.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not one of {', '.join(known)}")
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            for part in value if isinstance(value, tuple) and value else (value,):
                _must_lie(name, part, 0.0)
        fixed = [name for name in ("steps", "step_size") if getattr(self, name) is not None]
        if "step_size" in fixed:
            _must_lie("step_size", self.step_size, 0.0)
        for name, least in (("steps", 1), ("max_nfe", 1), ("checkpoints", 0)):
            value = getattr(self, name)
            if (name != "steps" or name in fixed) and (not isinstance(value, Integral) or value < least):
                raise ValueError(f"{name}: must be an integer, at least {least}, not {value!r}")
        if len(fixed) == 2:
            raise ValueError("steps, step_size: one says what the other would; give one of them")
        if fixed and self.adaptive:
            raise ValueError(f"{fixed[0]}: {self.method} chooses its own steps; fixed steps take {', '.join(FIXED)}")
        chosen = [name for name in CHOSEN if getattr(self, name) != getattr(type(self), name)]
        if chosen and not self.adaptive:
            raise ValueError(
                f"{chosen[0]}: {self.method} has fixed steps, which steps or step_size say; of others choose a method "
                f"among {', '.join(ADAPTIVE)}, or end a solve at a jump and begin the next there"
            )
        for name in ("refine", "kernels", "compiled", "independent"):
            if getattr(self, name) not in (True, False):
                raise ValueError(f"{name}: must be True or False, not {getattr(self, name)!r}")
        if self.method in IMPLICIT and self.gradients != "direct":
            raise ValueError(f"gradients: {self.method} has direct ones, not {self.gradients}")
        self._check_steps()
        if self.independent:
            self._check_independent()

    def _check_independent(self) -> None:
        for name, refused, why in (
            ("method", not self.adaptive, "has fixed steps, which are everybody's; adaptive ones choose theirs"),
            ("method", self.method in IMPLICIT, f"shares its steps; {', '.join(EXPLICIT)} need not"),
            (
                "gradients",
                self.gradients == "adjoint",
                "solves all samples back together; direct and checkpointed do not",
            ),
            ("norm", self.norm == "mean", "averages over the samples; each has its own error"),
            ("compiled", self.compiled, "is one step of all samples; compiled=False takes each its own"),
        ):
            if refused:
                raise ValueError(f"independent: {name}={getattr(self, name)!r} {why}")

    def _check_steps(self) -> None:
        if self.first_step is not None:
            _must_lie("first_step", self.first_step, 0.0)
        if self.min_step != 0:
            _must_lie("min_step", self.min_step, 0.0)
        if self.max_step != math.inf:
            _must_lie("max_step", self.max_step, 0.0)
        if self.min_step > self.max_step:
            raise ValueError(f"min_step: is {self.min_step}, longer than max_step, {self.max_step}")
        for jump in self.jumps:
            _must_lie("jumps", jump, -math.inf)
        if self.backend == "torchdiffeq":
            own = [name for name in OWN if getattr(self, name) != getattr(type(self), name)]
            if self.gradients != "direct" or self.method in ("tsit5", *IMPLICIT) or own:
                raise ValueError(
                    "backend: torchdiffeq has direct gradients, neither tsit5 nor rodas4, one tolerance for all "
                    f"parts, and none of {', '.join(OWN)}"
                )

    @property
    def adaptive(self) -> bool:
        return self.method in ADAPTIVE

    def count(self, first: float, last: float) -> int:
        """The number of equal fixed steps that a solve takes from ``first`` to ``last``."""
        if self.step_size is None:
            return self.steps or 10
        # No sliver of a step where the interval is no float multiple of the step, in float32 as in float64.
        slack = max(1e-6, 5e-7 * max(abs(first), abs(last)) / self.step_size)
        return max(1, math.ceil(abs(last - first) / self.step_size - slack))

    def for_stretches(self, duration: float) -> Solver:
        """The same for solves of stretches of an interval of length ``duration``: with steps as long as there."""
        if self.adaptive or self.step_size is not None:
            return self
        return replace(self, steps=None, step_size=abs(duration) / (self.steps or 10))


def _must_lie(name: str, value: object, low: float, high: float = math.inf) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"{name}: must be a number, not {value!r}")
    if value <= low or not value < high:
        raise ValueError(f"{name}: must be {'positive and finite' if low == 0 else 'finite'}, not {value}")


@dataclass
class NFE:
    """Number of function evaluations of one solve, or of all that were handed this count.

    ``backward`` is what a gradient took once it has run, where it evaluates the right-hand side: the adjoint's solve,
    the steps that are taken again for checkpointed gradients. Direct gradients evaluate nothing.

    ``samples`` is, of an independent solve, how many each sample needed for itself; ``forward`` counts the calls of the
    right-hand side, those included in which accepted steps are taken again for a gradient.
    """

    forward: int = 0
    backward: int = 0
    samples: Tensor | None = field(default=None, compare=False, repr=False)
