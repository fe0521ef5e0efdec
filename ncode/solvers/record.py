"""A solve's record: the steps that were taken, and as many of their states as memory should hold."""

from __future__ import annotations

import itertools
from typing import Any, Generic, NamedTuple, TypeVar

from ncode.solvers.step import Taken

X = TypeVar("X")
"""A step's state, as the step holds it."""
DENSE = 16
"""Steps up to which every state is kept; N steps keep at most √(2 · 16 N)."""


class Length(NamedTuple):
    """Where a step was taken: from t over h to ``end``; ``fresh`` where its first slope is no earlier step's last."""

    t: float
    h: float
    end: float
    fresh: bool


class Record(Generic[X]):
    """The lengths of all steps of a solve, and the states at which every ``stride``-th began.

    The stride doubles as the steps become more, so that the states, and the steps between two of them, both grow as
    the steps' square root.

    Attributes:
        lengths: of every step.
        states: by the step that begins there.
    """

    def __init__(self):
        self.stride = 1
        self.lengths: list[Length] = []
        self.states: dict[int, X] = {}
        self._slope: Any = None

    def look(self, taken: Taken) -> None:
        """Keep a step that was taken."""
        index, fresh = len(self.lengths), taken.k1 is not self._slope
        self.lengths.append(Length(taken.t, taken.h, taken.end, fresh))
        self._slope = taken.k_last
        if index % self.stride == 0:
            self.states[index] = taken.x
            if len(self.states) > DENSE * self.stride:
                self.stride *= 2
                self.states = {i: state for i, state in self.states.items() if i % self.stride == 0}


def segments(starts: list[int], steps: int) -> list[tuple[int, int]]:
    """First step and the one after the last, of every stretch between kept states."""
    return list(itertools.pairwise([*starts, steps]))
