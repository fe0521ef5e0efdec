"""Paths that are read off afterwards, and solves of which some samples fail."""

from __future__ import annotations

import math

import pytest
import torch
from explosion import TIMES, explode, must_be_partial, starts

from ncode import SolveError, Solver
from ncode.solvers.dense import solve_path
from ncode.solvers.partial import solve_partial

pytestmark = pytest.mark.usefixtures("float64")


def wave(t, z):
    """x = x(0) exp(sin t)."""
    return (z[0] * torch.cos(t),)


@pytest.mark.parametrize(
    ("method", "close"), [("dopri5", 1e-7), ("tsit5", 1e-7), ("bosh3", 1e-7), ("dopri8", 1e-4), ("rk4", 1e-6)]
)
@pytest.mark.parametrize("end", [3.0, -2.0])
def test_a_path_is_exact_everywhere(method, close, end):
    options = {"steps": 100} if method == "rk4" else {"rtol": 1e-9, "atol": 1e-9}
    x = torch.tensor([[1.0], [2.0]], requires_grad=True)
    path = solve_path(wave, (x,), [0.0, end], Solver(method, **options))
    t = torch.linspace(0, end, 57)
    (found,) = path(t)
    exact = x * torch.sin(t).exp()[:, None, None]
    torch.testing.assert_close(found, exact, rtol=close, atol=close)
    (slope,) = torch.autograd.grad(path(0.7 * end)[0].sum(), x)
    torch.testing.assert_close(slope, torch.full((2, 1), math.exp(math.sin(0.7 * end))), rtol=close, atol=close)
    for time, value in ((0.0, x), (end, found[-1])):
        torch.testing.assert_close(path(time)[0], value, rtol=0, atol=0)


def test_paths_that_make_no_sense_are_refused():
    x = (torch.ones(1, 1),)
    path = solve_path(wave, x, [0.0, 1.0], Solver())
    with pytest.raises(ValueError, match=r"t: 1\.5 lies outside"):
        path(1.5)
    with pytest.raises(ValueError, match="t: a path needs"):
        solve_path(wave, x, [1.0, 1.0], Solver())
    with pytest.raises(ValueError, match="gradients: a path has direct ones"):
        solve_path(wave, x, [0.0, 1.0], Solver(gradients="adjoint"))


def test_a_velocity_of_another_shape_is_refused():
    """It would broadcast."""
    with pytest.raises(ValueError, match=r"f: must give shape \(3, 1\), not \(3,\)"):
        solve_path(lambda t, z: (-z[0][:, 0],), (torch.ones(3, 1),), [0.0, 1.0], Solver())


@pytest.mark.parametrize("method", ["dopri5", "rk4", "rodas4"])
def test_the_times_of_a_path_get_their_gradient(method):
    """x = exp(sin t - sin s), with s where the path begins; read off at times in any order, and at one."""
    options = {"steps": 200} if method == "rk4" else {"rtol": 1e-8, "atol": 1e-8}
    s, t = torch.tensor(0.2, requires_grad=True), torch.tensor([1.7, 0.4, 2.0], requires_grad=True)
    path = solve_path(wave, (torch.ones(1, 1),), [s, 3.0], Solver(method, **options))
    for found, exact in (
        (path(t)[0], torch.exp(t.sin() - s.sin())),
        (path([0.4, t[0]])[0], torch.exp(torch.stack([torch.tensor(0.4), t[0]]).sin() - s.sin())),
        (path(t[1])[0], torch.exp(t[1].sin() - s.sin())),
    ):
        torch.testing.assert_close(found.flatten(), exact.flatten(), rtol=1e-4, atol=1e-4)
        slopes = [torch.autograd.grad(x.square().sum(), (s, t), retain_graph=True) for x in (found, exact)]
        torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("gradients", ["direct", "checkpointed", "adjoint"])
def test_those_who_can_be_solved_are(gradients):
    x = starts()
    found = solve_partial(explode, (x,), TIMES, Solver(rtol=1e-8, atol=1e-8, gradients=gradients))
    must_be_partial(found, x)
    assert found.nfe.forward > sum(error.nfe for error in found.failures.values())


@pytest.mark.parametrize("options", [{}, {"gradients": "adjoint"}, {"method": "rk4"}, {"independent": True}])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_start_that_is_not_finite_fails_no_other(options, bad):
    start = torch.tensor([[1.0], [bad], [2.0]], requires_grad=True)
    solver = Solver(**({"rtol": 1e-8, "atol": 1e-8} | options))
    for t in ([0.5, 1.5], torch.tensor([[0.5, 0.5, 0.5], [1.5, 1.5, 1.5]])):
        found = solve_partial(lambda t, z: (-z[0],), (start,), t, solver)
        assert list(found.failures) == [1] and found.failures[1].sample == 1 and found.failures[1].t == 0.5
        torch.testing.assert_close(found.path[0][-1, [0, 2]], start[[0, 2]] * math.exp(-1), rtol=1e-4, atol=0)
        assert found.path[0][:, 1].isnan().all()
        (slope,) = torch.autograd.grad(found.path[0][-1, [0, 2]].sum(), start)
        torch.testing.assert_close(slope.flatten(), torch.tensor([1.0, 0.0, 1.0]) * math.exp(-1), rtol=1e-4, atol=0)


def test_where_no_start_is_finite_all_fail():
    found = solve_partial(wave, (torch.full((2, 1), math.nan),), [0.0, 1.0], Solver())
    assert sorted(found.failures) == [0, 1] and found.path[0].isnan().all()


def test_where_none_fails_it_is_an_ordinary_solve():
    found = solve_partial(wave, (torch.ones(2, 1),), [0.0, 1.0], Solver("rk4"))
    assert found.failures == {} and found.nfe.forward == 40


def test_what_fails_for_no_single_sample_fails():
    with pytest.raises(SolveError, match="too many"):
        solve_partial(wave, (torch.ones(2, 1),), [0.0, 1.0], Solver("rk4", steps=10, max_nfe=20))
