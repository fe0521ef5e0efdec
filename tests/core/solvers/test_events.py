"""Events: each sample's own, at the exact time, with the exact gradient of time and state."""

from __future__ import annotations

import math

import pytest
import torch

from ncode import Solver
from ncode.solvers.events import solve_until

pytestmark = pytest.mark.usefixtures("float64")


def fall(t, z):
    """Height and speed under gravity 1: a ball thrown up from h at v lands at v + √(v² + 2h)."""
    return (torch.stack([z[0][:, 1], -torch.ones_like(z[0][:, 1])], 1),)


def height(t, z):
    return z[0][:, 0]


@pytest.mark.parametrize("gradients", ["direct", "checkpointed", "adjoint"])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3", "dopri8", "rk4"])
def test_balls_land_when_they_do(method, gradients):
    options = {"steps": 50} if method == "rk4" else {"rtol": 1e-9, "atol": 1e-9}
    start = torch.tensor([[1.0, 0.0], [0.5, 1.0], [2.0, -1.0], [3.0, 8.0]], requires_grad=True)
    stop = solve_until(fall, (start,), [0.0, 5.0], height, Solver(method, gradients=gradients, **options))
    h, v = start.unbind(1)
    lands = v + torch.sqrt(v**2 + 2 * h)
    assert stop.happened.tolist() == [True, True, True, False]
    torch.testing.assert_close(stop.t[:3], lands[:3], rtol=1e-8, atol=1e-8)
    assert stop.t[3].item() == 5.0
    found = torch.autograd.grad(stop.t[:3].sum() + (stop.state[0][:3, 1] ** 3).sum(), start)
    speed = v - lands
    expected = torch.autograd.grad((lands + speed**3)[:3].sum(), start)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    # At its own end, the state is on the ground.
    torch.testing.assert_close(stop.state[0][:3, 0], torch.zeros(3), rtol=0, atol=1e-9)


def test_the_gradient_of_a_parameter_through_the_time():
    """x' = -k x from 1 crosses 1/2 at ln 2/k."""
    k = torch.tensor([[0.5], [1.0], [2.0]], requires_grad=True)
    solver = Solver(rtol=1e-10, atol=1e-10, gradients="adjoint")
    stop = solve_until(
        lambda t, z: (-k * z[0],), (torch.ones(3, 1),), [0.0, 9.0], lambda t, z: z[0][:, 0] - 0.5, solver, [k]
    )
    torch.testing.assert_close(stop.t, math.log(2) / k.detach()[:, 0])
    (found,) = torch.autograd.grad(stop.t.sum(), k)
    torch.testing.assert_close(found, -math.log(2) / k.detach() ** 2, rtol=1e-7, atol=0)


def test_an_event_of_time_and_backward_in_time():
    stop = solve_until(
        lambda t, z: (torch.ones_like(z[0]),),
        (torch.zeros(2, 1),),
        [1.0, -3.0],
        lambda t, z: z[0][:, 0] - 2 * (t + torch.tensor([[0.0], [1.0]]))[:, 0] + 1,
        Solver(),
    )
    # x = t - 1; x - 2t + 1 = -t crosses at 0, and x - 2(t + 1) + 1 = -t - 2 at -2.
    torch.testing.assert_close(stop.t, torch.tensor([0.0, -2.0]), rtol=0, atol=1e-9)
    torch.testing.assert_close(stop.state[0][:, 0], torch.tensor([-1.0, -3.0]), rtol=0, atol=1e-9)


def test_in_float32_the_time_is_as_exact_as_the_state():
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float32)
    stop = solve_until(fall, (start,), [0.0, 5.0], height, Solver())
    assert stop.t.dtype == torch.float64 and stop.state[0].dtype == torch.float32
    assert float(stop.t) == pytest.approx(math.sqrt(2), abs=1e-6)


def test_what_is_no_event_is_named():
    with pytest.raises(ValueError, match=r"event: must give one number a sample, shape \(1,\)"):
        solve_until(fall, (torch.ones(1, 2),), [0.0, 1.0], lambda t, z: z[0], Solver())
