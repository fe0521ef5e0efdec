"""The models: each is a field, what sets its parameters, and a solver.

All map a batch of states x(0) to a batch of states x(T) of the same shape, and give the whole path on request.

======================================  ================================================
:class:`NeuralODE`                      x' = f(x, θ), one θ for all samples
:class:`AugmentedNeuralODE`             the same on [x, 0] in d + p dimensions
:class:`DataControlledODE`              x' = f([x : x(0)], θ)
:class:`NCODE`, open loop               x' = f(x, θ), θ = γ(x(0))
:class:`NCODE`, closed loop             x' = f(x, θ), θ' = g(θ, x, t)
======================================  ================================================
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, flag, function, instance, integer, optional, words
from ncode.controllers import OpenLoop
from ncode.fields.base import Field, Reads
from ncode.solvers.dispatch import solve
from ncode.solvers.errors import SolveError
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.times import Times


class Trajectory(NamedTuple):
    """A path: ``x`` (time, batch, …), the control's ``theta`` (time, batch, m) where there is one, at times ``t``."""

    t: Tensor
    x: Tensor
    theta: Tensor | None


class Problem(NamedTuple):
    """An initial value problem: z' = f(t, z), what f captures besides the field's own parameters, and θ at a z."""

    f: RightHandSide
    state: State
    captured: Sequence[Tensor] = ()
    control: Callable[[Sequence[Tensor]], Tensor | None] = lambda z: None


class Flow(nn.Module):
    """Base of the models: solves the initial value problem that a subclass poses.

    Args:
        field: the vector field f(t, x, θ).
        horizon: T, where the flow ends; negative to run backward in time.
        solver: how its initial value problem is solved.

    Raises:
        ValueError: when ``field`` is no :class:`~ncode.fields.base.Field`, or ``horizon`` makes no sense.

    Attributes:
        nfe: evaluations of the last call, forward and backward; of a failed one those before it failed.
    """

    @arguments(solver=optional(instance(Solver)))
    def __init__(self, field: Field, *, horizon: float = 1.0, solver: Solver | None = None):
        super().__init__()
        if not isinstance(field, Field):
            raise ValueError(f"field: must be an ncode.Field, not {type(field).__name__}")
        if not isinstance(horizon, Real):
            raise ValueError(f"horizon: must be a number, not {horizon!r}")
        if not math.isfinite(horizon) or horizon == 0:
            raise ValueError(f"horizon: must be finite and not zero, not {horizon}")
        self.field = field
        self.horizon = horizon
        self.solver = solver or Solver()
        self.nfe = NFE()
        self.owned: tuple[str, ...] = ()
        """The field's parameters that this model's controller has taken over."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample's x(0)."""
        return self.field.shape

    def problem(self, x0: Float[Tensor, "batch *state"]) -> Problem:
        """The initial value problem for ``x0``; its state's first part is x."""
        raise NotImplementedError(f"{type(self).__name__} must implement problem(x0)")

    def forward(self, x0: Float[Tensor, "batch *state"]) -> Float[Tensor, "batch ..."]:
        """x(T), the flow's end, of x(0)'s shape.

        Raises:
            SolveError: when the solve fails.
            ValueError: when ``x0`` has the wrong shape, dtype or device, is empty or not finite; when the first
                velocity that the field gives has another shape or dtype than the state, or the field changes it in
                place.
        """
        path, _ = self._path(x0, [0.0, self.horizon])
        return path[0][-1]

    def trajectory(self, x0: Float[Tensor, "batch *state"], t: Times) -> Trajectory:
        """The path through ``x0``, which holds at ``t[0]``, at the times ``t``.

        With dopri5 the times before the last are interpolated within its steps; any other adaptive method ends a step
        at every one of them.

        Raises:
            SolveError, ValueError: as :meth:`forward`.
        """
        path, problem = self._path(x0, t)
        times = t if isinstance(t, Tensor) else torch.tensor([float(time) for time in t], dtype=x0.dtype)
        return Trajectory(times.to(x0.device), path[0], self._control(path, problem))

    def solver_error(self, x0: Float[Tensor, "batch *state"], *, tolerance: float = 1e-10) -> Float[Tensor, " batch"]:
        """Every sample's global error at T: the distance to a tight reference solve in float64.

        A tolerance bounds each step's local error; how errors add up along the path is the field's doing. This
        measures it. The reference solves the same parameters by dopri8 at ``tolerance``, both in evaluation mode: what
        a dropout drops is no error of the solver.
        """
        training = [module for module in self.modules() if module.training]
        reference = copy.deepcopy(self).double().eval()
        reference.solver = Solver("dopri8", rtol=tolerance, atol=tolerance, max_nfe=1_000_000)
        nfe = self.nfe
        try:
            self.eval()
            with torch.no_grad():
                error = self(x0).double() - reference(x0.double())
        finally:
            self.nfe = nfe
            for module in training:
                module.training = True
        return error.flatten(1).norm(dim=1)

    def solve(self, f: RightHandSide, state: State, t: Times, captured: Sequence[Tensor], costs: int = 0) -> State:
        """One solve with this model's solver, of its own problem or of one built on it; sets :attr:`nfe`.

        Arguments as of :func:`ncode.solvers.dispatch.solve`; the field's parameters are captured besides.
        """
        # A call that fails must not leave another call's count.
        self.nfe = NFE()
        for part in state[1:]:
            if not torch.isfinite(part).all():
                # A controller's doing and not the caller's: in training it costs a step, as later in the solve.
                bad = int((~torch.isfinite(part.flatten(1)).all(1)).nonzero()[0])
                raise SolveError("non-finite values", bad, float(t[0]), 0, math.inf)
        names = [*("field", "g")[: len(state) - costs], *["running"] * costs]
        try:
            path, self.nfe = solve(f, state, t, self.solver, [*captured, *self.field.parameters()], costs, names)
        except SolveError as error:
            self.nfe = NFE(forward=error.nfe)
            raise
        return path

    def _path(self, x0: Tensor, t: Times) -> tuple[State, Problem]:
        self._check(x0)
        problem = self.problem(x0)
        return self.solve(problem.f, problem.state, t, problem.captured), problem

    def _control(self, path: State, problem: Problem) -> Tensor | None:
        return None

    def _check(self, x0: Tensor) -> None:
        if tuple(self.field.steered) != self.owned:
            raise ValueError(_taken(name for name in self.field.steered if name not in self.owned))
        shape = self.shape
        if not isinstance(x0, Tensor) or not x0.is_floating_point():
            raise ValueError(f"x0: must be a floating-point tensor, not {getattr(x0, 'dtype', type(x0).__name__)}")
        if tuple(x0.shape[1:]) != shape:
            raise ValueError(f"x0: must have shape (batch, {', '.join(map(str, shape))}), not {tuple(x0.shape)}")
        reference = next(self.parameters(), None)
        if reference is not None and (reference.dtype, reference.device) != (x0.dtype, x0.device):
            raise ValueError(f"x0: is {x0.dtype} on {x0.device}, the model {reference.dtype} on {reference.device}")


