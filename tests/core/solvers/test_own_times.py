"""Samples with times of their own: against each alone, with gradients of every time."""

from __future__ import annotations

import pytest
import torch
from models import KINDS, build

from ncode import Solver
from ncode.solvers.dispatch import integrate

pytestmark = pytest.mark.usefixtures("float64")

TIMES = torch.tensor([[0.0, 1.0, -0.5, 0.3], [0.5, 0.4, -0.5, 0.3], [2.0, -1.0, 0.0, 0.3]], dtype=torch.float64)
"""One forward, one backward, one that stands still for a while, one that stands still."""


def swing(t, z):
    """x' = t x: x(t) = x(t0) exp((t² - t0²)/2)."""
    return (t * z[0],)


@pytest.mark.parametrize("gradients", ["direct", "checkpointed", "adjoint"])
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "rk4"])
def test_states_and_gradients_are_exact(method, gradients):
    options = {"steps": 400} if method == "rk4" else {"rtol": 1e-10, "atol": 1e-10}
    t, x = TIMES.clone().requires_grad_(), torch.tensor([[1.0], [2.0], [-1.0], [0.5]], requires_grad=True)
    (path,), nfe = integrate(swing, (x,), t, Solver(method, gradients=gradients, **options))
    exact = x * torch.exp((t**2 - t[:1] ** 2) / 2).unsqueeze(2)
    torch.testing.assert_close(path, exact, rtol=1e-7, atol=1e-8)
    weights = torch.arange(1.0, 13.0).reshape(3, 4, 1)
    found = torch.autograd.grad((path * weights).sum(), [t, x])
    expected = torch.autograd.grad((exact * weights).sum(), [t, x])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert nfe.forward > 0 and (nfe.backward > 0) == (gradients != "direct")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_among_others_is_what_it_is_alone(dtype):
    """θ belongs to the sample, the state is an image, and the field knows the time."""
    torch.manual_seed(0)
    theta = torch.randn(4, 2, 3, 3, dtype=dtype)
    x = torch.randn(4, 2, 3, 3, dtype=dtype)
    solver = Solver(rtol=1e-6, atol=1e-6)
    (path,), _ = integrate(lambda t, z: (torch.tanh(theta * z[0]) * t,), (x,), TIMES, solver)
    assert path.dtype == dtype and path.shape == (3, *x.shape)
    for i in range(4):
        (alone,), _ = integrate(
            lambda t, z, i=i: (torch.tanh(theta[i] * z[0]) * t,), (x[i : i + 1],), TIMES[:, i].tolist(), solver
        )
        torch.testing.assert_close(path[:, i], alone[:, 0], rtol=1e-4, atol=1e-5)


def test_parts_of_several_shapes():
    """A closed loop with a running cost beside it, over equal times as over one vector of them."""
    model = build("closed", Solver(rtol=1e-8, atol=1e-8))
    x = torch.randn(3, 2)
    problem = model.problem(x)

    def f(t, z):
        velocity = problem.f(t, z[:2])
        return (*velocity, velocity[0].square().sum(1))

    start = (*problem.state, torch.zeros(3))
    own, _ = integrate(f, start, torch.tensor([[0.0] * 3, [0.4] * 3, [1.0] * 3]), model.solver, costs=1)
    shared, _ = integrate(f, start, [0.0, 0.4, 1.0], model.solver, costs=1)
    for a, b in zip(own, shared, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_step_lengths_are_in_the_longest_samples_time():
    t = torch.tensor([[0.0, 0.0], [2.0, 1.0]])
    _, fixed = integrate(swing, (torch.ones(2, 1),), t, Solver("euler", step_size=0.1))
    assert fixed.forward == 20
    _, few = integrate(swing, (torch.ones(2, 1),), t, Solver("euler", steps=7))
    assert few.forward == 7
    _, short = integrate(swing, (torch.ones(2, 1),), t, Solver(max_step=0.01))
    assert short.forward > 6 * 200


def test_jumps_are_refused():
    with pytest.raises(ValueError, match="jumps: not with times"):
        integrate(swing, (torch.ones(4, 1),), TIMES, Solver(jumps=(0.5,)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
def test_models_take_them_too(kind, gradients):
    model = build(kind, Solver(rtol=1e-7, atol=1e-7, gradients=gradients))
    x = torch.randn(3, 2, requires_grad=True)
    t = torch.tensor([[0.0, 0.0, 0.0], [0.3, 1.0, 0.5], [0.7, 1.0, -0.2]])
    t[2, 2] = 2.0
    path = model.trajectory(x, t)
    assert torch.equal(path.t, t)
    for i in range(3):
        alone = model.trajectory(x[i : i + 1], t[:, i].tolist())
        torch.testing.assert_close(path.x[:, i], alone.x[:, 0], rtol=1e-5, atol=1e-5)
        if path.theta is not None:
            torch.testing.assert_close(path.theta[:, i], alone.theta[:, 0], rtol=1e-5, atol=1e-5)
    path.x.square().sum().backward()
    assert x.grad.isfinite().all()
