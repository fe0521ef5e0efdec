"""Solves in which every sample takes steps of its own, whoever else is in the batch.

The steps are found without a graph, in rounds of attempts (:mod:`ncode.solvers.rounds`). Where gradients are wanted the
accepted ones are then taken again (:mod:`ncode.solvers.replay`): so the graph holds these alone, and what a rejected
attempt has met reaches no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ncode.solvers.checkpointed import checkpointed
from ncode.solvers.engine import adaptive, stepper
from ncode.solvers.errors import SolveError
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.replay import Accepted, Picker, Replay
from ncode.solvers.rounds import Only, Rounds
from ncode.solvers.tableaus import TABLEAUS


def integrate_independent(
    f: RightHandSide,
    state: State,
    times: Float[Tensor, "time batch"],
    solver: Solver,
    nfe: NFE,
    parameters: Sequence[Tensor] = (),
    only: Only | None = None,
    failures: dict[int, SolveError] | None = None,
) -> State:
    """The parts of z at every sample's times, time first; NaN for samples that failed.

    Args:
        f: the right-hand side; it gets times of shape (batch, 1, …).
        times: in float64, increasing or decreasing along the first dimension, every sample for itself; they may repeat.
        nfe: counts the calls of f, and says what each sample would have taken alone.
        parameters: captured tensors at which checkpointed gradients stop.
        only: f for some samples alone, given their indices; without it all are evaluated until the last has arrived.
        failures: is given those of the samples that fail, which then end no other's solve.

    Raises:
        SolveError: when a sample fails and ``failures`` is not given.
    """
    solve = Independent(times, solver, nfe, only, failures)
    if not torch.is_grad_enabled():
        picker = Picker(times, nfe)
        solve.run(f, state, picker)
        path = picker.path(state)
    elif solver.gradients == "checkpointed":
        path = checkpointed(solve, f, state, times[0], nfe, parameters)
    else:
        # With a graph, and first: a right-hand side may keep what it has once computed.
        velocity = solve.step_of(f).start(times[0], state)
        nfe.forward += 1
        path = solve.replay(f, solve.find(f, state, velocity), nfe).whole(state, velocity)
    return path


class Independent:
    """One solve: how its steps are found, and taken again. A :class:`ncode.solvers.checkpointed.Plan`."""

    def __init__(
        self,
        times: Tensor,
        solver: Solver,
        nfe: NFE,
        only: Only | None = None,
        failures: dict[int, SolveError] | None = None,
    ):
        self.times, self.solver, self.nfe, self.failures = times, solver, nfe, failures
        self.step_of = partial(stepper, solver)
        self.only = None if only is None else lambda rows: _fitting(only(rows))

    def run(self, f: RightHandSide, state: State, look: Picker | Accepted, velocity: State | None = None) -> None:
        """Take the steps, and show every round to ``look``."""
        rounds = self.rounds(f, state, velocity)
        for one in rounds:
            look.look(one)
        self.nfe.samples = rounds.spent

    def rounds(self, f: RightHandSide, state: State, velocity: State | None = None) -> Rounds:
        """The attempts of a solve without a graph; ``velocity`` is f at the start, where it is known."""
        ends = self.times[[0, -1]] if TABLEAUS[self.solver.method].interpolates else self.times
        how, limit = adaptive(self.solver), self.solver.max_nfe
        return Rounds(self.step_of, f, state, ends, how, limit, self.nfe, self._fail, self.only, velocity)

    def find(self, f: RightHandSide, state: State, velocity: State) -> Accepted:
        """Every sample's accepted steps; of those that fail, none."""
        accepted = Accepted()
        with torch.no_grad():
            self.run(f, _detached(state), accepted, _detached(velocity))
            accepted.close(self.times.shape[1], self.failures or {})
        return accepted

    def replay(self, f: RightHandSide, accepted: Accepted, nfe: NFE) -> Replay:
        return Replay(self.step_of, f, accepted, self.times, nfe, self.only)

    def forward(self, f: RightHandSide, state: State, velocity: State) -> tuple[State, list[State]]:
        self.nfe.forward += 1
        self.accepted = self.find(f, state, velocity)
        return self.replay(f, self.accepted, self.nfe).kept(state, velocity)

    def again(self, f: RightHandSide, nfe: NFE) -> Replay:
        return self.replay(f, self.accepted, nfe)

    def _fail(self, error: SolveError) -> None:
        if self.failures is None or error.sample is None:
            raise error
        self.failures[error.sample] = error


def _detached(parts: State) -> State:
    return tuple(part.detach() for part in parts)


def _fitting(f: RightHandSide) -> RightHandSide:
    """f for some samples, which must not give more: what it captures may be the whole batch's."""

    def fitting(t: Tensor, z: State) -> State:
        velocity = f(t, z)
        for part, x in zip(velocity, z, strict=True):
            if part.shape != x.shape:
                raise ValueError(
                    f"independent: f must give shape {tuple(x.shape)} for {len(x)} of the samples, not "
                    f"{tuple(part.shape)}: a field or controller must not hold on to a batch; use independent=False"
                )
        return velocity

    return fitting
