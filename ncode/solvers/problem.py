"""The types of an initial value problem z' = f(t, z)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

State = tuple[Tensor, ...]
"""The parts of z, each with the batch as its first dimension."""
RightHandSide = Callable[[Tensor, State], State]
"""f(t, z): the parts of z' from the parts of z. t has the state's (real) dtype and no dimension or, where every sample
has a time of its own, the batch as its first and ones for the others."""
