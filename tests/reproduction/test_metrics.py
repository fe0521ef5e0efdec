"""Fréchet distance against the closed form, clustering accuracy by enumeration, densities, neighbours, path length."""

import itertools

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.neighbors import KernelDensity

from ncode.reproduction import metrics
from ncode.reproduction.metrics import densities
from ncode.reproduction.metrics.frechet import Moments, Reference, frechet_distance, moments


def gaussian(mean, covariance) -> Moments:
    return Moments(np.asarray(mean, float), np.linalg.cholesky(np.asarray(covariance, float)).T)


def random_gaussian(rng, dim=5) -> tuple[np.ndarray, np.ndarray]:
    root = rng.normal(size=(dim, dim))
    return rng.normal(size=dim), root @ root.T + 0.1 * np.eye(dim)


def test_frechet_of_two_gaussians_in_one_dimension_is_exact():
    # (μ₁ - μ₂)² + (σ₁ - σ₂)²
    a, b = gaussian([1.0], [[4.0]]), gaussian([-2.0], [[0.25]])
    assert frechet_distance(a, b) == pytest.approx(9 + 1.5**2, rel=1e-14)


def test_frechet_of_commuting_covariances_is_exact():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    p, q = rng.uniform(0.1, 3, size=(2, 6))
    a, b = (gaussian(np.zeros(6), basis * s @ basis.T) for s in (p, q))
    assert frechet_distance(a, b) == pytest.approx(((np.sqrt(p) - np.sqrt(q)) ** 2).sum(), rel=1e-12)


def test_frechet_is_the_formula_of_heusel_et_al():
    rng = np.random.default_rng(1)
    (m, s), (n, t) = random_gaussian(rng), random_gaussian(rng)
    formula = ((m - n) ** 2).sum() + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real)
    got = frechet_distance(gaussian(m, s), gaussian(n, t))
    assert got == pytest.approx(formula, rel=1e-10)
    assert frechet_distance(gaussian(n, t), gaussian(m, s)) == pytest.approx(got, rel=1e-12)


def test_moments_are_mean_and_unbiased_covariance():
    x = np.random.default_rng(2).normal(size=(40, 4)).astype(np.float32)
    found = moments(x)
    np.testing.assert_allclose(found.mean, x.mean(0, dtype=np.float64), atol=1e-15)
    np.testing.assert_allclose(found.factor.T @ found.factor, np.cov(x.T.astype(np.float64)), rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="1 points"):
        moments(x[:1])


def test_frechet_is_stable_for_singular_covariances():
    """Fewer points than dimensions, and directions without any variance: zero from itself, exact from a shift."""
    rng = np.random.default_rng(3)
    flat = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 100)) * 1e3
    scale = (moments(flat).factor ** 2).sum()
    # Relative to the traces that cancel: a few units of float64 rounding. A root of Σ₁Σ₂ is only good to 1e-8.
    assert frechet_distance(moments(flat), moments(flat)) < 1e-13 * scale
    shift = rng.normal(size=100)
    assert frechet_distance(moments(flat), moments(flat + shift)) == pytest.approx(shift @ shift, abs=1e-12 * scale)
    point = moments(np.tile(flat[:1], (5, 1)))
    expected = ((flat.mean(0) - flat[0]) ** 2).sum() + scale
    assert frechet_distance(moments(flat), point) == pytest.approx(expected, rel=1e-12)


def test_a_reference_gives_the_floor_with_the_score():
    rng = np.random.default_rng(4)
    test, real, other = (rng.normal(size=(500, 20)) for _ in range(3))
    reference = Reference(test, real, size=400)
    same, shifted = reference.score(other[:400]), reference.score(other[:400] + 1)
    assert same.floor == shifted.floor == reference.floor
    assert same.distance == pytest.approx(same.floor, rel=0.3)  # Two samples of one Gaussian: bias, and its spread.
    assert shifted.distance == pytest.approx(20, rel=0.2)  # ‖shift‖² = 20 in all 20 components.
    with pytest.raises(ValueError, match="need as many real"):
        Reference(test, real[:100], size=400)
    with pytest.raises(ValueError, match="the floor is that of 400"):
        reference.score(other[:300])


def test_the_floor_is_bias_that_falls_with_the_number_of_images_and_of_components():
    rng = np.random.default_rng(5)
    test, real = rng.normal(size=(2, 2000, 40))
    floors = [Reference(test, real, size, components).floor for size, components in ((200, 40), (2000, 40), (200, 4))]
    assert floors[0] > 3 * floors[1] and floors[0] > 3 * floors[2]


def test_projection_keeps_the_directions_of_largest_variance():
    rng = np.random.default_rng(6)
    test = rng.normal(size=(300, 8)) * np.array([0.1, 5, 0.1, 0.1, 3, 0.1, 0.1, 0.1])
    projected = Reference(test, test, 300, components=2).project(test)
    assert projected.shape == (300, 2)
    assert projected.var(0).sum() > 0.99 * test.var(0).sum()


def test_clustering_accuracy_is_the_best_of_all_assignments():
    rng = np.random.default_rng(7)
    labels, clusters = rng.integers(0, 4, size=(2, 60))
    by_hand = max((np.array(order)[clusters] == labels).mean() for order in itertools.permutations(range(4)))
    assert metrics.clustering_accuracy(labels, clusters) == by_hand
    assert metrics.clustering_accuracy(labels, (labels + 1) % 4) == 1
    # Fewer clusters than classes: one class each.
    assert metrics.clustering_accuracy(np.arange(4), np.zeros(4, int)) == 0.25


