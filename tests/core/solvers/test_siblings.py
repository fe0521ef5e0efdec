"""What went wrong for users of such libraries, with its siblings: other methods, kinds of gradient, types, models."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch
from models import KINDS, build
from torch import nn

from ncode import NCODE, Field, NeuralODE, SolveError, Solver
from ncode.solvers.dispatch import integrate

GRADIENTS = ("direct", "checkpointed", "adjoint")


class Decay(Field):
    """x' = -k x."""

    def __init__(self, shape=(1,)):
        super().__init__(shape=shape)
        self.k = nn.Parameter(torch.tensor(1.0))

    def forward(self, t, x, theta):
        return -self.value("k", theta) * x


@pytest.mark.parametrize("gradients", GRADIENTS)
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in ("open", "both", "some")])
def test_nothing_of_a_step_outlives_it(kind, method, gradients):
    """Memory that grows until the garbage collector comes by: a reference cycle holds what it holds."""
    model, kept = build(kind, Solver(method, gradients=gradients)), []
    model.gamma.register_forward_hook(lambda m, i, out: kept.append(weakref.ref(out)))
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            model(torch.randn(4, 2)).sum().backward()
        assert [one() is None for one in kept] == [True] * 3
    finally:
        gc.enable()


@pytest.mark.parametrize("gradients", GRADIENTS)
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "rk4"])
@pytest.mark.parametrize("start", [1e4, 1e6, 1.7e9])
def test_late_times_are_as_good_as_early_ones(start, method, gradients):
    t = torch.tensor([start, start + 0.1], dtype=torch.float64)
    options = {} if method == "rk4" else {"rtol": 1e-6, "atol": 1e-6}
    model = NeuralODE(Decay(), solver=Solver(method, gradients=gradients, **options))
    x = torch.ones(1, 1, requires_grad=True)
    end = model.trajectory(x, t).x[-1]
    assert end.item() == pytest.approx(math.exp(-0.1), abs=1e-5)
    end.backward()
    assert x.grad.item() == pytest.approx(math.exp(-0.1), abs=1e-5)


@pytest.mark.parametrize("gradients", GRADIENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_solve_gives_may_be_changed_in_place(kind, gradients):
    model, x = build(kind, Solver(gradients=gradients)), torch.randn(8, 2)
    found = []
    for change in (lambda y: torch.relu(y), lambda y: torch.relu_(y), lambda y: y.mul_(y > 0)):
        model.zero_grad()
        change(model(x)).sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])
    path = model.trajectory(x, [0.0, 0.5, 1.0]).x
    path[1] *= 2
    path.sum().backward()


class Hamiltonian(Field):
    """q' = ∂H/∂p, p' = -∂H/∂q with H = (p² + k q²)/2, differentiated inside the field."""

    def __init__(self):
        super().__init__(shape=(2,))
        self.k = nn.Parameter(torch.tensor([2.0]))

    def forward(self, t, x, theta):
        with torch.enable_grad():
            z = x if x.requires_grad else x.detach().requires_grad_()
            energy = 0.5 * (z[:, 1] ** 2 + self.value("k", theta)[..., 0] * z[:, 0] ** 2)
            (slope,) = torch.autograd.grad(energy.sum(), z, create_graph=True)
        return torch.stack([slope[:, 1], -slope[:, 0]], dim=1)


@pytest.mark.parametrize("gradients", GRADIENTS)
@pytest.mark.parametrize("steered", [False, True])
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_a_field_may_differentiate(method, steered, gradients):
    """q(T) = cos(√k T), dq/dk = -T sin(√k T)/(2√k)."""
    options = {"steps": 100} if method == "rk4" else {"rtol": 1e-6, "atol": 1e-6}
    field, solver, k = Hamiltonian(), Solver(method, gradients=gradients, **options), torch.tensor([[2.0]])
    leaf = k.requires_grad_() if steered else field.k
    if steered:
        model = NCODE(field, gamma=lambda x: k.expand(len(x), 1), horizon=1.3, solver=solver)
    else:
        model = NeuralODE(field, horizon=1.3, solver=solver)
    end = model(torch.tensor([[1.0, 0.0]]))
    assert end[0, 0].item() == pytest.approx(math.cos(1.3 * math.sqrt(2)), abs=1e-4)
    (found,) = torch.autograd.grad(end[0, 0], leaf)
    assert found.item() == pytest.approx(-1.3 * math.sin(1.3 * math.sqrt(2)) / (2 * math.sqrt(2)), abs=1e-3)


