"""The interface between a field that knows its own gradient and the solves that use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Kernel(Protocol):
    """A right-hand side z' = f(t, z) on one buffer z, with its own vector-Jacobian product, bound to one solve.

    Attributes:
        weights: what f reads besides t and z and what gets a gradient, in the kernel's own layout: differentiable
            functions of the model's tensors.
    """

    weights: tuple[Tensor, ...]

    def pack(self, state: Sequence[Tensor]) -> Tensor:
        """The state's parts, each with the batch first, as one contiguous z; differentiable."""
        ...

    def unpack(self, z: Tensor) -> tuple[Tensor, ...]:
        """The reverse of :meth:`pack`; z may have further dimensions before its own."""
        ...

    def rms(self, squares: Tensor) -> Tensor:
        """The root mean square of every part and sample, (parts, batch), from the squares of z's entries."""
        ...

    def velocity(self, t: Tensor, z: Tensor, w: Sequence[Tensor], compiled: bool = False) -> Tensor:
        """f for weights ``w``, in differentiable operations or in those that a compiler makes fast."""
        ...

    def recipe(self) -> tuple:
        """All that :meth:`velocity` and :meth:`products` depend on besides their arguments."""
        ...

    def products(self, t: Tensor, z: Tensor, w: Sequence[Tensor], g: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        """g ∂f/∂z, and g ∂f/∂w in pieces, as expressions for a compiler."""
        ...

    def gathered(self, pieces: Sequence[Tensor | None], w: Sequence[Tensor]) -> list[Tensor]:
        """The weights' gradients from the sums of their pieces."""
        ...

    def bind(self, w: Sequence[Tensor], like: Tensor) -> None:
        """Take the weights of the evaluations that follow; ``like`` is some z."""

    def bind_gradients(self, gw: Sequence[Tensor | None]) -> None:
        """Take the buffers that gradients of weights are added to; ``None`` where none is wanted."""

    def f(self, t: float, z: Tensor, out: Tensor) -> object:
        """Fill ``out`` with the velocity; what :meth:`vjp` needs comes back. z is kept and must not change."""

    def vjp(self, saved: object, g: Tensor, out: Tensor) -> None:
        """Fill ``out`` with g ∂f/∂z, and add g ∂f/∂w to the weights' gradients."""

    def finish(self) -> None:
        """Add what was collected over several calls of :meth:`vjp` to the weights' gradients."""
