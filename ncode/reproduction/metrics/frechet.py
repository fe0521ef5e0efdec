"""How good samples, clusters and paths are: Fréchet distance, clustering accuracy, path length; and latent densities.

A Fréchet distance means something only beside its floor: what as many *real* images score. So :class:`Reference`
never gives the one without the other. It is called FID only where the features are InceptionV3's
(:mod:`ncode.reproduction.metrics.features`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ncode.arguments import arguments, instance, integer, optional
from ncode.reproduction.metrics.points import Points, points

COMPONENTS = 128
"""Principal components that features are projected to. A covariance of more dimensions than that needs more images
than a test set has: the distance of two real samples is then bias, and large."""


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of features, in float64.

    The covariance is kept as a factor R with Σ = RᵀR, so that nothing is squared and no root of a nearly singular
    matrix is ever taken.
    """

    mean: Float[np.ndarray, " dim"]
    factor: Float[np.ndarray, "rank dim"]


@arguments(features=points)
def moments(features: Points) -> Moments:
    """Mean and unbiased covariance of ``features``.

    Raises:
        ValueError: for fewer than two points.
    """
    if len(features) < 2:
        raise ValueError(f"features: {len(features)} points have no covariance")
    x = np.asarray(features, dtype=np.float64)
    mean = x.mean(0)
    return Moments(mean, np.linalg.qr((x - mean) / np.sqrt(len(x) - 1), mode="r"))


@arguments(a=instance(Moments), b=instance(Moments))
def frechet_distance(a: Moments, b: Moments) -> float:
    """‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2(Σ₁Σ₂)^½), the squared Fréchet distance of two Gaussians (Heusel et al. 2017).

    With Σᵢ = RᵢᵀRᵢ the root's trace is the sum of the singular values of R₁R₂ᵀ: exact for singular covariances, too.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"b: has {len(b.mean)} dimensions, a {len(a.mean)}")
    root = np.linalg.svd(a.factor @ b.factor.T, compute_uv=False).sum()
    distance = ((a.mean - b.mean) ** 2).sum() + (a.factor**2).sum() + (b.factor**2).sum() - 2 * root
    return float(max(distance, 0.0))  # Rounding can leave equal Gaussians a little below zero.


class Score(NamedTuple):
    """A Fréchet distance and what as many real images score."""

    distance: float
    floor: float


class Reference:
    """The real features that samples are scored against, projected to their first principal components.

    Args:
        test: features of the test images: what the distance is to.
        real: features of other real images, for the floor.
        size: how many samples every score is made of; at most as many as ``real``.
        components: to project to, at most the features' dimension; ``None`` to project to none, as FID asks.

    Raises:
        ValueError: when there are not enough real images for a floor of ``size``.
    """

    @arguments(test=points, real=points, size=integer(2), components=optional(integer(1)))
    def __init__(self, test: Points, real: Points, size: int, components: int | None = COMPONENTS):
        if len(test) < 2:
            raise ValueError("test: one point has no covariance")
        if test.shape[1] != real.shape[1]:
            raise ValueError(f"real: has {real.shape[1]} features, test {test.shape[1]}")
        if len(real) < size:
            raise ValueError(f"size: {size} samples need as many real images for their floor; there are {len(real)}")
        self.size = size
        self._centre = test.mean(0)
        self._axes = np.linalg.svd(np.linalg.qr(test - self._centre, mode="r"), full_matrices=False)[2][:components]
        self._test = moments(self.project(test))
        self.floor = frechet_distance(moments(self.project(real[:size])), self._test)

    @arguments(features=points)
    def project(self, features: Points) -> Points:
        """Coordinates along the test features' principal components."""
        return (features - self._centre) @ self._axes.T

    @arguments(features=points)
    def score(self, features: Points) -> Score:
        """The Fréchet distance between samples and test images.

        Raises:
            ValueError: when there are not exactly ``size`` samples: another number has another floor.
        """
        if len(features) != self.size:
            raise ValueError(f"features: {len(features)} samples, where the floor is that of {self.size}")
        return Score(frechet_distance(moments(self.project(features)), self._test), self.floor)
