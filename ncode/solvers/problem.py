"""The types of an initial value problem z' = f(t, z)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

State = tuple[Tensor, ...]
RightHandSide = Callable[[Tensor, State], State]
"""f(t, z): the parts of z' from the parts of z, each with the batch as its first dimension."""
