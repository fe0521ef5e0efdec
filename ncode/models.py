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
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, flag, function, instance, integer, optional, words
from ncode.controllers import ClosedLoop, Controller
from ncode.fields.base import Field, not_read
from ncode.fields.kernels import Coupled, Kernel
from ncode.fields.probe import look
from ncode.fields.wrap import Wrapped
from ncode.solvers.dispatch import integrate, not_finite
from ncode.solvers.errors import SolveError
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.times import Times, read


class Trajectory(NamedTuple):
    """A path: ``x`` (time, batch, …), the control's ``theta`` (time, batch, m) where there is one, at times ``t``."""

    t: Tensor
    x: Tensor
    theta: Tensor | None


class Problem(NamedTuple):
    """An initial value problem z' = f(t, z).

    Attributes:
        f: the right-hand side.
        state: the parts of z(t[0]); the first is x, the second θ where it moves, the last ``costs`` are running costs.
        captured: what f captures besides the field's own parameters.
        control: θ at a z, from its parts.
        costs: how many of the last parts feed back into nothing.
        kernel: f as arithmetic with its own gradient, where it has that form.
    """

    f: RightHandSide
    state: State
    captured: Sequence[Tensor] = ()
    control: Callable[[Sequence[Tensor]], Tensor | None] = lambda z: None
    costs: int = 0
    kernel: Kernel | None = None


class Flow(nn.Module):
    """Base of the models: solves the initial value problem that a subclass poses.

    Args:
        field: the vector field f(t, x, θ): a :class:`~ncode.fields.base.Field`, or any module of (x) or of (t, x),
            which is then wrapped (:class:`~ncode.fields.wrap.Wrapped`).
        shape: of one sample's state, for a module that is no field and where something has to know it before the first
            x(0): a controller that the model sizes, or an augmentation. A field has its own.
        horizon: T, where the flow ends; negative to run backward in time.
        solver: how its initial value problem is solved.

    Raises:
        ValueError: when ``field`` is no module, ``shape`` is not the field's, or ``horizon`` makes no sense.

    Attributes:
        nfe: evaluations of the last call, forward and backward; of a failed one those before it failed.
    """

    @arguments(solver=optional(instance(Solver)))
    def __init__(
        self,
        field: nn.Module,
        *,
        shape: Sequence[int] | None = None,
        horizon: float = 1.0,
        solver: Solver | None = None,
    ):
        super().__init__()
        self.field = _as_field(field, shape)
        if not isinstance(horizon, Real):
            raise ValueError(f"horizon: must be a number, not {horizon!r}")
        if not math.isfinite(horizon) or horizon == 0:
            raise ValueError(f"horizon: must be finite and not zero, not {horizon}")
        self.horizon = horizon
        self.solver = solver or Solver()
        self.nfe = NFE()
        self.owned: tuple[str, ...] = ()
        """The field's parameters that this model's controller has taken over."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one sample's x(0); ``None`` where any will do."""
        return self.field.shape

    def extra_repr(self) -> str:
        return f"horizon={self.horizon:g}, solver={_written(self.solver)}"

    def problem(self, x0: Float[Tensor, "batch *state"]) -> Problem:
        """The initial value problem for ``x0``; its state's first part is x."""
        raise NotImplementedError(f"{type(self).__name__} must implement problem(x0)")

    def pose(self, x0: Float[Tensor, "batch *state"]) -> Problem:
        """:meth:`problem`, for an ``x0`` that was checked.

        Raises:
            ValueError: when ``x0`` has the wrong shape, dtype or device, or another model steers the field.
        """
        self._check(x0)
        return self.problem(x0)

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

        With dopri5, tsit5 and bosh3 the times before the last are read off within their steps, about as exactly as
        the steps are; any other adaptive method ends a step at every one of them. Fixed steps are read off, too.

        Raises:
            SolveError, ValueError: as :meth:`forward`.
        """
        path, problem = self._path(x0, t)
        times = t if isinstance(t, Tensor) else torch.tensor(read(t)[0], dtype=x0.dtype)
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
        return error.reshape(len(error), -1).norm(dim=1)

    def integrate(self, problem: Problem, t: Times) -> State:
        """The path of a problem that this model poses, or of one built on it, at the times ``t``; sets :attr:`nfe`.

        Raises:
            SolveError: when the solve fails, or begins at a control that is not finite: a controller's doing, which in
                training costs a step.
            ValueError: when x(0) is not finite.
        """
        # A call that fails must not leave another call's count.
        self.nfe = NFE()
        if bad := not_finite(problem.state):
            part, sample = bad
            if part == 0:
                raise ValueError(f"x0: sample {sample} is not finite")
            raise SolveError("non-finite values", sample, float(t[0]), 0, math.inf)
        names = [*("field", "g")[: len(problem.state) - problem.costs], *["running"] * problem.costs]
        captured = [*problem.captured, *self.field.parameters()]
        try:
            path, self.nfe = integrate(
                problem.f, problem.state, t, self.solver, captured, problem.costs, names, kernel=problem.kernel
            )
        except SolveError as error:
            self.nfe = NFE(forward=error.nfe)
            raise
        return path

    def _path(self, x0: Tensor, t: Times) -> tuple[State, Problem]:
        problem = self.pose(x0)
        return self.integrate(problem, t), problem

    def _control(self, path: State, problem: Problem) -> Tensor | None:
        return None

    def _kernel(self, x0: Tensor, theta: Tensor | None = None, u: Tensor | None = None) -> Kernel | None:
        """The field's kernel, if the solver wants it."""
        return self.field.bind(x0, theta, u) if self.solver.kernels else None

    def _check(self, x0: Tensor) -> None:
        if tuple(self.field.steered) != self.owned:
            raise ValueError(_taken(name for name in self.field.steered if name not in self.owned))
        shape = self.shape
        if not isinstance(x0, Tensor) or not x0.is_floating_point():
            raise ValueError(f"x0: must be a floating-point tensor, not {getattr(x0, 'dtype', type(x0).__name__)}")
        if x0.dim() == 0 or (shape is not None and tuple(x0.shape[1:]) != shape):
            sizes = "batch, …" if shape is None else ", ".join(["batch", *map(str, shape)])
            raise ValueError(f"x0: must have shape ({sizes}), not {tuple(x0.shape)}")
        # Not len: an exporter would take the batch at hand for the only one.
        if x0.shape[0] == 0:
            raise ValueError("x0: the batch is empty")
        reference = next(self.parameters(), None)
        if reference is not None and (reference.dtype, reference.device) != (x0.dtype, x0.device):
            raise ValueError(f"x0: is {x0.dtype} on {x0.device}, the model {reference.dtype} on {reference.device}")


