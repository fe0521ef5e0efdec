"""Gradients, twice: finite differences in float64, and the adjoint against backpropagation through the solver."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint

from ncode import NCODE, ClosedLoop, Field, NeuralODE, OpenLoop, Solver, path_cost, solve
from ncode.fields.elementary import Velocity
from ncode.solvers.dispatch import integrate
from tests.core.models import KINDS, Dropped, build

TIGHT = {"method": "dopri8", "rtol": 1e-11, "atol": 1e-11}
DIRECT = Solver(**TIGHT)
ADJOINT = Solver(**TIGHT, gradients="adjoint")
PRECISE = {"dopri5": {"rtol": 1e-8, "atol": 1e-8}, "rk4": {"steps": 300}}
# The adjoint solves another equation than backpropagation differentiates: the two agree to the solver's error.
AGREE = {"rtol": 1e-7, "atol": 1e-9}

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("solver", [Solver("rk4", steps=4), ADJOINT], ids=["direct", "adjoint"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind, solver):
    """Through inputs and every parameter; the solver's 1e-11 leaves central differences of step 1e-6 good to 1e-5."""
    model = build(kind, solver, dim=1, hidden=2)
    x = torch.randn(2, 1, requires_grad=True)
    # gradcheck perturbs in place, and so reaches the parameters where the model has them. It goes backward twice, and a
    # kernel takes its steps again the second time: the same sums in another order, equal to rounding.
    close = {"atol": 1e-4, "rtol": 1e-4, "nondet_tol": 1e-13}
    assert torch.autograd.gradcheck(lambda x, *parameters: model(x), (x, *model.parameters()), **close, fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduce", [torch.sum, torch.mean], ids=["sum", "mean"])
def test_adjoint_against_direct(kind, reduce):
    gradients = []
    for solver in (DIRECT, ADJOINT):
        model = build(kind, solver)
        torch.manual_seed(1)
        x = torch.randn(4, 2, requires_grad=True)
        reduce(model(x) ** 3).backward()
        gradients.append([x.grad, *(p.grad for p in model.parameters())])
    for direct, adjoint in zip(*gradients, strict=True):
        assert direct.abs().max() > 0
        torch.testing.assert_close(adjoint, direct, **AGREE)


@pytest.mark.parametrize("kind", ["node", "open", "closed", "both"])
def test_adjoint_of_a_loss_on_the_whole_path(kind):
    gradients = []
    for solver in (DIRECT, ADJOINT):
        model = build(kind, solver)
        torch.manual_seed(1)
        x = torch.randn(4, 2, requires_grad=True)
        path = model.trajectory(x, [0.0, 0.3, 0.9, 1.0])
        loss = (path.x**2).sum() + (0 if path.theta is None else path.theta.sin().sum())
        loss.backward()
        gradients.append([x.grad, *(p.grad for p in model.parameters())])
    for direct, adjoint in zip(*gradients, strict=True):
        torch.testing.assert_close(adjoint, direct, **AGREE)


def decay(t, x, theta):
    return -theta * x


def test_torchdiffeq_gives_a_captured_tensor_no_gradient():
    """The trap itself: not zero, not an error; there is just nothing."""

    class Captures(nn.Module):
        def __init__(self, theta):
            super().__init__()
            self.theta = [theta]

        def forward(self, t, x):
            return decay(t, x, self.theta[0])

    theta = torch.full((3, 1), 0.5, requires_grad=True)
    x = torch.ones(3, 1, requires_grad=True)
    odeint_adjoint(Captures(theta), x, torch.tensor([0.0, 1.0]))[-1].sum().backward()
    assert x.grad is not None
    assert theta.grad is None


def exact_gradient(theta):
    """Of the sum of x(1) = x(0) exp(-θ) with x(0) = 1."""
    return -torch.exp(-theta.detach())


def test_a_captured_leaf_gets_its_gradient_undeclared():
    theta = torch.linspace(0.1, 2, 3).unsqueeze(1).requires_grad_()
    (x,), _ = integrate(lambda t, z: (decay(t, z[0], theta),), (torch.ones(3, 1),), torch.tensor([0.0, 1.0]), ADJOINT)
    x[-1].sum().backward()
    torch.testing.assert_close(theta.grad, exact_gradient(theta), **AGREE)


@pytest.mark.parametrize("declared", [True, False])
def test_a_captured_tensor_with_a_history_passes_its_gradient_on(declared):
    source = torch.linspace(0.1, 1, 3).unsqueeze(1).requires_grad_()
    theta = 2 * source
    (x,), _ = integrate(
        lambda t, z: (decay(t, z[0], theta),),
        (torch.ones(3, 1),),
        torch.tensor([0.0, 1.0]),
        ADJOINT,
        [theta] if declared else [],
    )
    x[-1].sum().backward()
    torch.testing.assert_close(source.grad, 2 * exact_gradient(theta), **AGREE)


def test_a_leaf_both_inside_a_declared_control_and_captured_gets_both_shares():
    source = torch.tensor([0.3], requires_grad=True)
    theta = 2 * source
    (x,), _ = integrate(
        lambda t, z: (-(theta + source) * z[0],), (torch.ones(2, 1),), torch.tensor([0.0, 1.0]), ADJOINT, [theta]
    )
    x[-1].sum().backward()
    torch.testing.assert_close(source.grad, -3 * 2 * torch.exp(-3 * source.detach()), **AGREE)


@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
def test_a_parameter_that_the_field_uses_only_later(gradients):
    """Piecewise in time: at t = 0, where the captured leaves are looked for, the second rate is out of sight."""

    class Switched(Field):
        def __init__(self):
            super().__init__(shape=(1,))
            self.early, self.late = (nn.Parameter(torch.tensor([rate])) for rate in (0.5, 1.0))

        def forward(self, t, x, theta):
            return (self.early if t < 0.5 else self.late) * x

    # The step that ends at the switch sees the late rate in its last stage, with the weight 1/8: a gradient wrong by
    # 1/200 of its size.
    model = NeuralODE(Switched(), solver=Solver("rk4", steps=50, gradients=gradients))
    x = torch.ones(2, 1)
    model(x).sum().backward()
    exact = torch.exp(torch.tensor([0.75]))
    torch.testing.assert_close(model.field.early.grad, exact, rtol=0.05, atol=0)
    torch.testing.assert_close(model.field.late.grad, exact, rtol=0.05, atol=0)


def test_a_field_may_ignore_its_control():
    class Deaf(Field):
        def __init__(self):
            super().__init__(shape=(1,), slots={"u": (1,)})

        def forward(self, t, x, theta):
            return -x

    model = NCODE(Deaf(), gamma=OpenLoop(1, 1), solver=ADJOINT)
    x = torch.ones(2, 1, requires_grad=True)
    model(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.exp(torch.tensor(-1.0)).expand(2, 1))


def test_the_open_loop_controller_learns_under_the_adjoint():
    """What the trap would break: γ's parameters, through θ = γ(x(0)) that the field captures."""
    model = build("open", ADJOINT)
    model(torch.randn(4, 2)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("reduce", [torch.sum, torch.mean], ids=["sum", "mean"])
def test_the_adjoint_of_a_mean_is_as_accurate_as_that_of_a_sum(reduce):
    """An absolute tolerance would else swallow the adjoint of a mean over many samples, 1/batch small.

    An oscillator at rest: the state needs no steps at all, so what the adjoint needs is decided by its own error.
    """
    batch, tolerance, end = 4096, 1e-4, 10.0
    x = torch.zeros(batch, 2, requires_grad=True)
    solver = Solver(rtol=tolerance, atol=tolerance, gradients="adjoint")
    (path,), _ = integrate(
        lambda t, z: (torch.stack([z[0][:, 1], -z[0][:, 0]], 1),), (x,), torch.tensor([0.0, end]), solver
    )
    reduce(path[-1, :, 0]).backward()
    size = 1 if reduce is torch.sum else 1 / batch
    exact = size * torch.tensor([math.cos(end), math.sin(end)]).expand(batch, 2)
    # About 30 steps add up their errors.
    torch.testing.assert_close(x.grad, exact, rtol=0, atol=30 * tolerance * size)


def test_gradients_in_float32_are_those_of_float64():
    gradients = []
    for dtype in (torch.float32, torch.float64):
        model = build("both", Solver(rtol=1e-6, atol=1e-6, gradients="adjoint")).to(dtype)
        torch.manual_seed(1)
        x = torch.randn(4, 2).to(dtype).requires_grad_()
        model(x).square().sum().backward()
        gradients.append(x.grad.double())
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


def test_no_gradient_is_asked_of_a_frozen_field():
    model = build("open", ADJOINT)
    model.requires_grad_(False)
    x = torch.randn(4, 2, requires_grad=True)
    model(x).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in model.parameters())


def test_without_gradients_there_is_no_graph():
    model = build("both", ADJOINT)
    with torch.no_grad():
        assert not model(torch.randn(4, 2)).requires_grad
    assert model.nfe.forward > 0 and model.nfe.backward == 0


def test_evaluations_of_the_backward_solve_are_counted():
    model = build("both", ADJOINT)
    end = model(torch.randn(4, 2))
    assert model.nfe.backward == 0
    end.sum().backward()
    assert model.nfe.backward > 0


@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
def test_a_field_that_does_not_depend_on_the_state(gradients):
    """x' = θ with a constant θ: the graph does not reach x, whose gradient is one all the same."""

    class Still(nn.Module):
        def forward(self, t, x, theta):
            return torch.zeros_like(theta)

    model = NCODE(Velocity(2), g=Still(), horizon=2.0, solver=Solver(gradients=gradients))
    x = torch.randn(3, 2, requires_grad=True)
    model(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(3, 2))
    torch.testing.assert_close(model.theta0.grad, torch.full((2,), 6.0))


def test_a_constant_field_under_the_adjoint():
    """Nothing in the velocity needs a gradient: the adjoint stands still."""
    x = torch.ones(3, 1, requires_grad=True)
    (path,), _ = integrate(lambda t, z: (torch.ones(3, 1),), (x,), torch.tensor([0.0, 1.0]), ADJOINT)
    path[-1].sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(3, 1))


