"""Base of the models: a field, an initial value problem, and the solver that it is given to."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, instance, optional
from ncode.fields.base import Field
from ncode.fields.kernels import Kernel
from ncode.fields.wrap import Wrapped
from ncode.inputs import Filled, Input, fill
from ncode.modes import evaluating
from ncode.solvers.dispatch import integrate, not_finite
from ncode.solvers.errors import SolveError
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.rounds import Only
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
        only: f for some samples alone, given their indices, where it can be had.
        reading: f that reads other tensors in place of those ``captured``, in their order, where it can be had; a
            module's parameters among them it reads where they are.
    """

    f: RightHandSide
    state: State
    captured: Sequence[Tensor] = ()
    control: Callable[[Sequence[Tensor]], Tensor | None] = lambda z: None
    costs: int = 0
    kernel: Kernel | None = None
    only: Only | None = None
    reading: Callable[[Sequence[Tensor]], RightHandSide] | None = None

    @property
    def names(self) -> list[str]:
        """What gives each part of z', for error messages."""
        return [*("field", "g")[: len(self.state) - self.costs], *["running"] * self.costs]


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

    def problem(self, x0: Float[Tensor, "batch *state"], u: Input | None = None) -> Problem:
        """The initial value problem for ``x0`` and the input ``u``; its state's first part is x."""
        raise NotImplementedError(f"{type(self).__name__} must implement problem(x0)")

    def pose(self, x0: Float[Tensor, "batch *state"], u: Input | None = None) -> Problem:
        """:meth:`problem`, for an ``x0`` that was checked.

        Raises:
            ValueError: when ``x0`` has the wrong shape, dtype or device, or another model steers the field; when
                ``u`` is missing, does not fit or has no slot in the field.
        """
        self._check(x0)
        return self.problem(x0) if u is None else self.problem(x0, u)

    def forward(self, x0: Float[Tensor, "batch *state"], u: Input | None = None) -> Float[Tensor, "batch ..."]:
        """x(T), the flow's end, of x(0)'s shape.

        Args:
            u: the input that fills the field's slot ``u`` where no controller does: (batch, …), or a function of the
                time that gives it, such as :class:`ncode.inputs.Interpolated`. Gradients reach it.

        Raises:
            SolveError: when the solve fails.
            ValueError: when ``x0`` has the wrong shape, dtype or device, is empty or not finite; when the first
                velocity that the field gives has another shape or dtype than the state, or the field changes it in
                place; when ``u`` is missing, does not fit or has no slot in the field.
        """
        path, _ = self._path(x0, [0.0, self.horizon], u)
        return path[0][-1]

    def trajectory(self, x0: Float[Tensor, "batch *state"], t: Times, u: Input | None = None) -> Trajectory:
        """The path through ``x0``, which holds at ``t[0]``, at the times ``t``; ``u`` is as for :meth:`forward`.

        With dopri5, tsit5 and bosh3 the times before the last are read off within their steps, about as exactly as
        the steps are; any other adaptive method ends a step at every one of them. Fixed steps are read off, too.

        Raises:
            SolveError, ValueError: as :meth:`forward`.
        """
        path, problem = self._path(x0, t, u)
        times = t if isinstance(t, Tensor) else torch.tensor(read(t)[0], dtype=x0.dtype)
        return Trajectory(times.to(x0.device), path[0], self._control(path, problem))

    def solver_error(
        self, x0: Float[Tensor, "batch *state"], u: Input | None = None, *, tolerance: float = 1e-10
    ) -> Float[Tensor, " batch"]:
        """Every sample's global error at T: the distance to a tight reference solve in float64.

        A tolerance bounds each step's local error; how errors add up along the path is the field's doing. This
        measures it. The reference solves the same parameters by dopri8 at ``tolerance``, with the solver's ``jumps``
        and ``max_step``, both in evaluation mode: what a dropout drops is no error of the solver.
        """
        own = self.solver
        reference = copy.deepcopy(self).double().eval()
        # What the field does at a jump or for a short time, no tolerance tells a step that passes over it.
        reference.solver = Solver(
            "dopri8", rtol=tolerance, atol=tolerance, max_nfe=1_000_000, max_step=own.max_step, jumps=own.jumps
        )
        nfe = self.nfe
        try:
            with evaluating(self), torch.no_grad():
                error = self(x0, u).double() - reference(x0.double(), u)
        finally:
            self.nfe = nfe
        return error.reshape(len(error), -1).norm(dim=1)

    def integrate(self, problem: Problem, t: Times) -> State:
        """The path of a problem that this model poses, or of one built on it, at the times ``t``; sets :attr:`nfe`.

        Raises:
            SolveError: when the solve fails, or begins at a control that is not finite: a controller's doing, which in
                training costs a step.
            ValueError: when x(0) is not finite.
        """
        self._begin(problem, t)
        captured = [*problem.captured, *self.field.parameters()]
        try:
            path, self.nfe = integrate(
                problem.f,
                problem.state,
                t,
                self.solver,
                captured,
                problem.costs,
                problem.names,
                kernel=problem.kernel,
                only=problem.only,
            )
        except SolveError as error:
            self.nfe = NFE(forward=error.nfe)
            raise
        return path

    def _begin(self, problem: Problem, t: Times) -> None:
        """Count anew, and raise as :meth:`integrate` does where the problem begins at what is not finite."""
        # A call that fails must not leave another call's count.
        self.nfe = NFE()
        if bad := not_finite(problem.state):
            part, sample = bad
            if part == 0:
                raise ValueError(f"x0: sample {sample} is not finite")
            raise SolveError("non-finite values", sample, float(t[0]), 0, math.inf)

    def _path(self, x0: Tensor, t: Times, u: Input | None = None) -> tuple[State, Problem]:
        problem = self.pose(x0, u)
        x, *rest = self.integrate(problem, t)
        return (self._shown(x), *rest), problem

    def _shown(self, x: Float[Tensor, "time batch ..."]) -> Float[Tensor, "time batch ..."]:
        """What callers see of a path's x."""
        return x

    def _control(self, path: State, problem: Problem) -> Tensor | None:
        return None

    def _uncontrolled(self, x0: Tensor, u: Input | None, before: Tensor | None = None) -> Problem:
        """x' = f(t, x) with the field's slot ``u`` filled."""
        filled = fill(self.field, x0, u, before)
        kernel = None if filled.varies else self._kernel(x0, u=filled.constant)

        def following(filled: Filled) -> RightHandSide:
            return lambda t, z: (self.field(t, z[0], filled.at(t)),)

        return Problem(
            following(filled),
            (x0,),
            filled.captured,
            kernel=kernel,
            only=None if filled.varies else lambda rows: following(filled.only(rows)),
            reading=None if filled.varies else lambda captured: following(filled.reading(captured)),
        )

    def _kernel(self, x0: Tensor, theta: Tensor | None = None, u: Tensor | None = None) -> Kernel | None:
        """The field's kernel, if the solver wants it."""
        return self.field.bind(x0, theta, u) if self.solver.kernels else None

    def _check(self, x0: Tensor) -> None:
        if tuple(self.field.steered) != self.owned:
            raise ValueError(taken(name for name in self.field.steered if name not in self.owned))
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


