"""Points, labels and values, as metrics take them, and the rules that refuse anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

Points = Float[np.ndarray, "_ _"]
Labels = Integer[np.ndarray, " n"]
Values = Sequence[float | int] | np.ndarray


def points(name: str, value: Any) -> None:
    """Rule for :func:`ncode.arguments.arguments`: finite points, one a row."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise TypeError(f"{name}: must be an array of floating-point numbers, not {_kind(value)}")
    if value.ndim != 2 or 0 in value.shape:
        raise ValueError(f"{name}: must have one point a row, not shape {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: must be finite")


def labels(name: str, value: Any) -> None:
    """Rule: integers, one a point."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
        raise TypeError(f"{name}: must be an array of integers, not {_kind(value)}")
    if value.ndim != 1 or len(value) == 0:
        raise ValueError(f"{name}: must be a vector of at least one label, not of shape {value.shape}")


def values(name: str, value: Any) -> None:
    """Rule: a vector of numbers; NaN stands for a run that has none, and makes what is computed of it NaN."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: must be numbers, not {_kind(value)}") from error
    if isinstance(value, str) or array.ndim != 1:
        raise ValueError(f"{name}: must be a vector of numbers, not of shape {array.shape}")


def bounds(name: str, value: Any) -> None:
    """Rule: an interval's two ends, in order; NaN where they are not known."""
    values(name, value)
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError(f"{name}: must be two numbers in order, not {value}")


def _kind(value: Any) -> str:
    return f"{type(value).__name__} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
