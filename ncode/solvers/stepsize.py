"""How long the next step is: the I and PI controllers."""

from __future__ import annotations

SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
"""A step is aimed at SAFETY of what the tolerance allows, and becomes at most SHRINK or GROW of the last."""


class Integral:
    """The I controller: a step's error alone decides the next length, h (1/error)^(1/order) (torchdiffeq's)."""

    def __init__(self, order: int):
        self.order = order

    def __call__(self, error: float) -> float:
        """What to multiply the length by, given the step's error over what is allowed; above 1 it was rejected."""
        if error == 0:
            return GROW
        least = 1.0 if error < 1 else SHRINK
        return min(GROW, max(SAFETY * error ** (-1 / self.order), least))


class Proportional:
    """The PI controller: the last step's error damps the answer to this one's (Hairer, Nørsett and Wanner, IV.2).

    h error^(-0.7/order) last^(0.4/order) after an accepted step, as I after a rejected one. It rejects fewer steps
    where stability and not accuracy limits them.
    """

    def __init__(self, order: int):
        self.order, self.last = order, 1.0

    def __call__(self, error: float) -> float:
        """As :meth:`Integral.__call__`."""
        if error > 1:
            return max(SAFETY * error ** (-1 / self.order), SHRINK)
        error = max(error, 1e-10)
        factor = SAFETY * error ** (-0.7 / self.order) * self.last ** (0.4 / self.order)
        self.last = max(error, 1e-4)
        return min(GROW, max(factor, SHRINK))


CONTROLLERS = {"I": Integral, "PI": Proportional}
