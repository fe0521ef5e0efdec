"""The loop: which steps are tried and taken, where they end, and when it stops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torchdiffeq import odeint

from ncode.solvers.loop import Adaptive, Count, Stopped, adaptive_steps, fixed_steps
from ncode.solvers.norms import mean, per_sample, worst
from ncode.solvers.paths import Picker
from ncode.solvers.step import RungeKutta
from ncode.solvers.stepsize import CONTROLLERS, Integral, Proportional
from ncode.solvers.tableaus import TABLEAUS

pytestmark = pytest.mark.usefixtures("float64")

TOL = (1e-6, 1e-6)
SAME = ("bosh3", "dopri5", "dopri8")
"""Where torchdiffeq begins a step from the slope at the end of the last: its other two methods take a stage for it."""


def pendulum(t, z):
    x = z[0]
    return (torch.stack([x[:, 1], -torch.sin(x[:, 0]) + 0.1 * torch.cos(t)], 1),)


START = (torch.tensor([[1.0, 0.0], [0.1, 2.0], [-2.0, 0.3]], dtype=torch.float64),)


def walk(f, x, times, method="dopri5", limit=10**5, **options):
    count = Count(limit)
    how = Adaptive(**{"tol": TOL} | options)
    taken = list(adaptive_steps(RungeKutta(TABLEAUS[method], f), x, times, how, count))
    return taken, count.spent


@pytest.mark.parametrize("method", SAME)
@pytest.mark.parametrize(("norm", "theirs"), [(worst, per_sample), (mean, None)])
@pytest.mark.parametrize("end", [3.0, -2.0])
def test_steps_are_torchdiffeqs_one_by_one(method, norm, theirs, end):
    seen, steps = 0, []

    class Counted(torch.nn.Module):
        def forward(self, t, x):
            nonlocal seen
            seen += 1
            return pendulum(t, (x,))[0]

        def callback_accept_step(self, t, x, dt):
            steps.append((float(t), float(dt)))

    t = torch.tensor([0.0, end])
    options = {"step_t": t[1:]}
    if theirs:
        options["norm"] = lambda error: theirs([error]).max()
    path = odeint(Counted(), START[0], t, rtol=TOL[0], atol=TOL[1], method=method, options=options)
    taken, spent = walk(pendulum, START, [0.0, end], method, norm=norm)
    assert spent == seen
    assert len(taken) == len(steps)
    # dopri8's error estimate is a small difference of large numbers, and rounding moves its steps by so much.
    torch.testing.assert_close(taken[-1].y[0], path[-1], rtol=0, atol=1e-9 if method == "dopri8" else 1e-12)


@pytest.mark.parametrize("method", [name for name in TABLEAUS if TABLEAUS[name].adaptive])
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_adaptive_methods_follow_the_exact_solution(method, controller):
    def f(t, z):
        return (z[0] * torch.cos(t),)

    taken, _ = walk(f, (torch.ones(2, 1),), [0.0, 2.0], method, controller=CONTROLLERS[controller])
    exact = math.exp(math.sin(2.0))
    # Errors add up over the steps, and low orders take many. Fehlberg's two solutions are close to one another.
    allowed = (1e-5 if method == "fehlberg2" else 1e-6) * len(taken)
    assert float(taken[-1].y[0][0]) == pytest.approx(exact, abs=allowed)
    assert taken[-1].end == 2.0
    for before, after in itertools.pairwise(taken):
        assert before.end == after.t


def test_slopes_are_handed_from_step_to_step_and_count():
    calls = 0

    def f(t, z):
        nonlocal calls
        calls += 1
        return pendulum(t, z)

    for method in ("dopri5", "adaptive_heun"):
        calls = 0
        taken, spent = walk(f, START, [0.0, 2.0], method)
        assert calls == spent
        for before, after in itertools.pairwise(taken):
            expected = pendulum(torch.tensor(after.t), after.x)[0]
            torch.testing.assert_close(after.k1[0], expected)
            assert after.k1 is before.k_last or before.k_last is None


def test_first_least_and_most_bound_every_step():
    taken, _ = walk(pendulum, START, [0.0, 2.0], first=0.01, most=0.05)
    assert taken[0].h == 0.01
    assert max(step.h for step in taken) <= 0.05
    with pytest.raises(Stopped, match="underflow"):
        walk(pendulum, START, [0.0, 2.0], least=0.5)
    with pytest.raises(Stopped, match="underflow"):
        # Cut to end at the last time, a step may be shorter than the shortest, but not become shorter still.
        walk(lambda t, z: (torch.sin(1e4 * t).expand_as(z[0]),), START, [0.0, 0.1], least=0.5, first=0.5)
    loose, _ = walk(pendulum, START, [0.0, 2.0], least=0.3, tol=(0.1, 0.1))
    assert min(step.h for step in loose[:-1]) >= 0.3


def test_steps_end_at_every_time_and_go_on_as_long_as_before():
    times = [0.0, 0.5, 0.501, 1.0, 2.0]
    taken, _ = walk(pendulum, START, times)
    assert set(times[1:]) <= {step.end for step in taken}
    after = next(step for step in taken if step.t == 0.501)
    # Not ten times 0.001.
    assert after.h > 0.02


def test_a_jump_is_met_and_the_slope_is_evaluated_anew():
    """x' = 1 before 0.5 and -3 from then on."""
    times = []

    def f(t, z):
        times.append(float(t))
        return ((1.0 if t < 0.5 else -3.0) * torch.ones_like(z[0]),)

    taken, spent = walk(f, (torch.zeros(1, 1),), [0.0, 1.0], jumps=[0.5])
    assert float(taken[-1].y[0]) == pytest.approx(0.5 - 1.5, abs=1e-14)
    assert spent == len(times) < 60
    _, more = walk(f, (torch.zeros(1, 1),), [0.0, 1.0])
    assert more > spent
    backward, _ = walk(f, (torch.zeros(1, 1),), [1.0, 0.0], jumps=[0.5])
    assert float(backward[-1].y[0]) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("start", [1e4, 1e6, 1.7e9])
