"""Layers whose weights may differ from sample to sample: what a controller steers, applied in one call.

Every function takes its weights either shared, as PyTorch's own layer does, or per sample, with the batch as their
first dimension.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def linear(
    x: Float[Tensor, "batch inputs"],
    weight: Float[Tensor, "*batch outputs inputs"],
    bias: Float[Tensor, "... outputs"] | None = None,
) -> Float[Tensor, "batch outputs"]:
    """Linear map y_b = W_b x_b + c_b, where W and c are shared or belong to each sample b.

    Args:
        x: one row a sample.
        weight: ``(outputs, inputs)``, or ``(batch, outputs, inputs)`` for weights per sample.
        bias: ``(outputs)``, or ``(batch, outputs)``; may be per sample where the weight is shared.

    Raises:
        RuntimeError: from PyTorch, when the shapes do not fit.
    """
    if weight.dim() == 2:
        if bias is None or bias.dim() == 1:
            return F.linear(x, weight, bias)
        return F.linear(x, weight) + bias
    # A batched matrix-vector product. For the small matrices of a controlled field, the elementwise form avoids
    # the overhead of one BLAS call a sample; from a few hundred entries on, bmm wins.
    if weight.shape[1] * weight.shape[2] <= 256:
        y = (weight * x.unsqueeze(1)).sum(-1)
    else:
        y = torch.bmm(weight, x.unsqueeze(2)).squeeze(2)
    return y if bias is None else y + bias
