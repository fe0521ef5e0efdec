"""Whether a state is finite, where that can be asked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.tracing import readable


def finite(parts: Sequence[Tensor]) -> bool:
    """Whether all entries of all parts are finite.

    Taken for granted where no number can be read off (:func:`ncode.tracing.readable`).
    """
    if not parts or not readable():
        return True
    # Read off once.
    return number(torch.stack([(~torch.isfinite(part)).any() for part in parts]).any()) == 0


def number(value: Tensor) -> float:
    """A number read off; the largest of all where :func:`torch.func.vmap` makes one tensor stand for many."""
    try:
        return float(value)
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        return float(_Largest.apply(value.double()))


class _Largest(torch.autograd.Function):
    """The largest of all that a tensor under :func:`torch.func.vmap` stands for."""

    @staticmethod
    def forward(value):
        return value.amax()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def vmap(info, in_dims, value):
        return _Largest.apply(value.amax()), None


def first_bad(part: Tensor) -> int:
    """The first sample of a part that is not finite."""
    return int((~torch.isfinite(part.reshape(len(part), -1)).all(1)).nonzero()[0])