@pytest.mark.parametrize("gradients", GRADIENTS)
def test_one_number_a_sample(gradients):
    model = NeuralODE(Decay(()), solver=Solver(rtol=1e-6, atol=1e-6, gradients=gradients))
    x = torch.ones(3, requires_grad=True)
    end = model(x)
    torch.testing.assert_close(end, torch.full((3,), math.exp(-1)), rtol=1e-4, atol=0)
    end.sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3,), math.exp(-1)), rtol=1e-4, atol=0)
    (path,), _ = integrate(lambda t, z: (-z[0],), (torch.ones(2),), torch.tensor([[0.0, 0.0], [1.0, 2.0]]), Solver())
    torch.testing.assert_close(path[-1], torch.exp(torch.tensor([-1.0, -2.0])), rtol=1e-3, atol=1e-3)


class Pulse(Field):
    """x' = exp(-((t - 0.7)/0.002)²): x(1) = 0.002 √π."""

    def __init__(self):
        super().__init__(shape=(1,))

    def forward(self, t, x, theta):
        return torch.exp(-(((t - 0.7) / 0.002) ** 2)).expand_as(x)


@pytest.mark.parametrize("options", [{"max_step": 0.001}, {"jumps": (0.69, 0.7, 0.71)}])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3"])
def test_a_pulse_is_not_stepped_over(method, options):
    model = NeuralODE(Pulse(), solver=Solver(method, rtol=1e-6, atol=1e-6, **options))
    assert model(torch.zeros(1, 1)).item() == pytest.approx(0.002 * math.sqrt(math.pi), abs=1e-5)


def test_too_many_steps_fail_before_the_first():
    calls = 0

    def f(t, z):
        nonlocal calls
        calls += 1
        return (-z[0],)

    with pytest.raises(SolveError, match="too many evaluations"):
        integrate(f, (torch.ones(1, 1),), [0.0, 1.0], Solver("euler", steps=10**8))
    assert calls == 0


@pytest.mark.parametrize("gradients", ["direct", "checkpointed"])
def test_complex_states(gradients):
    """z' = iωz: z(t) = exp(iωt)."""
    omega = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    start = torch.ones(2, 1, dtype=torch.complex128)
    solver = Solver(rtol=1e-9, atol=1e-9, gradients=gradients)
    (path,), _ = integrate(lambda t, z: (1j * omega * z[0],), (start,), [0.0, 0.4, 1.0], solver)
    exact = torch.exp(2j * torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64))[:, None, None].expand(3, 2, 1)
    torch.testing.assert_close(path, exact, rtol=0, atol=1e-7)
    (found,) = torch.autograd.grad(path[-1].real.sum(), omega)
    assert found.item() == pytest.approx(-2 * math.sin(2.0), abs=1e-6)


def test_tolerances_of_each_part():
    """A loose part asks for fewer steps, a strict one for more; the adjoint's parts have those of the state's."""

    def f(t, z):
        return -torch.sin(20 * t) * z[0], z[0] * z[1]

    start = (torch.ones(1, 1), torch.ones(1, 1))
    spent = {}
    for rtol in (1e-3, (1e-7, 1e-3), (1e-3, 1e-7), 1e-7):
        spent[rtol] = integrate(f, start, [0.0, 1.0], Solver(rtol=rtol, atol=rtol))[1].forward
    # To a step or two: steps that end elsewhere have other errors.
    assert spent[1e-3] < spent[(1e-7, 1e-3)] <= spent[1e-7] + 12
    assert spent[1e-3] < spent[(1e-3, 1e-7)] <= spent[1e-7] + 12
    x = torch.ones(1, 1, requires_grad=True)
    (_, y), nfe = integrate(
        f, (x, start[1]), [0.0, 1.0], Solver(rtol=(1e-7, 1e-5), atol=(1e-7, 1e-5), gradients="adjoint")
    )
    y[-1].sum().backward()
    assert nfe.backward > 0 and x.grad.isfinite().all()