class NeuralODE(Flow):
    """x' = f(x, θ), with one θ for all samples (Eqs. 1 and 2; Chen et al. 2018).

    Args:
        field, shape, horizon, solver: see :class:`Flow`.

    Raises:
        ValueError: when the field has a slot, which nothing here fills.
    """

    def __init__(
        self,
        field: nn.Module,
        *,
        shape: Sequence[int] | None = None,
        horizon: float = 1.0,
        solver: Solver | None = None,
    ):
        super().__init__(field, shape=shape, horizon=horizon, solver=solver)
        _no_slots(self.field)

    def problem(self, x0):
        return Problem(lambda t, z: (self.field(t, z[0]),), (x0,), kernel=self._kernel(x0))


class AugmentedNeuralODE(Flow):
    """A neural ODE on the state augmented by p zeros, [x, 0] in d + p dimensions (Dupont et al. 2019).

    Args:
        field: in d + p dimensions, along the state's first dimension (features, or channels of an image).
        augment: p, the number of zeros.
        project: return x's d dimensions; otherwise all d + p, for a readout that sees the augmented state: only then
            has x(T) another shape than x(0).
        shape, horizon, solver: see :class:`Flow`; a ``shape`` has d + p dimensions, too.

    Raises:
        ValueError: when ``augment`` leaves nothing of the field's dimensions for x, or the field has a slot.
    """

    @arguments(augment=integer(), project=flag)
    def __init__(
        self,
        field: nn.Module,
        *,
        augment: int,
        project: bool = True,
        shape: Sequence[int] | None = None,
        horizon: float = 1.0,
        solver: Solver | None = None,
    ):
        super().__init__(field, shape=shape, horizon=horizon, solver=solver)
        _no_slots(self.field)
        most = math.inf if self.field.shape is None else self.field.shape[0] if self.field.shape else 0
        if not 0 < augment < most:
            raise ValueError(f"augment: must lie between 1 and {most - 1}, as the field's shape allows, not {augment}")
        self.augment = augment
        self.project = project

    def problem(self, x0):
        zeros = x0.new_zeros(x0.shape[0], self.augment, *x0.shape[2:])
        x0 = torch.cat([x0, zeros], dim=1)
        return Problem(lambda t, z: (self.field(t, z[0]),), (x0,), kernel=self._kernel(x0))

    def _path(self, x0, t):
        (path,), problem = super()._path(x0, t)
        return (path[:, :, : -self.augment] if self.project else path,), problem

    def extra_repr(self) -> str:
        return f"augment={self.augment}, project={self.project}, {super().extra_repr()}"

    @property
    def shape(self) -> tuple[int, ...] | None:
        if self.field.shape is None:
            return None
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
        kernel = self._kernel(x0, u=x0)
        return Problem(lambda t, z: (self.field(t, z[0], {"u": x0}),), (x0,), captured=(x0,), kernel=kernel)


