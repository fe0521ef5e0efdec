"""Samples that are solved independently: each as if it were alone, against exact solutions and shared steps."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from independent_cases import START, decay, own, swing

from ncode import NFE, SolveError, Solver, solve
from ncode.solvers.dispatch import integrate
from ncode.solvers.options import EXPLICIT

pytestmark = pytest.mark.usefixtures("float64")

TIMES = torch.tensor([[0.0, 1.0, -0.5, 0.3], [0.5, 0.4, -0.5, 0.3], [2.0, -1.0, 0.0, 0.3]], dtype=torch.float64)
"""One forward, one backward, one that stands still for a while, one that stands still."""
LOOSE = ("adaptive_heun", "fehlberg2")
"""Of order 2: they take thousands of steps to a tight tolerance."""


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("controller", ["I", "PI"])
def test_every_method_follows_the_exact_solution(method, controller):
    loose = method in LOOSE
    rates, x = torch.tensor([[0.1], [1.0], [3.0]]), torch.ones(3, 1)
    t = torch.tensor([0.0, 0.7, 0.7, 2.0])
    nfe = NFE()
    solver = own(method, 1e-4 if loose else 1e-8, controller=controller)
    path = solve(decay(rates), x, t, solver=solver, nfe=nfe)
    exact = torch.exp(-rates * torch.sin(t)[:, None, None])
    # A step's error is at most the tolerance, and a sample takes as many as it has evaluations at most.
    allowed = solver.rtol * int(nfe.samples.max()) * math.exp(6 if loose else 3)
    torch.testing.assert_close(path, exact, rtol=0, atol=allowed)
    assert nfe.samples[0] < nfe.samples[2]


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("controller", ["I", "PI"])
@pytest.mark.parametrize("end", [2.0, -1.5])
def test_one_sample_takes_the_steps_that_it_would_share_with_itself(method, controller, end):
    options = {"controller": controller, "rtol": 1e-4, "atol": 1e-5, "max_step": 0.3}
    if method not in LOOSE:
        # Without a slope at their end, shared steps evaluate both sides of a jump.
        options["jumps"] = (0.5, -0.6)
    found, count = [], []
    for independent in (False, True):
        nfe = NFE()
        with torch.no_grad():
            x = torch.tensor([[1.0, -0.3]])
            path = solve(lambda t, x: torch.sin(3 * x) + t, x, [0.0, 0.3 * end, 0.5 * end, end],
                         solver=Solver(method, independent=independent, **options), nfe=nfe)  # fmt: skip
        found.append(path)
        count.append(nfe.forward)
    assert count[0] == count[1] == int(nfe.samples)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(0.1, 20), st.floats(-3, 3)), min_size=2, max_size=6),
    st.sampled_from(["bosh3", "dopri5", "tsit5", "dopri8"]),
    st.sampled_from(["I", "PI"]),
    st.randoms(use_true_random=False),
)
def test_a_sample_does_not_depend_on_the_others_nor_on_its_place(samples, method, controller, random):
    """Alone, in a batch and in another order: the same to 1e-12, the evaluations it needs included."""
    x, rate, end = (torch.tensor(column, dtype=torch.float64).unsqueeze(1) for column in zip(*samples, strict=True))
    solver = own(method, 1e-3, controller=controller)

    def run(which):
        nfe, rates = NFE(), rate[which]
        ends = end[which].squeeze(1)
        t = torch.stack([torch.zeros_like(ends), 0.4 * ends, ends])
        with torch.no_grad():
            return solve(lambda t, x: -rates * torch.sin(x) - t * x, x[which], t, solver=solver, nfe=nfe), nfe

    together, nfe = run(list(range(len(samples))))
    order = random.sample(range(len(samples)), len(samples))
    permuted, other = run(order)
    torch.testing.assert_close(permuted, together[:, order], rtol=0, atol=1e-12)
    assert other.samples.tolist() == nfe.samples[order].tolist()
    for i in range(len(samples)):
        alone, single = run([i])
        torch.testing.assert_close(alone[:, 0], together[:, i], rtol=0, atol=1e-12)
        assert int(single.samples) == nfe.samples[i]


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "adaptive_heun"])
def test_times_of_their_own_and_their_gradients_are_exact(method, gradients):
    """The exact solution's, to what the tolerance lets through."""
    tolerance = 1e-5 if method in LOOSE else 1e-10
    close = {"rtol": 1e-3, "atol": 1e-3} if method in LOOSE else {"rtol": 1e-6, "atol": 1e-6}
    t, x = TIMES.clone().requires_grad_(), START.clone().requires_grad_()
    nfe = NFE()
    (path,), _ = integrate(swing, (x,), t, own(method, tolerance, gradients=gradients), nfe=nfe)
    exact = x * torch.exp((t**2 - t[:1] ** 2) / 2).unsqueeze(2)
    torch.testing.assert_close(path, exact, **close)
    weights = torch.arange(1.0, 13.0).reshape(3, 4, 1)
    found = torch.autograd.grad((path * weights).sum(), [t, x])
    expected = torch.autograd.grad((exact * weights).sum(), [t, x])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, **close)
    assert (nfe.backward > 0) == (gradients == "checkpointed")
    # Who stands still evaluates nothing of its own.
    assert nfe.samples[3] == 0


