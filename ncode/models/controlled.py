"""The paper's model: a neural ODE whose parameters a controller sets for every sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, function, optional, words
from ncode.controllers import ClosedLoop, Controller
from ncode.fields.base import not_read
from ncode.fields.kernels import Coupled, Kernel
from ncode.fields.probe import look
from ncode.inputs import Filled, fill
from ncode.models.flow import Flow, Problem, no_open_slots, taken
from ncode.solvers.options import Solver
from ncode.tracing import readable


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
        ValueError: when there is neither γ nor g, ``steer`` matches nothing or leaves a slot other than ``u`` open,
            another model's controller owns some of the field, a steered parameter is tied to another, or γ or g has
            another size than the field. The field is then as it was. Before the first solve, when the field does not
            read a parameter that is steered, or gives one sample the control of another.
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
            raise ValueError(taken(self.field.steered))
        names = self.field.names(steer)
        no_open_slots(self.field, names)
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

    def problem(self, x0, u=None):
        theta0 = self.initial_control(x0)
        filled = fill(self.field, x0, u)
        self._must_steer(x0, theta0, filled)
        g = self.g
        if g is None:
            kernel = None if filled.varies else self._kernel(x0, theta0, filled.constant)

            def steered(theta, filled):
                values = {}

                def f(t, z):
                    # Not before they are needed: a kernel may compute, and what is compiled with γ has γ's whole
                    # gradient behind it, for every evaluation.
                    values.update({} if values else self.field.unpack(theta))
                    return (self.field(t, z[0], {**values, **filled.at(t)}),)

                return f

            return Problem(
                steered(theta0, filled),
                (x0,),
                captured=(theta0, *filled.captured),
                control=lambda z: theta0,
                kernel=kernel,
                only=None if filled.varies else lambda rows: steered(theta0[rows], filled.only(rows)),
                reading=None if filled.varies else lambda c: steered(c[0], filled.reading(c[1:])),
            )

        def following(filled):
            def coupled(t, z):
                x, theta = z
                return self.field(t, x, {**self.field.unpack(theta), **filled.at(t)}), _calling("g", g, t, x, theta)

            return coupled

        captured = tuple(g.parameters()) if isinstance(g, nn.Module) else ()
        kernel = self._coupled_kernel(x0, theta0)
        return Problem(
            following(filled),
            (x0, theta0),
            (*captured, *filled.captured),
            control=lambda z: z[1],
            kernel=kernel,
            only=None if filled.varies else lambda rows: following(filled.only(rows)),
            reading=None if filled.varies else lambda c: following(filled.reading(c[len(captured) :])),
        )

    def _coupled_kernel(self, x0: Tensor, theta0: Tensor) -> Kernel | None:
        if not self.solver.kernels or not isinstance(self.g, ClosedLoop) or x0.dim() != 2:
            return None
        field = self.field.bind(x0, theta0, moving=True)
        g = self.g.bind(x0.new_empty(x0.shape[0], x0.shape[1] + self.m))
        return Coupled(field, g, x0.shape[1], self.m) if field and g else None

    def _must_steer(self, x0: Tensor, theta0: Tensor, filled: Filled) -> None:
        """Raise where the field leaves some of its control unread, or gives a sample the control of another.

        Once a model; the second again where the first batch was of one sample, which has nobody's control but its own.
        """
        if (not self._unread and self._coupled is not None) or not readable():
            return
        times = (self.horizon * i / _TIMES for i in _SPREAD)
        try:
            for time in times:
                reads, coupled = look(self.field, time, x0, theta0, filled.at)
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


def _calling(name: str, controller: Callable, *arguments: Tensor) -> Tensor:
    try:
        return controller(*arguments)
    except Exception as error:
        shapes = ", ".join(str(tuple(argument.shape)) for argument in arguments)
        error.add_note(f"{name}: raised this when it was called with arguments of shape {shapes}")
        raise


def _called(controller: Callable) -> str:
    return type(controller).__name__ if isinstance(controller, nn.Module) else getattr(controller, "__name__", "?")
