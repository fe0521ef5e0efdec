"""Theorem 1: gradients of costs along the path against closed forms, finite differences and the direct ones."""

import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint

import ncode
from ncode.adjoint import ReconstructionWarning
from ncode.backward import Checkpoints, stage_weights
from ncode.cost import control_effort, jacobian, kinetic, path_cost
from ncode.experiments.theorem_1 import Contractive
from ncode.fields import Linear, Velocity
from ncode.integrate import ADAPTIVE, FIXED, integrate
from ncode.solve import solve

TIGHT = 1e-11


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    with torch.random.fork_rng():
        yield


def tight(**options):
    return ncode.Solver(**{"rtol": TIGHT, "atol": TIGHT, "gradients": "adjoint"} | options)


def relative(a, b):
    flat = [torch.cat([g.reshape(-1) for g in gradient]) for gradient in (a, b)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


class Closed(nn.Module):
    """θ' = -w² x: with x' = θ the harmonic oscillator."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

    def forward(self, t, x, theta):
        return -(self.w**2) * x


class Scalar(nn.Module):
    """γ(x) = κx."""

    def __init__(self, kappa):
        super().__init__()
        self.kappa = nn.Parameter(torch.tensor(kappa, dtype=torch.float64))

    def forward(self, x):
        return self.kappa * x


def open_loop(dim=2, spread=1.0, dtype=torch.float64):
    field = ncode.MLP(dim, [6])
    gamma = ncode.OpenLoop(dim, field.size(), [5], spread=spread)
    return ncode.NCODE(field, gamma=gamma).to(dtype)


def closed_loop(dim=2, dtype=torch.float64):
    field = ncode.MLP(dim, [6])
    m = field.size()
    g = ncode.ClosedLoop(dim, m, [5], spread=0.5)
    return ncode.NCODE(field, gamma=ncode.OpenLoop(dim, m, spread=1.0), g=g).to(dtype)


MODELS = {
    "neural ODE": lambda dtype=torch.float64: ncode.NeuralODE(ncode.MLP(2, [6])).to(dtype),
    "augmented": lambda dtype=torch.float64: ncode.AugmentedNeuralODE(ncode.MLP(3, [6]), augment=1).to(dtype),
    "data control": lambda dtype=torch.float64: ncode.DataControlledODE(ncode.MLP(2, [6], inputs=2)).to(dtype),
    "open loop": lambda dtype=torch.float64: open_loop(dtype=dtype),
    "closed loop": lambda dtype=torch.float64: closed_loop(dtype=dtype),
}


# Closed forms.


@pytest.mark.parametrize("horizon", [2.0, -1.0])
@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
def test_linear_flow_against_the_matrix_exponential(horizon, gradients):
    # x' = Ax, l = ∫‖x‖²dt = x(0)ᵀ P x(0) with P from one exponential of a block matrix (Van Loan 1978).
    model = ncode.NeuralODE(Linear(3).double(), tight(horizon=horizon, gradients=gradients))
    matrix = torch.randn(3, 3, dtype=torch.float64) / 2
    model.field.matrix.data.copy_(matrix)
    x0 = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    out = path_cost(model, x0, running=lambda p: p.x.square().sum(1))
    found = torch.autograd.grad(out.cost.sum(), [model.field.matrix, x0])

    a = matrix.clone().requires_grad_()
    top = torch.cat([-a.T, torch.eye(3, dtype=torch.float64)], 1)
    block = torch.cat([top, torch.cat([torch.zeros(3, 3, dtype=torch.float64), a], 1)])
    exponential = torch.linalg.matrix_exp(block * horizon)
    p = exponential[3:, 3:].T @ exponential[:3, 3:]
    exact = torch.einsum("bi,ij,bj->b", x0, p, x0)
    assert torch.allclose(out.cost, exact, rtol=1e-9)
    # A hundred times the tolerance: global, not local, errors.
    assert relative(found, torch.autograd.grad(exact.sum(), [a, x0])) < 1e-9


@pytest.mark.parametrize("horizon", [3.0, -2.0])
def test_closed_loop_oscillator_with_boundary_and_direct_terms(horizon):
    # x' = θ, θ' = -w²x, θ(0) = κx(0): x = x(0)(cos wt + κ/w sin wt); ℓ = q x², φ = θ(T).
    w, kappa, q = 1.3, 0.7, torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    model = ncode.NCODE(Velocity(1).double(), gamma=Scalar(kappa), g=Closed(w), solver=tight(horizon=horizon))
    x0 = torch.tensor([[0.5], [-1.2], [2.0]], dtype=torch.float64, requires_grad=True)
    out = path_cost(model, x0, running=lambda p: q * p.x[:, 0] ** 2, terminal=lambda x, theta: theta[:, 0])
    leaves = [model.g.w, model.gamma.kappa, q, x0]
    found = torch.autograd.grad(out.cost.sum(), leaves)

    w, kappa, _, _ = leaves
    t = torch.tensor(horizon, dtype=torch.float64)
    squared = (t / 2 + torch.sin(2 * w * t) / (4 * w)) + (kappa / w) ** 2 * (t / 2 - torch.sin(2 * w * t) / (4 * w))
    squared = squared + kappa / w**2 * torch.sin(w * t) ** 2
    theta = x0[:, 0] * (-w * torch.sin(w * t) + kappa * torch.cos(w * t))
    exact = (q * x0[:, 0] ** 2 * squared + theta).sum()
    for a, b in zip(found, torch.autograd.grad(exact, leaves), strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-9)


def test_gradient_of_gamma_is_the_chain_rule_through_the_initial_control():
    # Remark 1: dl/dγ = ∂l/∂θ(0) ∂γ/∂μ, where ∂l/∂θ(0) comes from a solve that knows nothing of γ.
    model = closed_loop()
    model.solver = tight(horizon=0.5, rtol=1e-9, atol=1e-9)
    x0 = torch.randn(3, 2, dtype=torch.float64)
    whole = torch.autograd.grad(path_cost(model, x0, running=kinetic).cost.sum(), list(model.gamma.parameters()))
    theta0 = model.initial_control(x0).detach().requires_grad_()

    def f(t, z):
        x, theta, _ = z
        v = model.field(t, x, model.field.unpack(theta))
        return v, model.g(t, x, theta), v.square().sum(1)

    path, _ = solve(f, (x0, theta0, x0.new_zeros(3)), torch.tensor([0.0, 0.5]).double(), model.solver, costs=1)
    (boundary,) = torch.autograd.grad(path[2][-1].sum(), theta0)
    chained = torch.autograd.grad(model.initial_control(x0), list(model.gamma.parameters()), boundary)
    assert relative(whole, chained) < 1e-7


@pytest.mark.parametrize("which", ["running", "state"])
def test_either_sign_flipped_is_wrong(which):
    # Eq. 6 written out for x' = -sin(μx), ℓ = x²: the library agrees with it, and with nothing else.
    mu, horizon = 1.5, 2.0
    field = Sine(mu)
    model = ncode.NeuralODE(field, tight(horizon=horizon))
    x0 = torch.linspace(-2, 2, 7, dtype=torch.float64).reshape(-1, 1)
    cost = path_cost(model, x0, running=lambda p: p.x[:, 0] ** 2).cost.sum()
    (found,) = torch.autograd.grad(cost, field.mu)
    end = model(x0).detach()

    def adjoint_gradient(state_sign, running_sign):
        def back(t, z):
            x, a, _ = z
            slope = -mu * torch.cos(mu * x)
            return -torch.sin(mu * x), state_sign * -a * slope + running_sign * -2 * x, a * x * torch.cos(mu * x)

        t = torch.tensor([horizon, 0.0], dtype=torch.float64)
        start = (end, torch.zeros_like(end), torch.zeros_like(end))
        return odeint(back, start, t, rtol=1e-11, atol=1e-11)[2][-1].sum()

    assert abs(adjoint_gradient(1, 1) / found - 1) < 1e-8
    flipped = adjoint_gradient(1, -1) if which == "running" else adjoint_gradient(-1, 1)
    assert abs(flipped / found - 1) > 0.1


class Sine(ncode.Field):
    def __init__(self, mu):
        super().__init__(shape=(1,))
        self.mu = nn.Parameter(torch.tensor([mu], dtype=torch.float64))

    def forward(self, t, x, theta):
        return -torch.sin(self.value("mu", theta) * x)


# Finite differences and direct gradients.


@pytest.mark.parametrize("name", MODELS)
def test_gradcheck(name):
    model = MODELS[name]()
    # Two digits beyond what gradcheck compares.
    model.solver = tight(rtol=1e-8, atol=1e-8)
    x0 = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def cost(x0, weight, *_):
        return path_cost(
            model,
            x0,
            running=lambda p: weight * p.x.square().sum(1) * torch.cos(p.t) + kinetic(p),
            terminal=lambda x, theta: x.sin().sum(1),
            discrete=lambda t, x, theta: x.prod(1),
            t=[0.0, 0.4, 1.0],
        ).cost

    # The last parameters are of every kind of module: γ's and g's come after f's.
    parameters = list(model.parameters())[-2:]
    assert torch.autograd.gradcheck(cost, (x0, weight, *parameters), atol=1e-6, fast_mode=True)


@pytest.mark.parametrize(("dtype", "tolerance", "close"), [(torch.float64, 1e-8, 1e-6), (torch.float32, 1e-5, 1e-3)])
@pytest.mark.parametrize(("horizon", "batch"), [(1.0, 6), (-0.7, 6), (1.0, 1)])
@pytest.mark.parametrize("name", MODELS)
def test_adjoint_against_direct(name, horizon, batch, dtype, tolerance, close):
    model = MODELS[name](dtype)
    x0 = torch.randn(batch, 2, dtype=dtype)
    direction = torch.randn(batch, *model.field.shape, dtype=dtype)

    def gradient(model, x0, gradients, tolerance):
        x0, penalty = x0.clone().requires_grad_(), jacobian(direction.to(x0))
        model.solver = ncode.Solver(rtol=tolerance, atol=tolerance, horizon=horizon, gradients=gradients)
        out = path_cost(model, x0, running=lambda p: kinetic(p) + penalty(p), terminal=lambda x, theta: x.prod(1))
        # Weights that differ by orders of magnitude: every sample's adjoint has its own scale.
        weights = torch.logspace(0, -3, batch, dtype=x0.dtype)
        return torch.autograd.grad(out.cost @ weights, [x0, *model.parameters()])

    # Direct gradients in float32 are the less exact ones: the reference is tight and in float64.
    exact = gradient(copy.deepcopy(model).double(), x0.double(), "direct", 1e-9)
    found = gradient(model, x0, "adjoint", tolerance)
    assert model.nfe.forward > 0 and model.nfe.backward > 0
    assert relative(found, exact) < close


@pytest.mark.parametrize("method", ADAPTIVE + FIXED)
def test_every_method_has_its_own_quadrature(method):
    model = open_loop()
    x0 = torch.randn(3, 2, dtype=torch.float64)

    def gradient(**options):
        model.solver = ncode.Solver(**options)
        return torch.autograd.grad(path_cost(model, x0, running=kinetic).cost.sum(), list(model.parameters()))

    exact = gradient(rtol=1e-11, atol=1e-11)
    # Orders one and two are slow: only Euler, midpoint and the low adaptive pairs get three digits or fewer.
    close = {"euler": 0.1, "midpoint": 2e-3, "adaptive_heun": 1e-3, "fehlberg2": 1e-3}.get(method, 1e-4)
    assert relative(gradient(method=method, rtol=1e-5, atol=1e-5, steps=40, gradients="adjoint"), exact) < close


@pytest.mark.parametrize("running", ["of θ", "of x", "constant", "none"])
def test_running_cost_that_does_not_see_everything(running):
    model, x0 = closed_loop(), torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    costs = {
        "of θ": lambda p: weight * control_effort(p),
        "of x": lambda p: weight * p.x.square().sum(1),
        "constant": lambda p: weight.expand(3),
        "none": None,
    }

    def gradient(gradients):
        model.solver = tight(gradients=gradients, horizon=0.8)
        terminal = (lambda x, theta: weight * x.sum(1)) if running == "none" else None
        cost = path_cost(model, x0, running=costs[running], terminal=terminal).cost.sum()
        leaves = [weight, x0, *model.parameters()]
        return torch.autograd.grad(cost, leaves, allow_unused=True, materialize_grads=True)

    direct, adjoint = gradient("direct"), gradient("adjoint")
    assert relative(adjoint, direct) < 1e-8
    if running == "constant":
        assert float(adjoint[0]) == pytest.approx(3 * 0.8)


def test_parameters_shared_between_f_and_g():
    class Shared(nn.Module):
        def __init__(self, field):
            super().__init__()
            self.field = field

        def forward(self, t, x, theta):
            return torch.tanh(x @ self.field.layers[0].weight.T).sum(1, keepdim=True) * theta

    field = ncode.MLP(2, [6]).double()
    model = ncode.NCODE(field, g=Shared(field), steer="layers.1.bias")
    x0 = torch.randn(3, 2, dtype=torch.float64)

    def gradient(gradients):
        model.solver = tight(gradients=gradients)
        return torch.autograd.grad(path_cost(model, x0, running=kinetic).cost.sum(), list(model.parameters()))

    assert len(list(model.parameters())) == 4
    assert relative(gradient("adjoint"), gradient("direct")) < 1e-8


def test_captured_tensor_with_a_history_is_found_declared_or_not():
    model = open_loop()
    model.solver = tight()
    x0 = torch.randn(3, 2, dtype=torch.float64)
    raw = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    gradients = []
    for declare in (True, False):
        weight = raw.exp()
        out = path_cost(model, x0, lambda p, w=weight: w * kinetic(p), captured=(weight,) if declare else ())
        gradients.append(torch.autograd.grad(out.cost.sum(), raw)[0])
    assert float(gradients[0]) == pytest.approx(out.cost.sum().item(), rel=1e-8)
    assert torch.allclose(*gradients, rtol=1e-9)


# Contractive dynamics: the state cannot be found backward without checkpoints.


def contractive_gradient(rate, **options):
    model = ncode.NeuralODE(Contractive(rate), ncode.Solver(horizon=5.0, **options))
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
    monkeypatch.setattr("ncode.backward.DEEPEST", 1)
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
        model = ncode.NeuralODE(Oscillating(10.0), ncode.Solver(horizon=5.0, checkpoints=0, **options))
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
    model = ncode.NeuralODE(Contractive(1.0), ncode.Solver("dopri5", tolerance, tolerance, horizon))
    model.solver = ncode.Solver("dopri5", tolerance, tolerance, horizon, gradients=gradients, max_nfe=10**6)
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
        kept.begin(torch.tensor(1.0))
        kept.accept(torch.tensor(float(i)), (torch.full((1, 1), float(i)),), torch.tensor(1.0))
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


@pytest.mark.parametrize("method", ADAPTIVE + FIXED)
def test_stage_weights_reproduce_the_solver(method):
    # A quadrature summed from the stages is the solver's own: z' = e^t over one step.
    weights, times = stage_weights(method), []

    def f(t, z):
        times.append(float(t))
        return (torch.exp(t).reshape(1, 1),)

    options = {"first_step": 1.0} if method in ADAPTIVE else {}
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    start = (torch.zeros(1, 1, dtype=torch.float64),)
    end = odeint(f, start, t, method=method, rtol=1e6, atol=1e6, options=options)[0][-1]
    summed = sum(b * math.exp(time) for b, time in zip(weights, times, strict=True))
    assert summed == pytest.approx(float(end), abs=1e-13)
    assert sum(weights) == pytest.approx(1.0, abs=1e-12)


def test_solve_lands_on_its_last_time():
    # Stepping over it and interpolating back costs dopri8 six digits: z' = z cos t.
    t = torch.tensor([0.0, 0.7, 2.0], dtype=torch.float64)
    solver, start = ncode.Solver("dopri8", rtol=1e-10, atol=1e-10), (torch.ones(1, 1, dtype=torch.float64),)
    (path,) = integrate(lambda t, z: (z[0] * torch.cos(t),), start, t, solver, ncode.NFE())
    assert torch.allclose(path.reshape(-1), torch.sin(t).exp(), atol=1e-8)


# What makes no sense.


def test_costs_of_the_wrong_shape_are_named(unchecked):
    model, x0 = open_loop(), torch.randn(3, 2, dtype=torch.float64)
    for name, term in {
        "running": lambda p: p.x,
        "terminal": lambda x, theta: x.sum(),
        "discrete": lambda t, x, theta: 1.0,
    }.items():
        with pytest.raises(ValueError, match=f"{name}: must give one number a sample"):
            path_cost(model, x0, **{name: term})


def test_control_effort_without_a_control_is_named():
    model = MODELS["neural ODE"]()
    with pytest.raises(ValueError, match="no control"):
        path_cost(model, torch.randn(3, 2, dtype=torch.float64), running=control_effort)


def test_negative_checkpoints_are_named():
    with pytest.raises(ValueError, match="checkpoints"):
        ncode.Solver(checkpoints=-1)
