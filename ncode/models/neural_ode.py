"""Flows whose field has one θ for all samples: on x, on x augmented by zeros, and with x(0) in sight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from ncode.arguments import arguments, flag, integer
from ncode.models.flow import Flow, no_open_slots
from ncode.solvers.options import Solver


class NeuralODE(Flow):
    """x' = f(x, θ), with one θ for all samples (Eqs. 1 and 2; Chen et al. 2018).

    Args:
        field, shape, horizon, solver: see :class:`Flow`.

    Raises:
        ValueError: when the field has a slot other than ``u``, which nothing here fills.
    """

    def __init__(
        self,
        field: nn.Module,
        *,
        shape: Sequence[int] | None = None,
        horizon: float = 1.0,
        solver: Solver | None = None,
    ):
        super().__init__(field, shape=shape, horizon=horizon, solver=solver)
        no_open_slots(self.field)

    def problem(self, x0, u=None):
        return self._uncontrolled(x0, u)


class AugmentedNeuralODE(Flow):
    """A neural ODE on the state augmented by p zeros, [x, 0] in d + p dimensions (Dupont et al. 2019).

    Args:
        field: in d + p dimensions, along the state's first dimension (features, or channels of an image).
        augment: p, the number of zeros.
        project: return x's d dimensions; otherwise all d + p, for a readout that sees the augmented state: only then
            has x(T) another shape than x(0).
        shape, horizon, solver: see :class:`Flow`; a ``shape`` has d + p dimensions, too.

    Raises:
        ValueError: when ``augment`` leaves nothing of the field's dimensions for x, or the field has a slot other than
            ``u``.
    """

    @arguments(augment=integer(), project=flag)
    def __init__(
        self,
        field: nn.Module,
        *,
        augment: int,
        project: bool = True,
        shape: Sequence[int] | None = None,
        horizon: float = 1.0,
        solver: Solver | None = None,
    ):
        super().__init__(field, shape=shape, horizon=horizon, solver=solver)
        no_open_slots(self.field)
        most = math.inf if self.field.shape is None else self.field.shape[0] if self.field.shape else 0
        if not 0 < augment < most:
            raise ValueError(f"augment: must lie between 1 and {most - 1}, as the field's shape allows, not {augment}")
        self.augment = augment
        self.project = project

    def problem(self, x0, u=None):
        zeros = x0.new_zeros(x0.shape[0], self.augment, *x0.shape[2:])
        return self._uncontrolled(torch.cat([x0, zeros], dim=1), u)

    def _shown(self, x):
        return x[:, :, : -self.augment] if self.project else x

    def extra_repr(self) -> str:
        return f"augment={self.augment}, project={self.project}, {super().extra_repr()}"

    @property
    def shape(self) -> tuple[int, ...] | None:
        if self.field.shape is None:
            return None
        inner, *rest = self.field.shape
        return (inner - self.augment, *rest)


class DataControlledODE(Flow):
    """x' = f([x : x(0)], θ): the initial state stays in the field's sight (Massaroli et al. 2020; Section 3.1).

    Args:
        field: with a slot ``u`` of x's size, such as ``MLP(dim, inputs=dim)``. A longer one holds [x(0) : u], with the
            input u that a call gives.
        horizon, solver: see :class:`Flow`.

    Raises:
        ValueError: when the field has no such slot, as no module has that is no :class:`~ncode.fields.base.Field`, or
            has another besides.
    """

    def __init__(self, field: nn.Module, *, horizon: float = 1.0, solver: Solver | None = None):
        super().__init__(field, horizon=horizon, solver=solver)
        no_open_slots(self.field)
        slot, shape = self.field.slots.get("u"), self.field.shape
        longer = slot and shape and len(slot) == len(shape) == 1 and slot > shape
        if slot is None or (slot != shape and not longer):
            raise ValueError(f"field: needs a slot 'u' of its state's shape, {shape}, has {slot}")

    def problem(self, x0, u=None):
        return self._uncontrolled(x0, u, before=x0)
