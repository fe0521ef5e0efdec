"""The implicit method: its order, stiff problems against solutions and scipy's Radau, its gradients and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import KINDS, build
from scipy.integrate import solve_ivp

from ncode import MLP, NCODE, NFE, NeuralODE, OpenLoop, SolveError, Solver, solve
from ncode.solvers.dense import solve_path
from ncode.solvers.events import solve_until
from ncode.solvers.rosenbrock import LARGEST

TIGHT = Solver("rodas4", rtol=1e-7, atol=1e-9)


def coupled(t, x):
    """Nonlinear, and different at every time."""
    return torch.stack([-(x[:, 0] ** 2) * x[:, 1].sin() + t.cos(), x[:, 0] * x[:, 1] - t * x[:, 1] ** 2], dim=1)


def robertson(t, x):
    a, b, c = x.unbind(1)
    first, second = -0.04 * a + 1e4 * b * c, 3e7 * b * b
    return torch.stack([first, -first - second, second], dim=1)


def van_der_pol(t, x):
    return torch.stack([x[:, 1], 1000.0 * (1 - x[:, 0] ** 2) * x[:, 1] - x[:, 0]], dim=1)


def radau(f, x, t):
    def one(time, state):
        return f(torch.tensor(time), torch.tensor(state)[None])[0].numpy()

    found = solve_ivp(one, (t[0], t[-1]), x.numpy(), "Radau", t_eval=t, rtol=1e-8, atol=1e-12)
    return torch.from_numpy(np.ascontiguousarray(found.y.T))


def test_its_order_is_four(float64):
    x = torch.tensor([[0.5, 1.0], [1.0, 0.3]])
    exact = solve(coupled, x, [0.0, 1.0], solver=Solver("dopri8", rtol=1e-13, atol=1e-13))[-1]
    errors = []
    for n in (16, 32):
        free = Solver("rodas4", rtol=1e6, atol=1e6, first_step=1 / n, max_step=1 / n)
        errors.append(float((solve(coupled, x, [0.0, 1.0], solver=free)[-1] - exact).abs().max()))
    assert 3.7 < np.log2(errors[0] / errors[1]) < 4.5


def test_a_stiff_linear_system_takes_as_few_steps_as_an_easy_one(float64):
    """x' = A (x - (cos t, sin t)) + its slope, with rates of 1 and k: the solution stays (cos t, sin t)."""

    def system(k):
        a = torch.tensor([[-(k + 1) / 2, (k - 1) / 2], [(k - 1) / 2, -(k + 1) / 2]])

        def f(t, x):
            path, slope = torch.stack([t.cos(), t.sin()]), torch.stack([-t.sin(), t.cos()])
            return (x - path) @ a.T + slope

        return f

    spent = {}
    for k in (1.0, 1e3, 1e6):
        nfe = NFE()
        end = solve(system(k), torch.tensor([[1.0, 0.0]]), [0.0, 3.0], solver=TIGHT, nfe=nfe)[-1]
        last = torch.tensor(3.0)
        exact = torch.stack([last.cos(), last.sin()])[None]
        torch.testing.assert_close(end, exact, rtol=0, atol=1e-5)
        spent[k] = nfe.forward
    assert spent[1e6] < 3 * spent[1.0]


@pytest.mark.parametrize(
    ("f", "start", "t", "atol"),
    [
        (robertson, [1.0, 0.0, 0.0], [0.0, 0.4, 40.0, 4000.0], 1e-12),
        (van_der_pol, [2.0, 0.0], [0.0, 100.0, 1500.0], 1e-9),
    ],
)
def test_stiff_problems_against_radau(f, start, t, atol, float64):
    x = torch.tensor(start)
    path = solve(f, x[None], t, solver=Solver("rodas4", rtol=1e-6, atol=atol))
    torch.testing.assert_close(path[:, 0], radau(f, x, t), rtol=2e-4, atol=1e-8)
    assert not path.requires_grad
    with pytest.raises(SolveError, match="too many evaluations"):
        solve(f, x[None], t, solver=Solver(rtol=1e-6, atol=atol))


