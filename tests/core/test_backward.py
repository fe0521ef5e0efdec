"""The adjoint's backward solve: checkpoints, what happens where a state cannot be found back, memory and price."""

import warnings

import pytest
import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint

import ncode
from ncode.costs import kinetic, path_cost
from ncode.reproduction.experiments.theorem_1.train import Contractive
from ncode.solvers.adjoint.backward import Checkpoints
from ncode.solvers.adjoint.theorem_1 import ReconstructionWarning
from ncode.solvers.step import Taken
from ncode.solvers.tableaus import TABLEAUS

# Contractive dynamics: the state cannot be found backward without checkpoints.
from tests.core.adjoint_cases import open_loop, relative


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    with torch.random.fork_rng():
        yield


def contractive_gradient(rate, **options):
    model = ncode.NeuralODE(Contractive(rate), horizon=5.0, solver=ncode.Solver(**options))
    x0 = torch.tensor([[1.0, -0.5], [0.2, 0.9]], dtype=torch.float64)
    cost = path_cost(model, x0, running=lambda p: p.x.square().sum(1)).cost.sum()
    return torch.autograd.grad(cost, model.field.weight), model.nfe


@pytest.mark.parametrize("rate", [1.0, 5.0, 10.0])
@pytest.mark.parametrize("checkpoints", [0, 16])
def test_contractive_dynamics_are_right_whatever_the_checkpoints(rate, checkpoints):
    exact, _ = contractive_gradient(rate, rtol=1e-10, atol=1e-10)
    found, _ = contractive_gradient(rate, rtol=1e-6, atol=1e-6, gradients="adjoint", checkpoints=checkpoints)
    # A state may be missed by 1e-4 at a checkpoint, and the gradient follows.
    assert relative(found, exact) < 5e-4


def test_plain_adjoint_is_wildly_wrong_and_says_so():
    exact, _ = contractive_gradient(10.0, rtol=1e-12, atol=1e-12)
    plain = {"rtol": 1e-6, "atol": 1e-6, "gradients": "adjoint", "checkpoints": 0, "refine": False}
    with pytest.warns(ReconstructionWarning, match="missed the state at t = 0 "):
        found, _ = contractive_gradient(10.0, **plain)
    assert relative(found, exact) > 1e6
    # torchdiffeq's own adjoint is as wrong, without a word: the dynamics are at fault, not this implementation.
    field, x0 = Contractive(10.0), torch.tensor([[1.0, -0.5]], dtype=torch.float64)
    wrapped = Wrapped(field)
    end = odeint_adjoint(wrapped, x0, torch.tensor([0.0, 5.0]).double(), rtol=1e-6, atol=1e-6)[-1]
    (theirs,) = torch.autograd.grad(end.sum(), field.weight)
    end = odeint(wrapped, x0, torch.tensor([0.0, 5.0]).double(), rtol=1e-12, atol=1e-12)[-1]
    (right,) = torch.autograd.grad(end.sum(), field.weight)
    assert relative([theirs], [right]) > 10


class Wrapped(nn.Module):
    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, t, x):
        return self.field(t, x, {})


def test_refinement_that_gets_nowhere_is_a_typed_failure(monkeypatch):
    monkeypatch.setattr("ncode.solvers.adjoint.backward.DEEPEST", 1)
    with pytest.raises(ncode.SolveError) as caught:
        contractive_gradient(10.0, rtol=1e-6, atol=1e-6, gradients="adjoint", checkpoints=0)
    assert caught.value.reason == "state not reconstructed" and caught.value.sample in (0, 1)


def test_attempt_that_runs_away_is_cut_short():
    # x' = sin(8x) - 10x: found backward, the state is huge and the field oscillates ever faster.
    class Oscillating(Contractive):
        def forward(self, t, x, theta):
            return torch.sin(8 * x @ self.weight.T) - self.rate * x

    gradients = []
    for options in ({"rtol": 1e-9, "atol": 1e-9}, {"rtol": 1e-6, "atol": 1e-6, "gradients": "adjoint"}):
        model = ncode.NeuralODE(Oscillating(10.0), horizon=5.0, solver=ncode.Solver(checkpoints=0, **options))
        cost = path_cost(model, torch.tensor([[1.0, -0.5]], dtype=torch.float64), running=kinetic).cost.sum()
        gradients.append(torch.autograd.grad(cost, model.field.weight))
    assert relative(gradients[1], gradients[0]) < 0.02


def test_step_limit_holds_for_the_whole_backward_pass():
    with pytest.raises(ncode.SolveError) as caught:
        contractive_gradient(10.0, rtol=1e-6, atol=1e-6, gradients="adjoint", checkpoints=0, max_nfe=400)
    assert caught.value.reason == "too many evaluations"


def test_fixed_steps_that_cannot_be_found_back_warn():
    with pytest.warns(ReconstructionWarning):
        contractive_gradient(10.0, method="euler", steps=30, gradients="adjoint")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        contractive_gradient(1.0, method="rk4", steps=50, gradients="adjoint")


