"""The Van der Pol experiment: what it is measured against, and that it finds μ where it must."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ncode.reproduction.experiments import van_der_pol
from ncode.reproduction.experiments.van_der_pol import analysis, verdict
from ncode.reproduction.experiments.van_der_pol.train import Config, Observed, is_close


def test_without_damping_it_is_the_harmonic_oscillator():
    t = torch.linspace(0, 6, 25)
    # Solved at 1e-9 and returned in single precision.
    torch.testing.assert_close(van_der_pol.path(0.0, t), 2 * torch.cos(t), atol=1e-5, rtol=0)


def test_the_limit_cycles_amplitude_is_two():
    t = torch.linspace(0, 40, 4001)
    late = van_der_pol.path(2.0, t)[2000:]
    # Known to lie between 2.00 and 2.03 for every μ (Odani 1997).
    assert 2.0 <= late.max() <= 2.03
    assert late.min() == pytest.approx(-late.max().item(), abs=0.01)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_floor_is_the_best_monotone_curve(sign):
    x = sign * torch.tensor([0.0, 1.0, 3.0, 2.0, 4.0])
    floor, best = van_der_pol.monotone_floor(x)
    # The one pair out of order is pooled at its mean: two errors of 1/2 among five points.
    assert floor == pytest.approx(0.1)
    np.testing.assert_allclose(sign * best, [0, 1, 2.5, 2.5, 4])


def test_the_floor_is_of_curves_that_start_where_the_data_do():
    # Rising would fit all but the first point exactly; from 2 on it may only rise further or fall.
    floor, best = van_der_pol.monotone_floor(torch.tensor([2.0, -1.0, 0.0, 1.0]))
    np.testing.assert_allclose(best, [2, 0, 0, 0])
    assert floor == pytest.approx(0.5)


def test_a_growing_horizon_starts_at_one_and_reaches_the_end():
    config = Config("ncode", seed=0, iterations=40, horizon=10.0, growing=True)
    t, x = van_der_pol.observe(config)
    ends = [float(Observed(t, x, config)[k][0][-1]) for k in range(40)]
    assert ends[0] == pytest.approx(1.0)
    assert ends == sorted(ends)
    assert ends[29] < 10.0 and ends[30] == pytest.approx(10.0) and ends[39] == pytest.approx(10.0)
    plain = Observed(t, x, Config("ncode", seed=0, horizon=10.0))
    assert len(plain[0][0]) == len(t)


def test_the_landscape_is_lowest_at_the_true_mu_and_agrees_with_the_loss():
    config = Config("ncode", seed=0, horizon=6.0, noise=0.0)
    mu = torch.tensor([1.0, 1.8, 2.0, 2.2, 4.0])
    loss = van_der_pol.landscape(config, mu)
    assert loss.shape == (5, 30)
    assert int(loss[:, -1].argmin()) == 2
    t, x = van_der_pol.observe(config)
    direct = (van_der_pol.path(4.0, t) - x)[1:].square().mean()
    # The landscape is solved at tolerance 1e-3.
    assert float(loss[4, -1]) == pytest.approx(float(direct), rel=0.02)


def run_with(**metrics):
    """A run whose every part that a verdict reads is known; ``mu`` is an array."""
    mu = np.array(metrics.pop("mu", []))
    made = {"started": "2026-11-27"}
    return SimpleNamespace(id="", config=Config("ncode", 0), metrics=metrics, provenance=made, array={"mu": mu}.get)


@pytest.mark.parametrize(("mu", "held"), [([2.019, 1.981], True), ([2.0, 1.95], False)])
def test_one_rule_says_what_counts_as_recovered(mu, held):
    # 1.95 is within a tenth of μ = 2, and not within 1 % of it.
    fit = run_with(mu=mu, recovered=int(is_close(torch.tensor(mu)).sum()))
    node = run_with(mse=1.0, floor=0.5)
    assert verdict.n7([fit], [node], "paper")[0].exact is held
    fits = {(10.0, way): [fit] for way in ("plain", "growing")}
    found = [answer for name, answer in analysis.checks([], fits, 2).items() if "1 %" in name]
    assert found == [held, held]


def test_near_starts_find_mu_and_only_mu_is_learned():
    config = Config("ncode", seed=0, iterations=25, horizon=4.0, starts=2, learning_rate=0.2)
    model = van_der_pol.build(config)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["g.mu"]
    assert model.g.mu.tolist() == pytest.approx([0.3, 5.0])
    result = van_der_pol.experiment.train(config)
    # On its way there: the start at 0.3 has come most of the way.
    assert abs(result.arrays["mu"][0] - 2) < 0.6
    assert result.history.loss[-1] < 0.5 * result.history.loss[0]
