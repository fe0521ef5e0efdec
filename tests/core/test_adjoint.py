"""Theorem 1: gradients of costs along the path against closed forms, finite differences and the direct ones."""

import copy

import pytest
import torch
from torch import nn
from torchdiffeq import odeint

import ncode
from ncode.costs import control_effort, jacobian, kinetic, path_cost
from ncode.fields.elementary import Linear, Velocity
from ncode.solvers.dispatch import integrate
from ncode.solvers.options import FIXED
from ncode.solvers.tableaus import TABLEAUS
from tests.core.adjoint_cases import MODELS, closed_loop, open_loop, relative, tight


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    with torch.random.fork_rng():
        yield


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


# Closed forms.


@pytest.mark.parametrize("horizon", [2.0, -1.0])
@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
def test_linear_flow_against_the_matrix_exponential(horizon, gradients):
    # x' = Ax, l = ∫‖x‖²dt = x(0)ᵀ P x(0) with P from one exponential of a block matrix (Van Loan 1978).
    model = ncode.NeuralODE(Linear(3).double(), horizon=horizon, solver=tight(gradients=gradients))
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
    model = ncode.NCODE(Velocity(1).double(), gamma=Scalar(kappa), g=Closed(w), horizon=horizon, solver=tight())
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
    model.horizon, model.solver = 0.5, tight(rtol=1e-9, atol=1e-9)
    x0 = torch.randn(3, 2, dtype=torch.float64)
    whole = torch.autograd.grad(path_cost(model, x0, running=kinetic).cost.sum(), list(model.gamma.parameters()))
    theta0 = model.initial_control(x0).detach().requires_grad_()

    def f(t, z):
        x, theta, _ = z
        v = model.field(t, x, model.field.unpack(theta))
        return v, model.g(t, x, theta), v.square().sum(1)

    path, _ = integrate(f, (x0, theta0, x0.new_zeros(3)), torch.tensor([0.0, 0.5]).double(), model.solver, costs=1)
    (boundary,) = torch.autograd.grad(path[2][-1].sum(), theta0)
    chained = torch.autograd.grad(model.initial_control(x0), list(model.gamma.parameters()), boundary)
    assert relative(whole, chained) < 1e-7


@pytest.mark.parametrize("which", ["running", "state"])
def test_either_sign_flipped_is_wrong(which):
    # Eq. 6 written out for x' = -sin(μx), ℓ = x²: the library agrees with it, and with nothing else.
    mu, horizon = 1.5, 2.0
    field = Sine(mu)
    model = ncode.NeuralODE(field, horizon=horizon, solver=tight())
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
        model.horizon = horizon
        model.solver = ncode.Solver(rtol=tolerance, atol=tolerance, gradients=gradients)
        out = path_cost(model, x0, running=lambda p: kinetic(p) + penalty(p), terminal=lambda x, theta: x.prod(1))
        # Weights that differ by orders of magnitude: every sample's adjoint has its own scale.
        weights = torch.logspace(0, -3, batch, dtype=x0.dtype)
        return torch.autograd.grad(out.cost @ weights, [x0, *model.parameters()])

    # Direct gradients in float32 are the less exact ones: the reference is tight and in float64.
    exact = gradient(copy.deepcopy(model).double(), x0.double(), "direct", 1e-9)
    found = gradient(model, x0, "adjoint", tolerance)
    assert model.nfe.forward > 0 and model.nfe.backward > 0
    assert relative(found, exact) < close


@pytest.mark.parametrize("method", TABLEAUS)
def test_every_method_has_its_own_quadrature(method):
    model = open_loop()
    x0 = torch.randn(3, 2, dtype=torch.float64)

    def gradient(**options):
        model.solver = ncode.Solver(**options)
        return torch.autograd.grad(path_cost(model, x0, running=kinetic).cost.sum(), list(model.parameters()))

    exact = gradient(rtol=1e-11, atol=1e-11)
    # Orders one and two are slow: only Euler, midpoint, Heun and the low adaptive pairs get three digits or fewer.
    close = {"euler": 0.1, "midpoint": 2e-3, "heun": 2e-3, "adaptive_heun": 1e-3, "fehlberg2": 1e-3}.get(method, 1e-4)
    steps = {"steps": 40} if method in FIXED else {}
    assert relative(gradient(method=method, rtol=1e-5, atol=1e-5, gradients="adjoint", **steps), exact) < close


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
        model.horizon, model.solver = 0.8, tight(gradients=gradients)
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
        out = path_cost(model, x0, running=lambda p, w=weight: w * kinetic(p), captured=(weight,) if declare else ())
        gradients.append(torch.autograd.grad(out.cost.sum(), raw)[0])
    assert float(gradients[0]) == pytest.approx(out.cost.sum().item(), rel=1e-8)
    assert torch.allclose(*gradients, rtol=1e-9)


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
