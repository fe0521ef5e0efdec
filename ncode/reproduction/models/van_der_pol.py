"""The Van der Pol oscillator as a closed loop (Fig. 3)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, real, tensor


def _rates(name: str, value: Any) -> None:
    """Rule for :func:`ncode.arguments.arguments`: one number, or a vector of one per sample."""
    (tensor(None, least=1) if isinstance(value, Tensor) else real())(name, value)


class VanDerPol(nn.Module):
    """g(θ, x) = μ(1 - x²)θ - x: with x' = θ, the Van der Pol oscillator x'' = μ(1 - x²)x' - x (Fig. 3).

    Args:
        mu: the initial μ of every sample: one number, or one per sample to fit several at once.
    """

    @arguments(mu=_rates)
    def __init__(self, mu: float | Float[Tensor, " batch"]):
        super().__init__()
        self.mu = nn.Parameter(torch.as_tensor(mu, dtype=torch.get_default_dtype()).clone())

    def forward(
        self, t: Tensor, x: Float[Tensor, "batch 1"], theta: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, "batch 1"]:
        return self.mu.reshape(-1, 1) * (1 - x**2) * theta - x