def test_the_gradient_of_shared_times():
    t = torch.tensor([0.2, 0.9, 1.5], requires_grad=True)
    path = solve(lambda t, x: t * x, START, t, solver=own(tolerance=1e-11))
    (found,) = torch.autograd.grad(path.sum(), t)
    (expected,) = torch.autograd.grad((START * torch.exp((t**2 - t[0] ** 2) / 2)[:, None, None]).sum(), t)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


def test_the_field_sees_each_samples_time():
    """One number a sample, which broadcasts against the first part, as with times of their own."""
    shapes = set()

    def f(t, z):
        shapes.add(tuple(t.shape))
        return torch.zeros_like(z[0]), torch.zeros_like(z[1])

    integrate(f, (torch.ones(3, 2, 4, 4), torch.ones(3)), [0.0, 1.0], own())
    assert shapes == {(3, 1, 1, 1)}


def test_first_least_and_most_bound_every_samples_steps():
    def count(**options):
        nfe = NFE()
        with torch.no_grad():
            solve(lambda t, x: -x, torch.ones(2, 1), TIMES[::2, :2], solver=own(tolerance=1e-2, **options), nfe=nfe)
        return nfe.samples.tolist()

    # Both go over a length of 2.
    assert count(first_step=0.1, max_step=0.1) == [1 + 6 * 20, 1 + 6 * 20]
    with pytest.raises(SolveError, match="step size underflow"):
        solve(lambda t, x: 50 * torch.cos(50 * t) + 0 * x, START, [0.0, 2.0], solver=own(min_step=0.5))


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "adaptive_heun"])
def test_a_jump_is_met_by_every_sample_whatever_its_times(method, gradients):
    """x' = k before 0.5 and -3 k from then on, with k a parameter: steps from jump to jump are exact."""
    seen = []

    def f(t, x):
        seen.append(t.flatten().tolist())
        return torch.where(t < 0.5, k, -3 * k).expand_as(x)

    k = torch.tensor([[1.0], [2.0], [1.0], [0.5]], requires_grad=True)
    t = torch.tensor([[0.0, 1.0, 0.6, 0.5], [0.5, 0.5, 0.7, 0.5], [1.0, 0.0, 2.0, 0.6]])
    nfe = NFE()
    solver = own(method, 1e-6, gradients=gradients, jumps=(0.5,), first_step=0.2)
    path = solve(f, torch.zeros(4, 1), t, solver=solver, nfe=nfe)
    # The integral of 1 before 0.5 and -3 after it, from each sample's own beginning.
    rise = torch.where(t < 0.5, t, 0.5 - 3 * (t - 0.5))
    exact = k * (rise - rise[0]).unsqueeze(2)
    torch.testing.assert_close(path, exact, rtol=0, atol=1e-13)
    (found,) = torch.autograd.grad(path[-1].sum(), k)
    torch.testing.assert_close(found, (rise[-1] - rise[0]).unsqueeze(1), rtol=0, atol=1e-12)
    assert len(seen) == nfe.forward + nfe.backward