class NCODE(Flow):
    """A neural ODE whose parameters a controller sets for every sample (Eq. 4).

    x' = f(x, θ) with θ(0) = γ(x(0)), and either θ' = 0 (open loop) or θ' = g(θ, x, t) (closed loop). Without γ all
    samples share one learned θ(0). In the open loop θ is constant, so it is a parameter of the solve and is not
    integrated; in the closed loop the state is the pair (x, θ).

    Before its first solve the model evaluates the field once more than :attr:`nfe` counts, in evaluation mode, to see
    that it takes its control from θ and that every sample's velocity depends on no other sample's control. Where it
    has not read all that is steered it is asked at further times up to the horizon.

    Args:
        field: whose parameters are steered; it hands them over (see :meth:`ncode.fields.base.Field.release`). Any
            module will do (see :class:`Flow`).
        gamma: γ, from x(0) (batch, …) to θ(0) (batch, m): :class:`~ncode.controllers.OpenLoop`,
            :class:`~ncode.controllers.DataControl` or any module or function of these shapes.
        g: from (t, x, θ) to θ' (batch, m): :class:`~ncode.controllers.ClosedLoop` or any module or function of these
            shapes. A function's parameters are no parameters of the model.
        steer: which of the field's parameters, by name or shell pattern. The others stay the field's own.
        shape, horizon, solver: see :class:`Flow`.

    A :class:`~ncode.controllers.Controller` is sized and checked here, where the model is built. What an arbitrary
    module or function gives is checked when it is first called, which is not before the first solve: it is never run
    for a check alone.

    Raises:
        ValueError: when there is neither γ nor g, ``steer`` matches nothing, another model's controller owns some of
            the field, a steered parameter is tied to another, or γ or g has another size than the field. The field is
            then as it was. Before the first solve, when the field does not read a parameter that is steered, or gives
            one sample the control of another.
    """

    @arguments(gamma=optional(function), g=optional(function), steer=words)
    def __init__(
        self,
        field: nn.Module,
        *,
        gamma: Callable[[Tensor], Tensor] | None = None,
        g: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        steer: str | Iterable[str] = "*",
        shape: Sequence[int] | None = None,
        horizon: float = 1.0,
        solver: Solver | None = None,
    ):
        super().__init__(field, shape=shape, horizon=horizon, solver=solver)
        if gamma is None and g is None:
            raise ValueError("gamma, g: N-CODE needs at least one controller")
        if self.field.steered:
            raise ValueError(_taken(self.field.steered))
        names = self.field.names(steer)
        start = self.field.start(names)
        for controller in (gamma, g):
            # Before the field hands anything over.
            if isinstance(controller, Controller):
                controller.attach(self.field, names)
        self.field.release(names)
        self.owned = tuple(self.field.steered)
        # A slot has no value that could be missed.
        self._unread = set(self.owned) - set(self.field.slots)
        self._coupled: bool | None = None
        self.m = len(start)
        self.gamma, self.g = gamma, g
        if gamma is None:
            self.theta0 = nn.Parameter(start)

    def extra_repr(self) -> str:
        by = [f"{name} ({_called(one)})" for name, one in (("gamma", self.gamma), ("g", self.g)) if one is not None]
        return f"steered={', '.join(self.owned)} (m = {self.m}) by {' and '.join(by)}, {super().extra_repr()}"

    def initial_control(self, x0: Float[Tensor, "batch *state"]) -> Float[Tensor, "batch m"]:
        """θ(0) of every sample.

        Raises:
            ValueError: when γ gives something else than m numbers a sample.
        """
        if self.gamma is None:
            return self.theta0.expand(x0.shape[0], -1)
        theta = _calling("gamma", self.gamma, x0)
        if not isinstance(theta, Tensor) or tuple(theta.shape) != (x0.shape[0], self.m):
            shape = tuple(theta.shape) if isinstance(theta, Tensor) else type(theta).__name__
            raise ValueError(f"gamma: must give shape {(x0.shape[0], self.m)}, not {shape}")
        return theta

    def problem(self, x0):
        theta0 = self.initial_control(x0)
        self._must_steer(x0, theta0)
        g = self.g
        if g is None:
            kernel = self._kernel(x0, theta0)
            values = {} if kernel else self.field.unpack(theta0)

            def steered(t, z):
                # Where a kernel computes, no value may be needed at all.
                values.update({} if values else self.field.unpack(theta0))
                return (self.field(t, z[0], values),)

            return Problem(steered, (x0,), captured=(theta0,), control=lambda z: theta0, kernel=kernel)

        def coupled(t, z):
            x, theta = z
            return self.field(t, x, self.field.unpack(theta)), _calling("g", g, t, x, theta)

        captured = tuple(g.parameters()) if isinstance(g, nn.Module) else ()
        kernel = self._coupled_kernel(x0, theta0)
        return Problem(coupled, (x0, theta0), captured, control=lambda z: z[1], kernel=kernel)

    def _coupled_kernel(self, x0: Tensor, theta0: Tensor) -> Kernel | None:
        if not self.solver.kernels or not isinstance(self.g, ClosedLoop) or x0.dim() != 2:
            return None
        field = self.field.bind(x0, theta0, moving=True)
        g = self.g.bind(x0.new_empty(x0.shape[0], x0.shape[1] + self.m))
        return Coupled(field, g, x0.shape[1], self.m) if field and g else None

    def _must_steer(self, x0: Tensor, theta0: Tensor) -> None:
        """Raise where the field leaves some of its control unread, or gives a sample the control of another.

        Once a model; the second again where the first batch was of one sample, which has nobody's control but its own.
        """
        if (not self._unread and self._coupled is not None) or torch.compiler.is_compiling():
            return
        times = (self.horizon * i / _TIMES for i in _SPREAD)
        try:
            for time in times:
                reads, coupled = look(self.field, time, x0, theta0)
                self._unread -= reads
                if len(x0) > 1:
                    self._coupled = coupled
                if not self._unread:
                    break
        except Exception:
            # The solve meets the same, and says whose it is.
            self._unread, self._coupled = set(), False
        if unread := self._unread:
            raise ValueError(not_read(unread))
        if self._coupled:
            self._coupled = None
            raise ValueError(
                "field: one sample's velocity depends on another sample's control: a steered parameter arrives with "
                "the batch as its first dimension and must meet x along it (see ncode.fields.per_sample)"
            )

    def _control(self, path, problem):
        if self.g is None:
            # What made the path: asked again, a γ with dropout would give another control.
            theta = problem.control([part[0] for part in path])
            return None if theta is None else theta.expand(len(path[0]), -1, -1)
        return path[1]