class NeuralODE(Flow):
    """x' = f(x, θ), with one θ for all samples (Eqs. 1 and 2; Chen et al. 2018).

    Args:
        field, horizon, solver: see :class:`Flow`.

    Raises:
        ValueError: when the field has a slot, which nothing here fills.
    """

    def __init__(self, field: Field, *, horizon: float = 1.0, solver: Solver | None = None):
        super().__init__(field, horizon=horizon, solver=solver)
        _no_slots(field)

    def problem(self, x0):
        return Problem(lambda t, z: (self.field(t, z[0], {}),), (x0,))


class AugmentedNeuralODE(Flow):
    """A neural ODE on the state augmented by p zeros, [x, 0] in d + p dimensions (Dupont et al. 2019).

    Args:
        field: in d + p dimensions, along the state's first dimension (features, or channels of an image).
        augment: p, the number of zeros.
        project: return x's d dimensions; otherwise all d + p, for a readout that sees the augmented state: only then
            has x(T) another shape than x(0).
        horizon, solver: see :class:`Flow`.

    Raises:
        ValueError: when ``augment`` leaves nothing of the field's dimensions for x, or the field has a slot.
    """

    @arguments(augment=integer(), project=flag)
    def __init__(
        self,
        field: Field,
        *,
        augment: int,
        project: bool = True,
        horizon: float = 1.0,
        solver: Solver | None = None,
    ):
        super().__init__(field, horizon=horizon, solver=solver)
        _no_slots(field)
        if not 0 < augment < field.shape[0]:
            raise ValueError(f"augment: must lie between 1 and {field.shape[0] - 1}, not {augment}")
        self.augment = augment
        self.project = project

    def problem(self, x0):
        zeros = x0.new_zeros(len(x0), self.augment, *x0.shape[2:])
        return Problem(lambda t, z: (self.field(t, z[0], {}),), (torch.cat([x0, zeros], dim=1),))

    def _path(self, x0, t):
        (path,), problem = super()._path(x0, t)
        return (path[:, :, : -self.augment] if self.project else path,), problem

    @property
    def shape(self):
        inner, *rest = self.field.shape
        return (inner - self.augment, *rest)


class DataControlledODE(Flow):
    """x' = f([x : x(0)], θ): the initial state stays in the field's sight (Massaroli et al. 2020; Section 3.1).

    Args:
        field: with a slot ``u`` of x's size, such as ``MLP(dim, inputs=dim)``.
        horizon, solver: see :class:`Flow`.

    Raises:
        ValueError: when the field has no such slot.
    """

    def __init__(self, field: Field, *, horizon: float = 1.0, solver: Solver | None = None):
        super().__init__(field, horizon=horizon, solver=solver)
        if field.slots.get("u") != field.shape:
            raise ValueError(f"field: needs a slot 'u' of shape {field.shape}, has {field.slots.get('u')}")

    def problem(self, x0):
        return Problem(lambda t, z: (self.field(t, z[0], {"u": x0}),), (x0,), captured=(x0,))


