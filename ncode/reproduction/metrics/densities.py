"""Densities fitted to embeddings, samples from them, and the nearest neighbours of samples."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from ncode.arguments import arguments, instance, integer, real
from ncode.reproduction.metrics.points import Labels, Points
from ncode.reproduction.metrics.points import points as points_

REGULARISATION = 1e-6
"""What is added to a mixture's variances, as in scikit-learn."""

TOLERANCE, ITERATIONS = 1e-3, 100
"""Expectation-maximisation ends when the mean log-likelihood gains less than this, or after so many iterations
(C.6)."""


@arguments(z=points_, components=integer(1), seed=integer(0, 2**32 - 1), starts=integer(1, 1000))
def mixture(z: Points, components: int, seed: int = 0, starts: int = 1) -> GaussianMixture | KernelDensity:
    """A Gaussian mixture with full covariances; of several starts the one with the largest likelihood on ``z``.

    With a component for every point the likelihood is largest with one narrow component at each, of variance
    :data:`REGULARISATION`: that limit is returned as such, without the iterations to it.

    Raises:
        ValueError: for more components than points.
    """
    if components > len(z):
        raise ValueError(f"components: {components} for z of {len(z)} points")
    if components == len(z):
        return kernel_density(z, REGULARISATION)
    # Independent of any score: what is drawn from a mixture must not choose it.
    return max(mixtures(z, components, seed, starts), key=lambda fitted: fitted.lower_bound_)


@arguments(z=points_, components=integer(1), seed=integer(0, 2**32 - 1), starts=integer(1, 1000))
def mixtures(z: Points, components: int, seed: int = 0, starts: int = 1) -> list[GaussianMixture]:
    """A Gaussian mixture with full covariances from each of several k-means starts.

    A mixture that has not converged after :data:`ITERATIONS` counts as it is, as in C.6.
    """
    if not 2 <= len(z) >= components:
        raise ValueError(f"components: {components} for z of {len(z)} points")
    seeds = np.random.SeedSequence(seed).generate_state(starts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [
            GaussianMixture(
                components, random_state=int(one), reg_covar=REGULARISATION, tol=TOLERANCE, max_iter=ITERATIONS
            ).fit(z)
            for one in seeds
        ]


@arguments(z=points_, variance=real(above=0))
def kernel_density(z: Points, variance: float) -> KernelDensity:
    """A Gaussian kernel of this variance, in every direction, at each point of ``z``."""
    return KernelDensity(bandwidth=float(np.sqrt(variance))).fit(z)


@arguments(density=instance(GaussianMixture, KernelDensity), count=integer(1), seed=integer(0, 2**32 - 1))
def draw(density: GaussianMixture | KernelDensity, count: int, seed: int = 0) -> Points:
    """``count`` independent points from a fitted density, in random order."""
    if isinstance(density, KernelDensity):
        return density.sample(count, random_state=seed)
    density.random_state = seed  # GaussianMixture.sample takes it from here, sorted by component.
    points, _ = density.sample(count)
    return np.random.default_rng(seed).permutation(points)


class Neighbours(NamedTuple):
    """Where samples lie between the points that a density was fitted to and as many that it has not seen.

    Attributes:
        fitted, unseen: distance of each sample to the nearest of either.
        copied: share of samples that lie nearer to a fitted point; 1/2 where nothing is memorised.
    """

    fitted: Float[np.ndarray, " n"]
    unseen: Float[np.ndarray, " n"]
    copied: float


@arguments(samples=points_, fitted=points_, unseen=points_)
def neighbours(samples: Points, fitted: Points, unseen: Points) -> Neighbours:
    """The nearest neighbours of ``samples`` on either side.

    Raises:
        ValueError: when the sides have different sizes: the larger one is nearer by its size alone.
    """
    for name, other in (("fitted", fitted), ("unseen", unseen)):
        if other.shape[1] != samples.shape[1]:
            raise ValueError(f"{name}: has {other.shape[1]} dimensions, the samples {samples.shape[1]}")
    if len(fitted) != len(unseen):
        raise ValueError(f"unseen: {len(unseen)} points beside {len(fitted)} fitted ones")
    near, far = nearest(samples, fitted)[0], nearest(samples, unseen)[0]
    return Neighbours(near, far, float((near < far).mean() + (near == far).mean() / 2))


@arguments(samples=points_, points=points_)
def nearest(samples: Points, points: Points) -> tuple[Float[np.ndarray, " n"], Labels]:
    """Distance to and index of each sample's nearest point."""
    if samples.shape[1] != points.shape[1]:
        raise ValueError(f"points: have {points.shape[1]} dimensions, the samples {samples.shape[1]}")
    if samples.shape[1] <= 10:
        return KDTree(points).query(samples)
    # In many dimensions a tree visits everything; in float64, for the expanded square cancels near zero.
    points, found, where = torch.from_numpy(np.float64(points)), [], []
    for part in torch.from_numpy(np.float64(samples)).split(500):
        squares = part.square().sum(1, keepdim=True) - 2 * part @ points.T + points.square().sum(1)
        square, index = squares.min(1)
        found.append(square.clamp_min(0).sqrt())
        where.append(index)
    return torch.cat(found).numpy(), torch.cat(where).numpy()
