"""How a GPU multiplies float32 numbers: in full, or with factors rounded to TF32's ten bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def full_float32() -> None:
    """Have a GPU's convolutions and matrix products compute in full float32, from here on in this process.

    cuDNN would round their factors to TF32's ten bits: an error of 1e-3, as large as the solvers' tolerance.
    Experiments and the pages on them compare solver errors, and a GPU's runs with a CPU's.
    """
    _set(False)


@contextmanager
def tf32(on: bool = True) -> Iterator[None]:
    """Inside, a GPU rounds to TF32 where ``on``: faster, with a relative error of about 1e-3."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    _set(on)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _set(on: bool) -> None:
    torch.backends.cudnn.allow_tf32 = on
    torch.backends.cuda.matmul.allow_tf32 = on
