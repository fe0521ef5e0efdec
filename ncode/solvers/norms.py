"""How large an error is: every sample's, over what the tolerances allow, and the batch's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ncode.solvers.finite import number

Tolerance = float | Sequence[float]
"""One tolerance, or one for every part of the state."""


def rms(part: Tensor) -> Float[Tensor, " batch"]:
    """The root of the mean square of every sample's entries; complex entries count by their absolute values."""
    if part.is_complex():
        part = part.abs()
    return part.reshape(part.shape[0], -1).square().mean(1).sqrt()


def per_sample(parts: Sequence[Tensor]) -> Float[Tensor, " batch"]:
    """Every sample's RMS, the largest over the parts."""
    return torch.stack([rms(part) for part in parts]).amax(0) if len(parts) > 1 else rms(parts[0])


def ratios(
    errors: Sequence[Tensor], sizes: Sequence[Tensor], rtol: Tolerance, atol: Tolerance
) -> Float[Tensor, "parts batch"]:
    """Every part's and sample's error over what is allowed, atol + rtol size for an entry, as RMS over the entries."""
    allowed = [size * of(rtol, i) + of(atol, i) for i, size in enumerate(sizes)]
    return torch.stack([rms(error / most) for error, most in zip(errors, allowed, strict=True)])


def larger(starts: Sequence[Tensor], ends: Sequence[Tensor]) -> list[Tensor]:
    """The larger absolute value of every entry at a step's two ends."""
    return [torch.maximum(start.abs(), end.abs()) for start, end in zip(starts, ends, strict=True)]


def worst(errors: Float[Tensor, "... batch"]) -> float:
    """The largest of all samples' and parts' ratios, infinite where one is not finite."""
    return _finite(number(errors.max()))


def mean(errors: Float[Tensor, "... batch"]) -> float:
    """The RMS over the batch, the largest over the parts: single samples may go wrong in it."""
    return _finite(number(errors.square().mean(-1).sqrt().max()))


NORMS = {"worst": worst, "mean": mean}


def _finite(value: float) -> float:
    # A trial step may overshoot out of the floating-point range: that rejects the step, it is no failure yet.
    return value if math.isfinite(value) else math.inf


def of(tolerance: Tolerance, part: int) -> float:
    """A part's tolerance; parts beyond those named, such as running costs, have the last's."""
    return tolerance if isinstance(tolerance, int | float) else tolerance[min(part, len(tolerance) - 1)]
