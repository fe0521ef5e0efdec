"""Perceptual path lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ncode.arguments import arguments, function, integer, real, tensor


class Path(NamedTuple):
    """How features move along paths between pairs of latent points.

    Attributes:
        t: where the speed was measured, in (0, 1).
        speed: ‖d features/dt‖ there, (time, pairs).
        displacement: distance between the features at either end, for each pair.
    """

    t: Float[np.ndarray, " time"]
    speed: Float[np.ndarray, "time pairs"]
    displacement: Float[np.ndarray, " pairs"]

    @property
    def length(self) -> float:
        """Perceptual path length, E[‖d features/dt‖²] over t and pairs (Karras et al. 2019, their Eq. 2)."""
        return float((self.speed**2).mean())

    @property
    def excess(self) -> float:
        """The path length over that of straight paths of constant speed between the same features: 1 at least."""
        return self.length / float((self.displacement**2).mean())


@arguments(
    features_at=function,
    start=tensor(least=1),
    end=tensor(least=1),
    times=integer(1, 10**6),
    step=real(above=0, most=1),
)
def perceptual_path(
    features_at: Callable[[Tensor, Tensor, float], Tensor],
    start: Float[Tensor, "pairs *any"],
    end: Float[Tensor, "pairs *any"],
    times: int = 20,
    step: float = 1e-3,
) -> Path:
    """The speed of features along paths, by central differences.

    Args:
        features_at: features at time t of the paths between the pairs; :func:`linear` of a network is the usual one.
        start, end: of the paths.
        times: at how many times, evenly spaced.
        step: between the two points of a difference. In float32 a much smaller one measures rounding.
    """
    if start.shape != end.shape:
        raise ValueError(f"end: must have the shape of start, {tuple(start.shape)}, not {tuple(end.shape)}")
    t = (np.arange(times) + 0.5) / times
    with torch.no_grad():
        first = features_at(start, end, 0.0)
        tensor(len(start), None)("features_at", first)
        speed = [
            (features_at(start, end, s + step / 2) - features_at(start, end, s - step / 2)).norm(dim=1) / step
            for s in t
        ]
        ends = (features_at(start, end, 1.0) - first).norm(dim=1)
    return Path(t, torch.stack(speed).double().cpu().numpy(), ends.double().cpu().numpy())


@arguments(network=function)
def linear(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, float], Tensor]:
    """``network`` along straight lines: what :func:`perceptual_path` follows."""
    return lambda start, end, t: network(torch.lerp(start, end, t))