# Memory and price.


def saved_bytes(horizon, gradients, tolerance=1e-6):
    solver = ncode.Solver("dopri5", rtol=tolerance, atol=tolerance, gradients=gradients, max_nfe=10**6)
    model = ncode.NeuralODE(Contractive(1.0), horizon=horizon, solver=solver)
    x0, kept = torch.randn(4, 2, dtype=torch.float64), []

    def pack(tensor):
        kept.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        path_cost(model, x0, running=kinetic)
    return sum(kept), model.nfe.forward


def test_memory_grows_neither_with_the_horizon_nor_with_the_steps():
    state = (4 * 2 + 4) * 8
    # The path's two ends, at most sixteen checkpoints, W, and the graph of the one evaluation that finds W.
    bound = (2 + 16) * state + 4 * 8 + 6 * state
    adjoint = [saved_bytes(*case) for case in ((20.0, "adjoint"), (200.0, "adjoint"), (20.0, "adjoint", 1e-11))]
    direct = [saved_bytes(*case) for case in ((20.0, "direct"), (20.0, "direct", 1e-11))]
    assert adjoint[1][1] > 2 * adjoint[0][1] and adjoint[2][1] > 2 * adjoint[0][1]
    assert max(size for size, _ in adjoint) <= bound
    assert direct[1][0] > 2 * direct[0][0] > 20 * bound


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 16])
def test_checkpoints_are_thinned_evenly(limit):
    kept = Checkpoints(limit)
    for i in range(1000):
        kept.look(Taken(float(i), 1.0, i + 1.0, (torch.full((1, 1), float(i)),), None, None, None, None))
        assert len(kept.times) <= limit
    assert len(kept.times) >= limit // 2
    gaps = {round(float(b - a)) for a, b in zip(kept.times, kept.times[1:], strict=False)}
    assert len(gaps) <= 1
    assert [float(t) for t in kept.times] == [float(state[0]) for state in kept.states]


def test_open_loop_costs_no_more_evaluations_than_the_solve():
    # θ is constant: nothing of its adjoint is seen by the error control, and a step needs one vector-Jacobian
    # product a stage.
    model, x0 = open_loop(spread=0.1), torch.randn(32, 2, dtype=torch.float64)
    model.solver = ncode.Solver(gradients="adjoint")
    model(x0).square().sum().backward()
    assert model.nfe.backward <= model.nfe.forward + 8


def test_output_time_without_a_gradient_costs_nothing():
    model, x0 = open_loop(), torch.randn(3, 2, dtype=torch.float64)
    model.solver = ncode.Solver(gradients="adjoint", rtol=1e-5, atol=1e-5)
    backward = []
    for t in ([0.0, 1.0], torch.linspace(0, 1, 50).double()):
        model.trajectory(x0, t).x[-1].sum().backward()
        backward.append(model.nfe.backward)
    assert backward[1] == backward[0]


class _Counted(torch.autograd.Function):
    """Counts how often a gradient goes through it."""

    @staticmethod
    def forward(ctx, theta, counts):
        ctx.counts = counts
        return theta.view_as(theta)

    @staticmethod
    def backward(ctx, gradient):
        ctx.counts["products"] += 1
        return gradient, None


@pytest.mark.parametrize("method", ["dopri5", "tsit5"])
def test_nothing_is_evaluated_that_nobody_reads(method):
    """f as often as is said; θ's product only at stages with a weight, or where another step begins."""
    counts = {"evaluations": 0, "products": 0}

    def f(t, x):
        counts["evaluations"] += 1
        return torch.tanh(x * _Counted.apply(theta, counts))

    theta = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    x, nfe = torch.randn(4, 3, dtype=torch.float64), ncode.NFE()
    solver = ncode.Solver(method, gradients="adjoint", checkpoints=0)
    loss = ncode.solve(f, x, [0.0, 1.0], solver=solver, parameters=(theta,), nfe=nfe)[-1].sum()
    counts["evaluations"] = 0
    loss.backward()
    assert counts["evaluations"] == nfe.backward
    steps, weights = (nfe.backward - 1) // 6, sum(b != 0 for b in TABLEAUS[method].b)
    assert counts["products"] == weights * steps


def test_a_velocity_that_is_nearly_zero_at_the_end_is_no_other_velocity():
    """At T the velocity is rounding alone, and other rounding each time: what it is at t = 0 has the last word."""
    theta, noise = torch.ones(3, 1, dtype=torch.float64, requires_grad=True), iter(range(1, 10_000))

    def f(t, x):
        return theta * (1 - t) + 1e-16 * next(noise) + 0 * x

    x = torch.zeros(3, 1, dtype=torch.float64)
    end = ncode.solve(f, x, [0.0, 1.0], solver=ncode.Solver(gradients="adjoint"), parameters=(theta,))[-1]
    (found,) = torch.autograd.grad(end.sum(), theta)
    torch.testing.assert_close(found, torch.full_like(found, 0.5))
