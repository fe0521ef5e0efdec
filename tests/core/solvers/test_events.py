"""Events: each sample's own, at the exact time, with the exact gradient of time and state."""

from __future__ import annotations

import math

import pytest
import torch

from ncode import Solver
from ncode.solvers.events import _rate, solve_until

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


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
def test_second_derivatives_of_time_and_state(gradients):
    start = torch.tensor([[1.0, 0.0], [0.5, 1.0], [2.0, -1.0]], requires_grad=True)
    solver = Solver(rtol=1e-10, atol=1e-10, gradients=gradients)
    stop = solve_until(fall, (start,), [0.0, 5.0], lambda t, z: z[0][:, 0].sinh(), solver)
    h, v = start.unbind(1)
    lands = v + torch.sqrt(v**2 + 2 * h)
    curved = []
    for t, speed in ((stop.t, stop.state[0][:, 1]), (lands, v - lands)):
        (slope,) = torch.autograd.grad((t**2 + speed**3).sum(), start, create_graph=True)
        curved += torch.autograd.grad(slope.sin().sum(), start)
    torch.testing.assert_close(*curved, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [1.0, 100.0, 1e4, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_the_time_is_exact_whatever_the_size_of_time_and_state(size, dtype):
    """z = h + t/10 reaches h + 2 at 20; t - s itself is zero at s."""
    h = torch.tensor([[size]], dtype=dtype, requires_grad=True)
    stop = solve_until(
        lambda t, z: (0 * z[0] + 0.1,), (h,), [0.0, 40.0], lambda t, z: z[0][:, 0] - (size + 2), Solver()
    )
    assert torch.autograd.grad(stop.t.sum(), h)[0].item() == pytest.approx(-10, rel=1e-5)
    s = torch.tensor(size + 1, dtype=dtype, requires_grad=True)
    stop = solve_until(
        lambda t, z: (0 * z[0],), (h.detach(),), [size, size + 3], lambda t, z: (t - s).flatten(), Solver()
    )
    assert torch.autograd.grad(stop.t.sum(), s)[0].item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_an_event_that_autograd_does_not_see_through_has_its_rate_from_differences(size):
    """e = 3 t + z² along z' = v: 3 + 2 z v."""
    state, velocity = torch.full((3, 1), size, dtype=torch.float32), torch.tensor([[0.0], [0.1], [-1e3]])
    t = torch.tensor([0.0, size, -size])
    seen = []

    def event(t, z):
        seen.append(z[0].requires_grad)
        return (3 * t + z[0].double() ** 2).flatten().detach()

    found = _rate(event, t, (state,), (velocity.float(),))
    assert seen[0] and len(seen) == 5
    torch.testing.assert_close(found, 3 + 2 * size * velocity.flatten(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
def test_the_solves_own_times_get_their_gradient(independent, gradients):
    """x' = -x: 2 exp(s - t) crosses 1/2 at s + ln 4; 1/4 never does, and ends at t."""
    times = [torch.tensor(time, requires_grad=True) for time in (0.3, 4.0)]
    solver = Solver(rtol=1e-10, atol=1e-10, independent=independent, gradients=gradients)
    stop = solve_until(
        lambda t, z: (-z[0],), (torch.tensor([[2.0], [0.25]]),), times, lambda t, z: z[0][:, 0] - 0.5, solver
    )
    torch.testing.assert_close(stop.t, torch.tensor([0.3 + math.log(4), 4.0]))
    for value, expected in (
        (stop.t[0], (1.0, 0.0)),
        (stop.t[1], (0.0, 1.0)),
        (stop.state[0][0, 0], (0.0, 0.0)),
        (stop.state[0][1, 0], (0.25 * math.exp(-3.7), -0.25 * math.exp(-3.7))),
    ):
        found = torch.autograd.grad(value, times, retain_graph=True)
        torch.testing.assert_close(torch.stack(found), torch.tensor(expected), rtol=1e-7, atol=1e-7)


def test_events_without_a_graph_are_those_with_one():
    start = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    found = solve_until(fall, (start,), [0.0, 5.0], height, Solver())
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            other = solve_until(fall, (start.clone(),), [0.0, 5.0], height, Solver())
        torch.testing.assert_close((other.t, other.state), (found.t, found.state))


@pytest.mark.parametrize("independent", [False, True])
def test_a_velocity_of_another_shape_is_refused_at_once(independent):
    calls = []

    def f(t, z):
        calls.append(t)
        return (-z[0][:, 0],)

    with pytest.raises(ValueError, match=r"f: must give shape \(3, 1\), not \(3,\)"):
        solve_until(f, (torch.ones(3, 1),), [0.0, 1.0], height, Solver(independent=independent))
    assert len(calls) == 1


def test_what_is_no_event_is_named():
    with pytest.raises(ValueError, match=r"event: must give one number a sample, shape \(1,\)"):
        solve_until(fall, (torch.ones(1, 2),), [0.0, 1.0], lambda t, z: z[0], Solver())
