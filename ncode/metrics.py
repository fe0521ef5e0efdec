"""How good samples, clusters and paths are: Fréchet distance, clustering accuracy, path length; and latent densities.

A Fréchet distance means something only beside its floor: what as many *real* images score. So :class:`Reference`
never gives the one without the other. It is called FID only where the features are InceptionV3's
(:mod:`ncode.features`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from torch import Tensor

Points = Float[np.ndarray, "_ _"]
Labels = Integer[np.ndarray, " n"]

COMPONENTS = 128
"""Principal components that features are projected to. A covariance of more dimensions than that needs more images
than a test set has: the distance of two real samples is then bias, and large."""

REGULARISATION = 1e-6
"""What is added to a mixture's variances, as in scikit-learn."""


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of features, in float64.

    The covariance is kept as a factor R with Σ = RᵀR, so that nothing is squared and no root of a nearly singular
    matrix is ever taken.
    """

    mean: Float[np.ndarray, " dim"]
    factor: Float[np.ndarray, "rank dim"]


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


def frechet_distance(a: Moments, b: Moments) -> float:
    """‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2(Σ₁Σ₂)^½), the squared Fréchet distance of two Gaussians (Heusel et al. 2017).

    With Σᵢ = RᵢᵀRᵢ the root's trace is the sum of the singular values of R₁R₂ᵀ: exact for singular covariances, too.
    """
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

    def __init__(self, test: Points, real: Points, size: int, components: int | None = COMPONENTS):
        if len(real) < size:
            raise ValueError(f"size: {size} samples need as many real images for their floor; there are {len(real)}")
        self.size = size
        self._centre = test.mean(0)
        self._axes = np.linalg.svd(np.linalg.qr(test - self._centre, mode="r"), full_matrices=False)[2][:components]
        self._test = moments(self.project(test))
        self.floor = frechet_distance(moments(self.project(real[:size])), self._test)

    def project(self, features: Points) -> Points:
        """Coordinates along the test features' principal components."""
        return (features - self._centre) @ self._axes.T

    def score(self, features: Points) -> Score:
        """The Fréchet distance between samples and test images.

        Raises:
            ValueError: when there are not exactly ``size`` samples: another number has another floor.
        """
        if len(features) != self.size:
            raise ValueError(f"features: {len(features)} samples, where the floor is that of {self.size}")
        return Score(frechet_distance(moments(self.project(features)), self._test), self.floor)


def clustering_accuracy(labels: Labels, clusters: Labels) -> float:
    """The share of points in the right class when clusters are assigned to classes in the best way, one to one.

    Raises:
        ValueError: on negative labels, such as a clustering's -1 for noise: say what these are to count as.
    """
    if min(labels.min(), clusters.min()) < 0:
        raise ValueError("labels, clusters: must not be negative")
    table = np.zeros((clusters.max() + 1, labels.max() + 1), dtype=int)
    np.add.at(table, (clusters, labels), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(labels))


def mixture(z: Points, components: int, seed: int = 0, starts: int = 1) -> GaussianMixture | KernelDensity:
    """A Gaussian mixture with full covariances; of several starts the one with the largest likelihood on ``z``.

    With a component for every point the likelihood is largest with one narrow component at each, of variance
    :data:`REGULARISATION`: that limit is returned as such, without the iterations to it.

    Raises:
        ValueError: for more components than points.
    """
    if components > len(z):
        raise ValueError(f"components: {components} for {len(z)} points")
    if components == len(z):
        return kernel_density(z, REGULARISATION)
    # Independent of any score: what is drawn from a mixture must not choose it.
    return GaussianMixture(components, n_init=starts, random_state=seed, reg_covar=REGULARISATION, max_iter=200).fit(z)


def kernel_density(z: Points, variance: float) -> KernelDensity:
    """A Gaussian kernel of this variance, in every direction, at each point of ``z``."""
    return KernelDensity(bandwidth=float(np.sqrt(variance))).fit(z)


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


def neighbours(samples: Points, fitted: Points, unseen: Points) -> Neighbours:
    """The nearest neighbours of ``samples`` on either side.

    Raises:
        ValueError: when the sides have different sizes: the larger one is nearer by its size alone.
    """
    if len(fitted) != len(unseen):
        raise ValueError(f"unseen: {len(unseen)} points beside {len(fitted)} fitted ones")
    near, far = nearest(samples, fitted)[0], nearest(samples, unseen)[0]
    return Neighbours(near, far, float((near < far).mean() + (near == far).mean() / 2))


def nearest(samples: Points, points: Points) -> tuple[Float[np.ndarray, " n"], Labels]:
    """Distance to and index of each sample's nearest point."""
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
    t = (np.arange(times) + 0.5) / times
    with torch.no_grad():
        speed = [
            (features_at(start, end, s + step / 2) - features_at(start, end, s - step / 2)).norm(dim=1) / step
            for s in t
        ]
        ends = (features_at(start, end, 1.0) - features_at(start, end, 0.0)).norm(dim=1)
    return Path(t, torch.stack(speed).double().cpu().numpy(), ends.double().cpu().numpy())


def linear(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, float], Tensor]:
    """``network`` along straight lines: what :func:`perceptual_path` follows."""
    return lambda start, end, t: network(torch.lerp(start, end, t))
