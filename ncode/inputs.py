"""Inputs u that a flow is given along its way: one a sample, constant or a function of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact, Real
from torch import Tensor, nn

from ncode.arguments import arguments, instance, one_of, optional
from ncode.fields.base import NOTHING, Field, Theta

Input = Tensor | Callable[[Tensor], Tensor]
"""u as (batch, …), or a function that gives it at a time."""


class Interpolated:
    """u(t) through knots: linear between them, or cubic with a slope at each (Hermite).

    Before the first knot and after the last one u keeps their values. A linear u has a kink at every knot, and a solve
    that should see each wants the knots' times as ``Solver(jumps=...)``.

    Args:
        t: the knots' times, increasing: a vector for all samples, or (knot, batch) for times of every sample's own.
            Integers, such as ``torch.arange(n)``, are taken in the type of ``values``.
        values: u at the knots, (knot, batch, …).
        kind: ``"linear"`` or ``"cubic"``.
        slopes: u' at the knots, for a cubic; the mean slope of both sides' where none are given, at an end its side's.

    Gradients reach ``t``, ``values`` and ``slopes``.

    Raises:
        ValueError: when there are fewer than two knots, times do not increase, sizes do not fit, ``values`` or
            ``slopes`` are integers, or ``t`` holds integers that the type of ``values`` cannot tell from others.
    """

    @arguments(
        t=instance(Tensor), values=instance(Tensor), kind=one_of(("linear", "cubic")), slopes=optional(instance(Tensor))
    )
    def __init__(
        self,
        t: Real[Tensor, " knots"] | Real[Tensor, "knots batch"],
        values: Tensor,
        *,
        kind: str = "linear",
        slopes: Tensor | None = None,
    ):
        _check(t, values, kind, slopes)
        t = _real(t, values)
        if kind == "cubic" and slopes is None:
            steps = _like(t.diff(dim=0), values)
            sides = values.diff(dim=0) / steps
            slopes = torch.cat([sides[:1], (sides[1:] + sides[:-1]) / 2, sides[-1:]])
        self.t, self.values, self.slopes = t, values, slopes

    def __call__(self, t: Tensor) -> Inexact[Tensor, "batch ..."]:
        """u at a time, or at a time of every sample's own, of shape (batch, …)."""
        batch, knots = self.values.shape[1], self.t.shape[0]
        times = self.t if self.t.dim() == 2 else self.t.unsqueeze(1).expand(knots, batch)
        time = t.reshape(-1).to(times.dtype).expand(batch)
        rows, asked = times.detach().T.contiguous(), time.detach().unsqueeze(1).contiguous()
        found = torch.searchsorted(rows, asked, right=True).squeeze(1)
        left, samples = found.clamp(1, knots - 1) - 1, torch.arange(batch, device=times.device)
        start, end = times[left, samples], times[left + 1, samples]
        length = end - start
        share = _like(((time - start) / length).clamp(0, 1), self.values[0])
        a, b = self.values[left, samples], self.values[left + 1, samples]
        if self.slopes is None:
            return a + share * (b - a)
        h, rest = _like(length, a), 1 - share
        first, second = self.slopes[left, samples] * h, self.slopes[left + 1, samples] * h
        bend = rest * (first - (b - a)) + share * ((b - a) - second)
        return a + share * (b - a) + share * rest * bend

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What u(t) is made of."""
        return tuple(part for part in (self.t, self.values, self.slopes) if part is not None)


class Filled(NamedTuple):
    """A field's slot ``u``, as a call of a model fills it.

    Attributes:
        at: θ at a time, as far as the call gives it.
        captured: what that reads and may need a gradient.
        constant: u where it does not depend on the time, and there is one.
        varies: whether it does.
    """

    at: Callable[[Tensor], Theta]
    captured: tuple[Tensor, ...] = ()
    constant: Tensor | None = None
    varies: bool = False

    def reading(self, captured: Sequence[Tensor]) -> Filled:
        """The same of other tensors in place of those captured, where it does not vary."""
        if self.constant is None:
            return self
        (constant,) = captured
        return self._replace(at=lambda t: {"u": constant}, captured=(constant,), constant=constant)

    def only(self, rows: Tensor) -> Filled:
        """The same for some samples alone, where it does not vary."""
        return self.reading([part[rows] for part in self.captured])


def fill(field: Field, x0: Float[Tensor, "batch ..."], u: Input | None, before: Tensor | None = None) -> Filled:
    """The field's slot ``u``, filled with the input ``u`` where no controller does it.

    Args:
        before: what comes before the input in the slot, (batch, …).

    Raises:
        ValueError: where the slot needs an input and gets none, or the other way round, or one of another shape.
    """
    shape = None if "u" in field.steered else field.slots.get("u")
    if shape is not None and before is not None:
        shape = (shape[0] - before.shape[1],) if shape != tuple(before.shape[1:]) else None
    if (u is None) == (shape is not None):
        raise ValueError(
            "u: the field has no slot 'u' that the call could fill, as that of MLP(dim, inputs=...)"
            if shape is None
            else "u: the field's slot 'u' is open: fill it by the call, model(x, u), or by a controller"
        )
    if u is None or shape is None:
        values = NOTHING if before is None else {"u": before}
        return Filled(lambda t: values, () if before is None else (before,), before)
    if isinstance(u, Tensor):
        constant = _fitting(u, x0, shape)
        constant = constant if before is None else torch.cat([before, constant], dim=1)
        return Filled(lambda t: {"u": constant}, (constant,), constant)

    def at(t: Tensor) -> Theta:
        value = _fitting(u(t), x0, shape)
        return {"u": value if before is None else torch.cat([before, value], dim=1)}

    own = u.tensors if isinstance(u, Interpolated) else tuple(u.parameters()) if isinstance(u, nn.Module) else ()
    return Filled(at, own if before is None else (before, *own), varies=True)


def _fitting(value: Tensor, x0: Tensor, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != (x0.shape[0], *shape):
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"u: must have shape {(x0.shape[0], *shape)}, not {found}")
    return value.to(x0.dtype)


def _check(t: Tensor, values: Tensor, kind: str, slopes: Tensor | None) -> None:
    for name, part in (("values", values), ("slopes", slopes)):
        if part is not None and not (part.is_floating_point() or part.is_complex()):
            raise ValueError(f"{name}: must be floating-point, not {part.dtype}, in which nothing lies between knots")
    if t.dim() not in (1, 2) or t.shape[0] < 2:
        raise ValueError(f"t: must have shape (knots) or (knots, batch), at least two knots, not {tuple(t.shape)}")
    if t.dtype == torch.bool or t.is_complex():
        raise ValueError(f"t: must be floating-point times, or integers, not {t.dtype}")
    if not (t.detach().diff(dim=0) > 0).all():
        raise ValueError("t: the knots' times must increase")
    if values.dim() < 2 or values.shape[: t.dim()] != t.shape:
        raise ValueError(f"values: must have shape (knots, batch, …), as t {tuple(t.shape)}, not {tuple(values.shape)}")
    if slopes is not None and (kind != "cubic" or slopes.shape != values.shape):
        raise ValueError("slopes: are a cubic's, and of the values' shape")


def _real(t: Tensor, values: Tensor) -> Tensor:
    """The knots' times in floating point: an integer would be all that a time between them is rounded to."""
    if t.is_floating_point():
        return t
    times = t.to(values.dtype.to_real())
    if not torch.equal(times.to(t.dtype), t):
        raise ValueError(f"t: must be floating-point times, or integers that {times.dtype} holds, as values are")
    return times


def _like(times: Tensor, values: Tensor) -> Tensor:
    """Times along the first dimensions of ``values``, shaped to multiply it."""
    return times.to(values.dtype).reshape(*times.shape, *[1] * (values.dim() - times.dim()))
