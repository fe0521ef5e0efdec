"""The Van der Pol oscillator as a closed loop (Fig. 3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class VanDerPol(nn.Module):
    """g(θ, x) = μ(1 - x²)θ - x: with x' = θ, the Van der Pol oscillator x'' = μ(1 - x²)x' - x (Fig. 3).

    Args:
        mu: the initial μ of every sample: one number, or one per sample to fit several at once.
    """

    def __init__(self, mu: float | Float[Tensor, " batch"]):
        super().__init__()
        self.mu = nn.Parameter(torch.as_tensor(mu, dtype=torch.get_default_dtype()).clone())

    def forward(
        self, t: Tensor, x: Float[Tensor, "batch 1"], theta: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, "batch 1"]:
        return self.mu.reshape(-1, 1) * (1 - x**2) * theta - x