def test_parameters_swapped_between_forward_and_backward_are_refused():
    """functional_call puts the module's own parameters back before the adjoint evaluates the field again."""
    model = build("node", ADJOINT)
    other = {name: (p.detach() + 1).requires_grad_() for name, p in model.named_parameters()}
    end = torch.func.functional_call(model, other, (torch.randn(4, 2),))
    with pytest.raises(RuntimeError, match="no longer"):
        end.sum().backward()


class Context(Field):
    """A field that reads something which is no parameter of its own."""

    def __init__(self, encoders=()):
        super().__init__(shape=(2,))
        self.layer = nn.Linear(4, 2)
        self.encoders = nn.ModuleList(encoders)
        self.context = None

    def forward(self, t, x, theta):
        now = self.context[min(int(t), len(self.context) - 1)]
        return torch.tanh(self.layer(torch.cat([x, now], 1)))


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
@pytest.mark.parametrize("owned", [False, True])
def test_a_tensor_first_reached_later_gets_its_gradient_where_the_field_owns_it_and_is_refused_else(owned, method):
    torch.manual_seed(0)
    encoders = [nn.Linear(2, 2) for _ in range(3)]
    field, x = Context(encoders if owned else ()), torch.randn(4, 2)
    gradients = []
    for kind in ("direct", "adjoint"):
        field.context = [encoder(x) for encoder in encoders]
        model = NeuralODE(field, horizon=3.0, solver=Solver(method, **PRECISE[method], gradients=kind))
        loss = model(x).square().sum()
        if kind == "adjoint" and not owned:
            with pytest.raises(RuntimeError, match=r"shape \(2, 2\) at t = 3 .* would be lost"):
                loss.backward()
            return
        gradients.append(torch.autograd.grad(loss, [encoder.weight for encoder in encoders]))
    # The context jumps at t = 1 and 2, where a fixed step is of the first order.
    torch.testing.assert_close(*gradients, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
@pytest.mark.parametrize("learned", [False, True])
def test_a_field_whose_state_changed_between_forward_and_backward_is_refused(learned, method):
    torch.manual_seed(0)
    field, encoder, x = Context(), nn.Linear(3, 2).requires_grad_(learned), torch.randn(4, 2)
    model = NeuralODE(field, solver=Solver(method, **PRECISE[method], gradients="adjoint"))
    field.context = [encoder(torch.randn(4, 3))]
    first = model(x)
    field.context = [encoder(torch.randn(4, 3))]
    with pytest.raises(RuntimeError, match=r"no longer gives the velocity .* set anew"):
        (first - model(x)).square().sum().backward()


def test_a_random_field_is_refused_by_the_adjoint_and_a_random_cost_is_not():
    model = NeuralODE(Dropped(), solver=Solver("rk4", gradients="adjoint"))
    x = torch.randn(4, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="random"):
        model(x).sum().backward()
    model.eval()(x).sum().backward()
    path_cost(model, x, running=lambda p: (torch.randn_like(p.x) * p.x).sum(1)).cost.sum().backward()


@pytest.mark.parametrize("solver", [DIRECT, ADJOINT, Solver("rk4", steps=200)], ids=["direct", "adjoint", "rk4"])
@pytest.mark.parametrize("given", ["vector", "list"])
def test_every_time_gets_its_gradient(solver, given):
    """x' = t x from t0: x(t) = 2 exp((t² - t0²)/2)."""
    times = [torch.tensor(time, requires_grad=True) for time in (0.3, 0.9, 0.9, 1.5)]
    t = torch.stack(times) if given == "vector" else times
    (path,), _ = integrate(lambda t, z: (t * z[0],), (torch.tensor([[2.0]]),), t, solver)
    weights = torch.tensor([7.0, 1.0, 10.0, 100.0])
    found = torch.autograd.grad(path.flatten() @ weights, times)
    exact = 2 * torch.exp((torch.stack(times) ** 2 - times[0] ** 2) / 2) @ weights
    expected = torch.autograd.grad(exact, times)
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-6, atol=1e-8)


