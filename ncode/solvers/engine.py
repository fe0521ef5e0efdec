"""The library's own engine: from a right-hand side and a :class:`~ncode.solvers.options.Solver` to states at times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ncode.solvers.errors import SolveError
from ncode.solvers.finite import finite, number
from ncode.solvers.loop import Adaptive, Count, Stopped, adaptive_steps, fixed_steps
from ncode.solvers.norms import NORMS, per_sample
from ncode.solvers.options import NFE, Solver
from ncode.solvers.paths import Picker
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.rosenbrock import IMPLICIT, RosenbrockStep
from ncode.solvers.step import RungeKutta, Taken, real
from ncode.solvers.stepsize import CONTROLLERS
from ncode.solvers.tableaus import TABLEAUS


def integrate(
    f: RightHandSide,
    state: State,
    times: Sequence[float],
    solver: Solver,
    nfe: NFE,
    look: Callable[[Taken], None] | None = None,
) -> State:
    """The parts of z at every one of ``times``, time first.

    Args:
        look: is shown every step as it is taken.

    Raises:
        SolveError: when the solve fails.
    """
    step = stepper(solver, f)
    picker = Picker(step, state, times)
    for taken in steps(step, state, times, solver, nfe):
        picker.look(taken)
        if look is not None:
            look(taken)
    path = tuple(torch.stack(parts) for parts in zip(*picker.states, strict=True))
    _must_be_finite(path, times, nfe, step, state, solver)
    return path


def steps(
    step: RungeKutta,
    state: State,
    times: Sequence[float],
    solver: Solver,
    nfe: NFE,
    which: str = "forward",
    limit: int | None = None,
    first: float | None = None,
    blame: Tensor | None = None,
) -> Iterator[Taken]:
    """The solve's steps, as they are taken; evaluations go into ``nfe``, failures come as ``SolveError``.

    Args:
        which: ``"forward"`` or ``"backward"``: what the evaluations count as.
        limit: evaluations, counted with those before, where ``max_nfe`` is too many.
        first: length of the first step to try.
        blame: which sample a failure is put down to before any step has an error, by the largest entry.
    """
    count = Count(min(limit or solver.max_nfe, solver.max_nfe), getattr(nfe, which))
    try:
        if step.tableau.adaptive:
            between = step.tableau.interpolates
            ends = [times[0], times[-1]] if between else times
            yield from adaptive_steps(step, state, ends, adaptive(solver, first), count, (), real(state[0].dtype))
        else:
            if times[-1] != times[0]:
                n = solver.count(times[0], times[-1])
                yield from fixed_steps(step, state, times[0], times[-1], n, count)
    except Stopped as stop:
        raise failure(stop.reason, stop.t, stop.x, count.spent, blame if stop.errors is None else stop.errors) from None
    finally:
        setattr(nfe, which, count.spent)


def stepper(solver: Solver, f: RightHandSide) -> RungeKutta:
    """A step of the solver's method."""
    if solver.method in IMPLICIT:
        return RosenbrockStep(IMPLICIT[solver.method], f)
    return RungeKutta(TABLEAUS[solver.method], f)


def adaptive(solver: Solver, first: float | None = None) -> Adaptive:
    """The solver's options as the loop wants them."""
    return Adaptive(
        (solver.rtol, solver.atol),
        NORMS[solver.norm],
        CONTROLLERS[solver.controller],
        first or solver.first_step,
        solver.min_step,
        solver.max_step,
        solver.jumps,
    )


def end_of(taken: Iterable[Taken], state: State) -> State:
    """Where the last of the steps ends; ``state`` where there is none."""
    for one in taken:
        state = one.y
    return state


def failure(reason: str, t: float, x: State, spent: int, errors: Tensor | None = None) -> SolveError:
    """The error that names the worst sample: by its step's error, or by its size where no step has one."""
    sizes = per_sample([part.detach() for part in x])
    worst = sizes if errors is None else errors.reshape(-1, len(sizes)).amax(0)
    try:
        sample = int(torch.nan_to_num(worst, nan=math.inf).argmax())
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        # Of many solves at once, none stands out.
        return SolveError(reason, None, t, spent, number(sizes.max()))
    return SolveError(reason, sample, t, spent, float(sizes[sample]))


def _must_be_finite(path: State, times: Sequence[float], nfe: NFE, step: RungeKutta, state: State, solver: Solver):
    """Fixed steps go on to the end with whatever they have: then again, up to where it went wrong."""
    if finite(path):
        return
    spent, t, x = nfe.forward, times[-1], tuple(part[-1] for part in path)
    nfe.forward = 0
    with torch.no_grad():
        for taken in steps(step, state, times, solver, nfe):
            if not finite(taken.y):
                t, x = taken.end, taken.y
                break
    nfe.forward = spent
    raise failure("non-finite values", t, x, spent)