def test_gradients_go_through_its_linear_systems(float64):
    a = torch.tensor([[-50.0, 20.0], [3.0, -4.0]])
    steady = Solver("rodas4", rtol=1e6, atol=1e6, first_step=0.1, max_step=0.1)

    def end(x, a, time):
        def f(t, x):
            return torch.tanh(x @ a.T) + t.sin() * x.flip(1)

        return solve(f, x, [torch.zeros(()), time], solver=steady, parameters=[a])[-1]

    inputs = (torch.randn(3, 2, requires_grad=True), a.requires_grad_(), torch.tensor(0.5))
    assert torch.autograd.gradcheck(end, inputs, rtol=1e-5, atol=1e-7)
    # Against the exact solution: the state and A, and the end's time by the field there.
    x, time = torch.randn(3, 2, requires_grad=True), torch.tensor(0.5, requires_grad=True)
    found = solve(lambda t, x: x @ a.T, x, [torch.zeros(()), time], solver=TIGHT)[-1]
    exact = x @ torch.linalg.matrix_exp(a * time).T
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad(found.sum(), (x, a, time)), torch.autograd.grad(exact.sum(), (x, a, time)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_every_model_and_paths_events_and_times_of_their_own(float64):
    x = torch.randn(20, 2)
    for model in (NeuralODE(MLP(2, (4,))), NCODE(MLP(2, (4,)), gamma=OpenLoop())):
        found = []
        for method in ("rodas4", "dopri5"):
            model.solver = Solver(method, rtol=1e-8, atol=1e-8)
            end = model(x)
            found.append([end, *torch.autograd.grad(end.square().sum(), list(model.parameters()))])
        torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)

    def decay(t, z):
        return (-z[0],)

    start = torch.tensor([[1.0], [2.0]])
    torch.testing.assert_close(
        solve_path(decay, (start,), [0.0, 2.0], TIGHT)(1.3)[0], start * np.exp(-1.3), rtol=1e-3, atol=0
    )
    stop = solve_until(decay, (start,), [0.0, 5.0], lambda t, z: z[0][:, 0] - 0.5, TIGHT)
    torch.testing.assert_close(stop.t, torch.log(2 * start[:, 0]), rtol=1e-5, atol=0)
    own = solve(lambda t, x: -x, start, torch.tensor([[0.0, 0.0], [1.0, 2.0]]), solver=TIGHT)
    torch.testing.assert_close(own[-1, :, 0], start[:, 0] * torch.exp(-torch.tensor([1.0, 2.0])), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_inference_mode_gives_the_same(kind):
    """Where nothing has a gradient, neither the state nor a control that comes from it, Jacobians have one."""
    model, x = build(kind, TIGHT), torch.randn(3, 2)
    expected = model(x)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(model(x.clone()), expected, rtol=0, atol=0)


def test_forward_mode_and_transforms_are_refused_by_name():
    x, one = torch.ones(2, 1), torch.ones(())
    for what in (
        lambda one: solve(lambda t, x: -x, one * x, [0.0, 1.0], solver=TIGHT).sum(),
        lambda one: solve(lambda t, x: -one * x, x, [0.0, 1.0], solver=TIGHT).sum(),
    ):
        for transform in (
            lambda what: torch.func.grad(what)(one),
            lambda what: torch.func.jvp(what, (one,), (one,)),
            lambda what: torch.func.vmap(what)(torch.ones(3)),
        ):
            with pytest.raises(
                RuntimeError, match=r"method: rodas4 takes its Jacobians by autograd, which torch\.func"
            ):
                transform(what)
        with pytest.raises(RuntimeError, match="method: rodas4"), torch.autograd.forward_ad.dual_level():
            what(torch.autograd.forward_ad.make_dual(one, one))


def test_what_it_does_not_take_is_refused():
    with pytest.raises(ValueError, match=f"at most {LARGEST} real numbers a sample, the state has {LARGEST + 1}"):
        solve(lambda t, x: -x, torch.ones(1, LARGEST + 1), [0.0, 1.0], solver=Solver("rodas4"))
    with pytest.raises(ValueError, match="the state has complex ones"):
        solve(lambda t, x: -x, torch.ones(1, 2, dtype=torch.complex64), [0.0, 1.0], solver=Solver("rodas4"))
    for gradients in ("adjoint", "checkpointed"):
        with pytest.raises(ValueError, match="gradients: rodas4 has direct ones"):
            Solver("rodas4", gradients=gradients)
    with pytest.raises(ValueError, match="backend: torchdiffeq"):
        Solver("rodas4", backend="torchdiffeq")
