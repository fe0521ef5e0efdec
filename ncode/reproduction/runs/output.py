"""Outputs of runs: what an experiment's ``train`` returns, and the fingerprint of the data that it saw."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from ncode.training import History


@dataclass
class RunOutput:
    """The output of one run, before it is kept.

    Attributes:
        metrics: the numbers that the run was made for.
        history: of its training.
        model: whose weights are kept; ``None`` to keep none.
        arrays: tensors to keep beside the weights, for figures.
        data: fingerprint of the data (see :func:`fingerprint`).
    """

    metrics: Mapping[str, float]
    history: History = field(default_factory=History)
    model: nn.Module | None = None
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    data: str = ""


def fingerprint(*tensors: Tensor) -> str:
    """A hash of data: of the shapes, types and contents of ``tensors``."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]