def test_a_start_just_before_a_jump_is_after_it():
    """Float32's last time before 0.5: the jump lies there, and the first slope is the one after it."""
    before = float(torch.nextafter(torch.tensor(0.5, dtype=torch.float32), torch.tensor(0.0, dtype=torch.float32)))
    x = torch.zeros(2, 1, dtype=torch.float32, requires_grad=True)
    t = torch.tensor([[0.0, before], [1.0, 1.0]])

    def f(t, x):
        return torch.where(t < 0.5, 1.0, -3.0).to(x) + 0 * x

    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            path = solve(f, x, t, solver=own(tolerance=1e-4, jumps=(0.5,)))
        torch.testing.assert_close(path[-1].detach(), torch.tensor([[-1.0], [-1.5]], dtype=torch.float32))


def test_each_part_has_its_tolerance():
    def f(t, z):
        return -z[0], torch.cos(20 * t).flatten()

    counts = []
    for rtol in ((1e-3, 1e-3), (1e-3, 1e-9)):
        nfe = NFE()
        solver = Solver(rtol=rtol, atol=rtol, independent=True)
        (_, y), _ = integrate(f, (torch.ones(2, 1), torch.zeros(2)), [0.0, 1.0], solver, nfe=nfe)
        counts.append(int(nfe.samples[0]))
    torch.testing.assert_close(y[-1], torch.full((2,), math.sin(20) / 20), rtol=0, atol=1e-7)
    assert counts[1] > 2 * counts[0]


def test_what_a_rejected_attempt_has_met_reaches_no_gradient():
    """x' = -√(1 - x): a step that is too long leaves the domain, and its slope is not a number."""

    def f(t, x):
        return rate * torch.sqrt(1 - x)

    rate = torch.tensor(1.0, requires_grad=True)
    x = torch.tensor([[0.0], [0.5]], requires_grad=True)
    nfe = NFE()
    path = solve(f, x, [0.0, 1.2], solver=own(tolerance=1e-9, first_step=1.2), nfe=nfe)
    # √(1 - x) falls by half the time.
    exact = 1 - (torch.sqrt(1 - x) - 0.6 * rate) ** 2
    torch.testing.assert_close(path[-1], exact, rtol=0, atol=1e-7)
    found = torch.autograd.grad(path[-1].sum(), [x, rate])
    for a, b in zip(found, torch.autograd.grad(exact.sum(), [x, rate]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
def test_gradients_of_state_times_and_parameters_are_the_finite_differences(gradients):
    """Steps are fixed, so that the differences see the same ones."""
    solver = own("bosh3", 1e3, gradients=gradients, first_step=0.25, max_step=0.25)
    k = torch.tensor([[0.5], [1.5]], requires_grad=True)
    x = torch.tensor([[0.3], [-0.4]], requires_grad=True)
    t = torch.tensor([[0.0, 0.0], [0.5, 1.5]])

    def run(x, k):
        (path,), _ = integrate(lambda t, z: (torch.sin(k * z[0]) + t * z[0],), (x,), t, solver, [k])
        return path

    assert torch.autograd.gradcheck(run, (x, k))
    assert torch.autograd.gradgradcheck(run, (x, k))


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
def test_the_graph_holds_accepted_steps_only(gradients):
    """As many evaluations are differentiated as the longest sample's accepted steps have."""
    kept = [0]

    class Seen(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            kept[0] += 1
            return g

    x = torch.tensor([[1.0], [1.0]], requires_grad=True)
    rates = torch.tensor([[1.0], [40.0]])
    nfe = NFE()
    path = solve(lambda t, x: Seen.apply(-rates * x), x, [0.0, 2.0], solver=own(tolerance=1e-4, gradients=gradients),
                 nfe=nfe)  # fmt: skip
    attempts = int(nfe.samples[1])
    path[-1].sum().backward()
    assert 0 < kept[0] < attempts
