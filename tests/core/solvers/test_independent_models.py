"""Independent samples with models, failures and events; and what is refused, by name."""

from __future__ import annotations

import math

import pytest
import torch
from explosion import TIMES, explode, must_be_partial, starts
from independent_cases import START, decay, own, swing
from models import KINDS, build

from ncode import MLP, NCODE, NFE, AugmentedNeuralODE, NeuralODE, OpenLoop, SolveError, Solver, path_cost, solve
from ncode.inputs import Interpolated
from ncode.solvers.dense import solve_path
from ncode.solvers.events import solve_until
from ncode.solvers.partial import solve_partial

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
def test_models_and_their_gradients_are_those_of_each_sample_alone(kind, gradients):
    model = build(kind, own(tolerance=1e-5, gradients=gradients))
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([[0.0] * 5, [0.3, 1.0, 0.1, 0.2, -0.4], [0.7, 3.0, 0.1, 0.2, -0.8]])

    def run(which):
        model.zero_grad()
        start = x[which].clone().requires_grad_()
        path = model.trajectory(start, t[:, which])
        (path.x**2).sum().backward()
        return path, start.grad, [p.grad.clone() for p in model.parameters() if p.grad is not None]

    together, grad, shared = run([0, 1, 2, 3, 4])
    totals = [torch.zeros_like(part) for part in shared]
    for i in range(5):
        alone, single, parameters = run([i])
        # Matrix products of another size are rounded differently.
        torch.testing.assert_close(alone.x[:, 0], together.x[:, i], rtol=1e-10, atol=1e-11)
        if together.theta is not None:
            torch.testing.assert_close(alone.theta[:, 0], together.theta[:, i], rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(single[0], grad[i], rtol=1e-9, atol=1e-9)
        totals = [a + b for a, b in zip(totals, parameters, strict=True)]
    for a, b in zip(totals, shared, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_inputs_constant_and_of_time():
    model = NeuralODE(MLP(2, (4,), inputs=1), solver=own(tolerance=1e-6))
    x = torch.randn(4, 2)
    t = torch.tensor([[0.0] * 4, [0.2, 0.2, 0.2, 2.0]])
    knots = torch.linspace(0.0, 2.0, 5)
    along = torch.randn(5, 4, 1)
    for u, some in (
        (torch.randn(4, 1), lambda u, i: u[i : i + 1]),
        (Interpolated(knots, along), lambda u, i: Interpolated(knots, along[:, i : i + 1])),
    ):
        path = model.trajectory(x, t, u).x
        for i in range(4):
            alone = model.trajectory(x[i : i + 1], t[:, i : i + 1], some(u, i)).x
            torch.testing.assert_close(alone[:, 0], path[:, i], rtol=0, atol=1e-12)


class Rows(torch.nn.Module):
    """x' = -x, which tells how many samples it was asked for."""

    def __init__(self):
        super().__init__()
        self.k, self.seen = torch.nn.Parameter(torch.tensor(1.0)), []

    def forward(self, t, x):
        self.seen.append(len(x))
        return -self.k * x * torch.ones_like(t)


@pytest.mark.parametrize("augment", [False, True])
def test_a_wrapped_module_is_asked_only_for_samples_on_their_way(augment):
    module = Rows()
    kind = AugmentedNeuralODE if augment else NeuralODE
    model = kind(
        module, shape=(3 if augment else 2,), solver=own(tolerance=1e-6), **({"augment": 1} if augment else {})
    )
    x = torch.ones(8, 2, requires_grad=True)
    t = torch.stack([torch.zeros(8), torch.tensor([0.1] * 7 + [5.0])])
    path = model.trajectory(x, t).x
    torch.testing.assert_close(path[-1], torch.exp(-t[-1])[:, None].expand(8, 2), rtol=0, atol=1e-4)
    assert set(module.seen) == {8, 1} and module.seen.count(1) > module.seen.count(8)
    path[-1].sum().backward()
    torch.testing.assert_close(x.grad, torch.exp(-t[-1])[:, None].expand(8, 2), rtol=0, atol=1e-4)


def test_a_controller_that_holds_on_to_a_batch_is_refused():
    """Asked for some samples only, it would give one the control of another, or more than there are."""
    held = torch.randn(4, 2)
    field = MLP(2, (3,))
    model = NCODE(field, g=lambda t, x, theta: theta * 0 + held.mean() * 0 + theta.new_zeros(4, 1), solver=own())
    with pytest.raises(ValueError, match=r"independent: f must give shape \(1, "):
        model.trajectory(torch.randn(4, 2), torch.tensor([[0.0] * 4, [0.01, 0.01, 0.01, 9.0]]))


def test_running_costs():
    """c' = x² along x = x(0) e^-t."""
    model = NeuralODE(Rows(), shape=(1,), solver=own(tolerance=1e-9))
    x = torch.tensor([[1.0], [2.0]], requires_grad=True)
    cost = path_cost(model, x, running=lambda point: point.x.square().sum(1), t=[0.0, 1.5]).cost
    torch.testing.assert_close(cost, x.detach()[:, 0] ** 2 * (1 - math.exp(-3.0)) / 2, rtol=0, atol=1e-7)
    (found,) = torch.autograd.grad(cost.sum(), x)
    torch.testing.assert_close(found, x.detach() * (1 - math.exp(-3.0)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
def test_samples_that_fail_do_not_fail_the_others(gradients):
    """x' = x²: x = 1/(1/x(0) - t), until 1/x(0)."""
    x = starts()
    found = solve_partial(explode, (x,), TIMES, own(tolerance=1e-7, gradients=gradients))
    must_be_partial(found, x)
    assert all(error.nfe == found.nfe.samples[sample] for sample, error in found.failures.items())


@pytest.mark.parametrize(
    ("field", "limit", "reason", "remedy"),
    [
        (lambda t, x: x**2, 10_000, "underflow|non-finite", "fixed-step method|horizon"),
        (lambda t, x: torch.where(x > 1, 100 * torch.cos(100 * t), 0.0), 200, "too many evaluations", "Raise max_nfe"),
        (lambda t, x: torch.where(x > 1, torch.nan, 0.0) * x, 10_000, "non-finite values", "lower the learning rate"),
    ],
)
def test_failures_name_sample_time_and_remedy(field, limit, reason, remedy):
    x = torch.tensor([[0.1], [2.0], [0.2]])
    with pytest.raises(SolveError, match=reason) as caught:
        solve(field, x, [0.0, 1.0], solver=own(tolerance=1e-6, max_nfe=limit))
    error = caught.value
    assert error.sample == 1 and 0 <= error.t < 1 and error.nfe <= limit
    assert any(word in str(error) for word in remedy.split("|")) and "sample 1" in str(error)


def test_the_step_limit_is_each_samples_own():
    """However many others there are, and however long they take."""
    rates = torch.tensor([[1.0], [30.0]])
    nfe = NFE()
    solve(decay(rates), torch.ones(2, 1), [0.0, 2.0], solver=own(tolerance=1e-6), nfe=nfe)
    few, many = nfe.samples.tolist()
    assert few < many < nfe.forward
    found = solve_partial(lambda t, z: (decay(rates)(t, z[0]),), (torch.ones(2, 1),), [0.0, 2.0],
                          own(tolerance=1e-6, max_nfe=few))  # fmt: skip
    assert list(found.failures) == [1] and found.path[0][:, 0].isfinite().all()
    solve(decay(rates), torch.ones(2, 1), [0.0, 2.0], solver=own(tolerance=1e-6, max_nfe=many))


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "dopri8"])
def test_events_are_met_at_each_samples_own_time(method):
    """A ball falls from h with speed v and lands at v + √(v² + 2h); its landing does not depend on the others."""
    start = torch.tensor([[1.0, 0.0], [0.2, 3.0], [0.5, -0.4], [100.0, 0.0]], requires_grad=True)

    def falling(t, z):
        return (torch.stack([z[0][:, 1], -torch.ones_like(z[0][:, 1])], dim=1),)

    solver = own(method, 1e-8, max_step=0.5)
    stop = solve_until(falling, (start,), [0.0, 9.0], lambda t, z: z[0][:, 0], solver)
    h, v = start.unbind(1)
    lands = v + torch.sqrt(v**2 + 2 * h)
    assert stop.happened.tolist() == [True, True, True, False]
    torch.testing.assert_close(stop.t[:3], lands[:3], rtol=1e-7, atol=1e-7)
    assert stop.t[3] == 9.0
    found = torch.autograd.grad(stop.t[:3].sum(), start)
    torch.testing.assert_close(found, torch.autograd.grad(lands[:3].sum(), start), rtol=1e-6, atol=1e-6)
    alone = solve_until(falling, (start[1:2],), [0.0, 9.0], lambda t, z: z[0][:, 0], solver)
    torch.testing.assert_close(alone.t, stop.t[1:2], rtol=0, atol=1e-12)


def test_a_complex_state_turns():
    x = torch.ones(2, 1, dtype=torch.complex128, requires_grad=True)
    rates = torch.tensor([[1.0], [5.0]])
    path = solve(lambda t, x: 1j * rates * x, x, [0.0, 1.0], solver=own(tolerance=1e-9))
    torch.testing.assert_close(path[-1], torch.exp(1j * rates), rtol=0, atol=1e-7)
    (found,) = torch.autograd.grad(path[-1].real.sum(), x)
    torch.testing.assert_close(found, torch.exp(-1j * rates), rtol=0, atol=1e-7)


def test_functional_gradients_work_and_vmap_is_refused_by_name():
    def end(x):
        return solve(lambda t, x: -x, x, [0.0, 1.0], solver=own(tolerance=1e-9))[-1].sum()

    x = torch.ones(2, 1)
    torch.testing.assert_close(torch.func.grad(end)(x), torch.full((2, 1), math.exp(-1)), rtol=0, atol=1e-7)
    _, slope = torch.func.jvp(end, (x,), (torch.ones_like(x),))
    assert float(slope) == pytest.approx(2 * math.exp(-1), abs=1e-7)
    with pytest.raises(ValueError, match=r"independent: torch.func.vmap"):
        torch.func.vmap(end)(torch.ones(3, 2, 1))


def test_a_field_that_keeps_what_it_has_computed_keeps_its_gradient():
    """The first evaluation is one with a graph: what the steps are found by has none."""
    weight, kept = torch.tensor(2.0, requires_grad=True), []

    def f(t, x):
        if not kept:
            kept.append(weight * 1.0)
        return -kept[0] * x

    path = solve(f, torch.ones(2, 1), [0.0, 1.0], solver=own(tolerance=1e-9))
    (found,) = torch.autograd.grad(path[-1].sum(), weight)
    assert float(found) == pytest.approx(-2 * math.exp(-2), abs=1e-7)


def test_a_lost_gradient_is_refused_where_gradients_are_checkpointed():
    later = torch.tensor(1.0, requires_grad=True)

    def f(t, x):
        return torch.where(t > 0.5, later, 1.0) * x if bool((t > 0.5).any()) else x

    x = torch.ones(2, 1, requires_grad=True)
    path = solve(f, x, [0.0, 1.0], solver=own(gradients="checkpointed", max_step=0.1))
    with pytest.raises(RuntimeError, match="does not reach at the first time"):
        path[-1].sum().backward()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"method": "rk4"}, "method='rk4'"),
        ({"method": "rodas4"}, "method='rodas4'"),
        ({"gradients": "adjoint"}, "gradients='adjoint'"),
        ({"norm": "mean"}, "norm='mean'"),
        ({"compiled": True}, "compiled=True"),
    ],
)
def test_what_cannot_be_independent_is_refused_by_name(options, what):
    with pytest.raises(ValueError, match=f"independent: {what}"):
        Solver(independent=True, **options)