def test_a_mixture_is_chosen_by_likelihood_and_draws_what_it_fits():
    rng = np.random.default_rng(8)
    z = np.concatenate([rng.normal(m, 0.3, size=(200, 2)) for m in (-4, 0, 4)])
    fitted = metrics.mixture(z, 3, starts=3)
    one = metrics.mixture(z, 3, starts=1)
    assert fitted.lower_bound_ >= one.lower_bound_
    drawn = metrics.draw(fitted, 600, seed=1)
    assert sorted(np.round(fitted.means_[:, 0])) == [-4, 0, 4]
    assert frechet_distance(moments(drawn), moments(z)) < 0.1
    np.testing.assert_array_equal(drawn, metrics.draw(fitted, 600, seed=1))
    assert abs(drawn[:100].mean() - drawn[-100:].mean()) < 2, "not sorted by component"


def test_a_component_for_every_point_is_the_limit_of_the_iterations():
    """The shortcut for as many components as points is what scikit-learn's own fit converges to."""
    from sklearn.mixture import GaussianMixture

    z = np.random.default_rng(9).normal(size=(12, 2)) * 5
    floor = densities.REGULARISATION
    slow = GaussianMixture(12, init_params="random_from_data", reg_covar=floor, random_state=0).fit(z)
    quick = metrics.mixture(z, 12)
    assert isinstance(quick, KernelDensity)
    np.testing.assert_allclose(slow.score_samples(z), quick.score_samples(z), rtol=1e-6)
    samples = metrics.draw(quick, 50)
    assert metrics.nearest(samples, z)[0].max() < 0.01
    with pytest.raises(ValueError, match="13 for z of 12"):
        metrics.mixture(z, 13)


def test_a_kernel_adds_its_variance():
    z = np.random.default_rng(10).normal(size=(4000, 3))
    drawn = metrics.draw(metrics.kernel_density(z, 0.5), 40_000)
    # The sample variance of 40,000 points: standard error √2/200 of it.
    np.testing.assert_allclose(drawn.var(0), z.var(0) + 0.5, rtol=0.04)


@pytest.mark.parametrize("dim", [3, 30])
def test_nearest_neighbours_by_tree_and_by_matrix(dim):
    rng = np.random.default_rng(11)
    a, b = rng.normal(size=(40, dim)), rng.normal(size=(70, dim))
    distance, index = metrics.nearest(a, b)
    every = np.linalg.norm(a[:, None] - b[None], axis=2)
    np.testing.assert_allclose(distance, every.min(1), rtol=1e-10)
    np.testing.assert_array_equal(index, every.argmin(1))


def test_copies_are_told_from_new_samples():
    rng = np.random.default_rng(12)
    fitted, unseen, fresh = rng.normal(size=(3, 1000, 12))
    copies = fitted + 1e-3 * rng.normal(size=fitted.shape)
    assert metrics.neighbours(copies, fitted, unseen).copied > 0.99
    # 1000 fair coins: four standard errors.
    assert abs(metrics.neighbours(fresh, fitted, unseen).copied - 0.5) < 0.065
    with pytest.raises(ValueError, match="beside 1000"):
        metrics.neighbours(fresh, fitted, unseen[:10])


def test_path_length_of_a_linear_network_is_the_displacement_squared():
    torch.manual_seed(0)
    matrix = torch.randn(5, 7, dtype=torch.float64)
    start, end = torch.randn(2, 30, 5, dtype=torch.float64)
    path = metrics.perceptual_path(metrics.linear(lambda z: z @ matrix), start, end)
    assert path.speed.shape == (20, 30)
    assert path.length == pytest.approx(float(((end - start) @ matrix).square().sum(1).mean()), rel=1e-9)
    assert path.excess == pytest.approx(1, rel=1e-9)


def test_path_length_of_a_circle_has_a_known_excess():
    """Half a unit circle: speed π everywhere, displacement 2."""

    def circle(start, end, t):
        angle = torch.pi * torch.lerp(start, end, torch.as_tensor(t, dtype=start.dtype))
        return torch.cat([angle.cos(), angle.sin()], dim=1)

    start, end = torch.zeros(4, 1, dtype=torch.float64), torch.ones(4, 1, dtype=torch.float64)
    path = metrics.perceptual_path(circle, start, end)
    # A central difference of step h is off by (πh)²/24.
    np.testing.assert_allclose(path.speed, np.pi, rtol=1e-6)
    assert path.excess == pytest.approx(np.pi**2 / 4, rel=1e-5)


def test_a_sudden_change_has_a_longer_path_than_a_steady_one():
    def features(sharpness):
        return metrics.linear(lambda z: torch.sigmoid(sharpness * z))

    start, end = torch.full((3, 1), -1.0).double(), torch.full((3, 1), 1.0).double()
    excess = [metrics.perceptual_path(features(s), start, end, times=200).excess for s in (1, 4, 16)]
    assert 1 <= excess[0] < excess[1] < excess[2]


def test_noise_is_no_cluster():
    with pytest.raises(ValueError, match="negative"):
        metrics.clustering_accuracy(np.array([0, 0, 1, 1]), np.array([0, 0, -1, 1]))