def _as_field(field: nn.Module, shape: Sequence[int] | None) -> Field:
    if isinstance(field, Field):
        if shape is not None and tuple(shape) != field.shape:
            raise ValueError(f"shape: {tuple(shape)} is not the field's, {field.shape}")
        return field
    if not isinstance(field, nn.Module):
        raise ValueError(f"field: must be an ncode.Field or any other nn.Module, not {type(field).__name__}")
    return Wrapped(field, shape=shape)


def _written(solver: Solver) -> str:
    """A solver by its method and what differs from the defaults."""
    differing = [
        f"{field.name}={value!r}"
        for field in dataclasses.fields(solver)
        if field.name != "method" and (value := getattr(solver, field.name)) != field.default
    ]
    return f"Solver({', '.join([repr(solver.method), *differing])})"


def no_open_slots(field: Field, steered: Collection[str] = ()) -> None:
    """Raise where a field has a slot that neither a call, which fills ``u``, nor a controller fills.

    Args:
        steered: what a controller is about to take over.
    """
    if left := [name for name in field.slots if name not in field.steered and name not in steered and name != "u"]:
        raise ValueError(f"field: its slot {', '.join(left)} needs something that fills it: data control or N-CODE")


def taken(names: Iterable[str]) -> str:
    """Words for a field that has a controller already."""
    return f"field: {', '.join(names)} already belongs to another model's controller: give every model its own field"


@arguments(model=instance(nn.Module))
def find_flows(model: nn.Module) -> list[Flow]:
    """Every flow inside ``model``, itself included: whose evaluations a training loop counts."""
    return [module for module in model.modules() if isinstance(module, Flow)]