_TIMES = 64
"""A field may read a parameter at some times only: it is asked at this many before it is said never to read one."""
_SPREAD = (0, *(i for step in (64, 32, 16, 8, 4, 2, 1) for i in range(step, _TIMES + 1, 2 * step)))
"""The numbers up to it, coarse before fine."""


def _as_field(field: nn.Module, shape: Sequence[int] | None) -> Field:
    if isinstance(field, Field):
        if shape is not None and tuple(shape) != field.shape:
            raise ValueError(f"shape: {tuple(shape)} is not the field's, {field.shape}")
        return field
    if not isinstance(field, nn.Module):
        raise ValueError(f"field: must be an ncode.Field or any other nn.Module, not {type(field).__name__}")
    return Wrapped(field, shape=shape)


def _calling(name: str, controller: Callable, *arguments: Tensor) -> Tensor:
    try:
        return controller(*arguments)
    except Exception as error:
        shapes = ", ".join(str(tuple(argument.shape)) for argument in arguments)
        error.add_note(f"{name}: raised this when it was called with arguments of shape {shapes}")
        raise


def _called(controller: Callable) -> str:
    return type(controller).__name__ if isinstance(controller, nn.Module) else getattr(controller, "__name__", "?")


def _written(solver: Solver) -> str:
    """A solver by its method and what differs from the defaults."""
    differing = [
        f"{field.name}={value!r}"
        for field in dataclasses.fields(solver)
        if field.name != "method" and (value := getattr(solver, field.name)) != field.default
    ]
    return f"Solver({', '.join([repr(solver.method), *differing])})"


def _taken(names: Iterable[str]) -> str:
    return f"field: {', '.join(names)} already belongs to another model's controller: give every model its own field"


def _no_slots(field: Field) -> None:
    if open_ := [name for name in field.slots if name not in field.steered]:
        raise ValueError(f"field: its slot {', '.join(open_)} needs something that fills it: data control or N-CODE")


@arguments(model=instance(nn.Module))
def find_flows(model: nn.Module) -> list[Flow]:
    """Every flow inside ``model``, itself included: whose evaluations a training loop counts."""
    return [module for module in model.modules() if isinstance(module, Flow)]
