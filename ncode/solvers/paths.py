"""A solve's path: the states at the times that are asked for, picked up as the steps are taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ncode.solvers.step import Taken, Weights


class Picker:
    """Picks the states at ``times`` out of the steps that are shown to it in turn.

    Attributes:
        states: those found so far; the first is where the path begins.
    """

    def __init__(self, step: Any, x: Any, times: Sequence[float], w: Weights = ()):
        self.step, self.times, self.w = step, times, w
        self.sign = math.copysign(1.0, times[-1] - times[0])
        self.states = [x]
        # Times may be repeated, the first among them.
        while len(self.states) < len(times) and times[len(self.states)] == times[0]:
            self.states.append(x)

    def look(self, taken: Taken) -> None:
        """Pick up what lies within a step, its end included."""
        while len(self.states) < len(self.times):
            time = self.times[len(self.states)]
            if self.sign * (time - taken.end) > 0:
                break
            if time == taken.end:
                self.states.append(taken.y)
                continue
            if taken.k_last is None:
                taken.k_last = self.step.start(taken.end, taken.y, self.w)
            self.states.append(self.step.between(taken, (time - taken.t) / taken.h))