def test_the_gradient_of_a_time_in_a_model_and_its_second_derivative():
    model = NeuralODE(Minus(), solver=DIRECT)
    end = torch.tensor(1.5, requires_grad=True)
    x = model.trajectory(torch.full((1, 1), 2.0), [0.0, end]).x[-1].sum()
    (first,) = torch.autograd.grad(x, end, create_graph=True)
    (second,) = torch.autograd.grad(first, end)
    # 2 exp(-T)
    assert first.item() == pytest.approx(-2 * math.exp(-1.5), rel=1e-8)
    assert second.item() == pytest.approx(2 * math.exp(-1.5), rel=1e-8)


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
@pytest.mark.parametrize("independent", [False, True])
def test_second_derivatives_by_times_state_and_parameters_do_not_ask_for_an_order(gradients, independent):
    """x' = k t x from s: x(t) = x(s) exp(k (t² - s²)/2). First by any, then by any other."""
    inputs = [torch.tensor(value, requires_grad=True) for value in (0.3, 1.2, 0.8, 0.5)]
    solver = Solver(rtol=1e-11, atol=1e-11, gradients=gradients, independent=independent)

    def end(s, t, x, k):
        return solve(lambda t, z: k * t * z, x.reshape(1, 1), [s, t], solver=solver)[-1].sin().sum()

    def exact(s, t, x, k):
        return (x * torch.exp(k * (t**2 - s**2) / 2)).sin()

    def second(of):
        first = torch.autograd.grad(of(*inputs), inputs, create_graph=True)
        return torch.stack([torch.stack(torch.autograd.grad(one, inputs, retain_graph=True)) for one in first])

    torch.testing.assert_close(second(end), second(exact), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_the_time_of_a_complex_state_gets_its_gradient(gradients, independent, own):
    """z' = iωz from s: z(t) = exp(iω(t - s)); f sees a real time."""
    omega, times = torch.tensor(1.5), [torch.tensor(time, requires_grad=True) for time in (0.2, 1.0)]
    solver, seen = Solver(rtol=1e-10, atol=1e-10, gradients=gradients, independent=independent), set()

    def f(t, z):
        seen.add(t.dtype)
        return 1j * omega * z

    t = torch.stack(times).unsqueeze(1).expand(2, 3) if own else times
    end = solve(f, torch.ones(3, 1, dtype=torch.complex128), t, solver=solver)[-1]
    found = torch.autograd.grad(end.imag.sum() + 2 * end.real.sum(), times)
    exact = torch.exp(1j * omega * (times[1] - times[0]))
    expected = torch.autograd.grad(3 * (exact.imag + 2 * exact.real), times)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
    assert seen == {torch.float64}


class Minus(Field):
    """x' = -x."""

    def __init__(self):
        super().__init__(shape=(1,))

    def forward(self, t, x, theta):
        return -x


def test_a_field_with_state_of_more_dimensions():
    """Images, in short: the batch is the only dimension that the solver knows."""

    class Channels(Field):
        def __init__(self):
            super().__init__(shape=(2, 3, 3))
            self.kernel = nn.Parameter(torch.randn(2, 2, 3, 3) / 4)

        def forward(self, t, x, theta):
            return torch.tanh(nn.functional.conv2d(x, self.value("kernel", theta), padding=1))

    gradients = []
    for solver in (DIRECT, ADJOINT):
        torch.manual_seed(0)
        model = NeuralODE(Channels(), solver=solver)
        x = torch.randn(2, 2, 3, 3, requires_grad=True)
        model(x).square().mean().backward()
        gradients.append((x.grad, model.field.kernel.grad))
    for direct, adjoint in zip(*gradients, strict=True):
        torch.testing.assert_close(adjoint, direct, **AGREE)


def test_the_library_agrees_with_torchdiffeq_where_that_is_right():
    """Same problem, θ declared: one reference that shares no code with ours."""
    model = build("node", DIRECT)
    x = torch.randn(4, 2)
    f = model.field
    end = odeint(lambda t, z: f(t, z, {}), x, torch.tensor([0.0, 1.0]), rtol=1e-12, atol=1e-12)[-1]
    torch.testing.assert_close(model(x), end, atol=1e-8, rtol=0)
    assert isinstance(build("closed", DIRECT).g, ClosedLoop) and isinstance(build("open", DIRECT).gamma, OpenLoop)


@pytest.mark.parametrize("kind", ["node", "open", "closed"])
def test_the_adjoint_refuses_a_second_derivative(kind):
    model = build(kind, Solver(gradients="adjoint"))
    x = torch.randn(3, 2, requires_grad=True)
    loss = model(x).square().sum()
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.functional.hessian(lambda y: model(y).sum(), x.detach())