def test_torchdiffeq_and_whole_paths_are_refused_by_name():
    with pytest.raises(ValueError, match=r"backend: torchdiffeq .* independent"):
        Solver(backend="torchdiffeq", independent=True)
    with pytest.raises(ValueError, match="independent: a path is read off steps"):
        solve_path(swing, (START,), [0.0, 1.0], own())


def test_float32_states_have_times_in_float64():
    start = 1.7e9
    x = torch.ones(2, 1, dtype=torch.float32)
    path = solve(lambda t, x: -x, x, [start, start + 0.1], solver=own(tolerance=1e-5))
    torch.testing.assert_close(path[-1], torch.full((2, 1), math.exp(-0.1), dtype=torch.float32), rtol=0, atol=1e-5)


def test_kernels_give_way_and_the_default_shares_its_steps():
    """A field that knows its own gradient is solved through autograd, to the same end."""
    torch.manual_seed(0)
    field, x = MLP(2, (4,)), torch.randn(20, 2)
    gamma = OpenLoop(2, field.size(), hidden=(3,), spread=1.0)
    model = NCODE(field, gamma=gamma, solver=Solver(rtol=1e-8, atol=1e-8))
    assert not Solver().independent
    shared = model(x)
    model.solver = own()
    torch.testing.assert_close(model(x), shared, rtol=0, atol=1e-5)