def test_times_are_not_rounded_to_the_states_precision(start):
    taken, _ = walk(lambda t, z: (-z[0],), (torch.ones(1, 1, dtype=torch.float32),), [start, start + 0.1])
    exact = math.exp(-(start + 0.1 - start))
    assert float(taken[-1].y[0]) == pytest.approx(exact, abs=1e-6)


def test_evaluations_are_counted_before_they_are_spent():
    calls = 0

    def f(t, z):
        nonlocal calls
        calls += 1
        return pendulum(t, z)

    with pytest.raises(Stopped, match="too many"):
        walk(f, START, [0.0, 50.0], limit=100)
    assert 94 < calls <= 100
    calls = 0
    with pytest.raises(Stopped, match="too many"):
        list(fixed_steps(RungeKutta(TABLEAUS["rk4"], f), START, 0.0, 1.0, 10**9, Count(4 * 10**9 - 1)))
    assert calls == 0


def test_no_time_takes_no_step():
    assert walk(pendulum, START, [1.0, 1.0]) == ([], 0)


@pytest.mark.parametrize("method", [name for name in TABLEAUS if not TABLEAUS[name].adaptive])
def test_fixed_steps_converge_at_their_order(method):
    def error(n):
        steps = fixed_steps(
            RungeKutta(TABLEAUS[method], lambda t, z: (z[0] * torch.cos(t),)),
            (torch.ones(1, 1),),
            0.0,
            2.0,
            n,
            Count(10**5),
        )
        return abs(float(list(steps)[-1].y[0]) - math.exp(math.sin(2.0)))

    assert math.log2(error(100) / error(200)) == pytest.approx(TABLEAUS[method].order, abs=0.1)


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3", "rk4", "euler"])
def test_paths_between_steps(method):
    """At times that repeat, that end steps, and that lie in the last one."""
    times = [0.0, 0.0, 0.31, 0.31, 0.77, 0.9975, 1.0, 1.0]
    step, count = RungeKutta(TABLEAUS[method], lambda t, z: (z[0] * torch.cos(t),)), Count(10**6)
    picker = Picker(step, (torch.ones(1, 1),), times)
    if TABLEAUS[method].adaptive:
        steps = adaptive_steps(step, picker.states[0], [0.0, 1.0], Adaptive((1e-8, 1e-8)), count)
    else:
        steps = fixed_steps(step, picker.states[0], 0.0, 1.0, 200, count)
    for taken in steps:
        picker.look(taken)
    found = torch.cat([state[0] for state in picker.states])
    exact = torch.sin(torch.tensor(times)).exp().unsqueeze(1)
    torch.testing.assert_close(found, exact, rtol=0, atol={"euler": 0.01}.get(method, 1e-7))
    # One more than the steps took, for the slope at the end of the last.
    assert count.spent == {"rk4": 801, "euler": 201}.get(method, count.spent)


def test_step_size_controllers_answer_to_errors():
    for controller in (Integral(5), Proportional(5)):
        assert controller(0.0) > 5
        assert controller(1e30) == pytest.approx(0.2)
        assert controller(math.inf) == pytest.approx(0.2)
        assert 0.2 < controller(2.0) < 1
    damped, plain = Proportional(5), Integral(5)
    damped(0.01)
    # After a small error the next is distrusted.
    assert damped(0.5) < plain(0.5)