class NCODE(Flow):
    """A neural ODE whose parameters a controller sets for every sample (Eq. 4).

    x' = f(x, θ) with θ(0) = γ(x(0)), and either θ' = 0 (open loop) or θ' = g(θ, x, t) (closed loop). Without γ all
    samples share one learned θ(0). In the open loop θ is constant, so it is a parameter of the solve and is not
    integrated; in the closed loop the state is the pair (x, θ).

    Args:
        field: whose parameters are steered; it hands them over (see :meth:`ncode.fields.base.Field.release`).
        gamma: γ, from x(0) (batch, …) to θ(0) (batch, m): :class:`~ncode.controllers.OpenLoop`,
            :class:`~ncode.controllers.DataControl` or any module or function of these shapes.
        g: from (t, x, θ) to θ' (batch, m): :class:`~ncode.controllers.ClosedLoop` or any module or function of these
            shapes. A function's parameters are no parameters of the model.
        steer: which of the field's parameters, by name or shell pattern. The others stay the field's own.
        horizon, solver: see :class:`Flow`.

    Raises:
        ValueError: when there is neither γ nor g, ``steer`` matches nothing, another model's controller owns some of
            the field, a steered parameter is tied to another, or γ gives another number of control variables. The
            field is then as it was. At the end of the first solve over the whole horizon, when the field has not read
            a parameter that is steered.
    """

    @arguments(gamma=optional(function), g=optional(function), steer=words)
    def __init__(
        self,
        field: Field,
        *,
        gamma: Callable[[Tensor], Tensor] | None = None,
        g: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        steer: str | Iterable[str] = "*",
        horizon: float = 1.0,
        solver: Solver | None = None,
    ):
        super().__init__(field, horizon=horizon, solver=solver)
        if gamma is None and g is None:
            raise ValueError("gamma, g: N-CODE needs at least one controller")
        if field.steered:
            raise ValueError(_taken(field.steered))
        if isinstance(gamma, OpenLoop):
            # Before the field hands anything over.
            gamma.must_give(field.size(steer))
        start = field.release(steer)
        self.owned = tuple(field.steered)
        # A slot has no value that could be missed.
        self.unread = set(field.steered) - set(field.slots)
        self.m = len(start)
        self.gamma, self.g = gamma, g
        if isinstance(gamma, OpenLoop):
            gamma.start_from(start)
        if gamma is None:
            self.theta0 = nn.Parameter(start)

    def initial_control(self, x0: Float[Tensor, "batch *state"]) -> Float[Tensor, "batch m"]:
        """θ(0) of every sample.

        Raises:
            ValueError: when γ gives something else than m numbers a sample.
        """
        if self.gamma is None:
            return self.theta0.expand(len(x0), -1)
        theta = self.gamma(x0)
        if tuple(theta.shape) != (len(x0), self.m):
            raise ValueError(f"gamma: must give shape {(len(x0), self.m)}, not {tuple(theta.shape)}")
        return theta

    def problem(self, x0):
        theta0 = self.initial_control(x0)
        if self.g is None:
            values = self._unpack(theta0)
            return Problem(
                lambda t, z: (self.field(t, z[0], values),), (x0,), captured=(theta0,), control=lambda z: theta0
            )

        def coupled(t, z):
            x, theta = z
            return self.field(t, x, self._unpack(theta)), self.g(t, x, theta)

        captured = tuple(self.g.parameters()) if isinstance(self.g, nn.Module) else ()
        return Problem(coupled, (x0, theta0), captured, control=lambda z: z[1])

    def solve(self, f, state, t, captured, costs=0):
        try:
            path = super().solve(f, state, t, captured, costs)
        except (AttributeError, TypeError) as error:
            # A parameter that was handed over is None to the module that had it.
            if self.unread and "NoneType" in str(error):
                raise ValueError(_not_read(self.unread)) from error
            raise
        # Some may be read only later than a short solve gets.
        if self.unread and float(abs(t[-1] - t[0])) > 0.999 * abs(self.horizon):
            raise ValueError(_not_read(self.unread))
        return path

    # No closer type: in the tests a checked one would read a value itself.
    def _unpack(self, theta: Tensor) -> dict:
        values = self.field.unpack(theta)
        return Reads(values, self.unread) if self.unread else values

    def _control(self, path, problem):
        if self.g is None:
            # What made the path: asked again, a γ with dropout would give another control.
            return problem.control([part[0] for part in path]).expand(len(path[0]), -1, -1)
        return path[1]


def _taken(names: Iterable[str]) -> str:
    return f"field: {', '.join(names)} already belongs to another model's controller: give every model its own field"


def _not_read(names: Iterable[str]) -> str:
    return (
        f"field: never reads the steered {', '.join(sorted(names))}: forward must take such a parameter with "
        "self.value(name, theta) and apply it with ncode.fields.per_sample, since a module called as it is knows only "
        "its own"
    )


def _no_slots(field: Field) -> None:
    if open_ := [name for name in field.slots if name not in field.steered]:
        raise ValueError(f"field: its slot {', '.join(open_)} needs something that fills it: data control or N-CODE")


def find_flows(model: nn.Module) -> list[Flow]:
    """Every flow inside ``model``, itself included: whose evaluations a training loop counts."""
    return [module for module in model.modules() if isinstance(module, Flow)]
