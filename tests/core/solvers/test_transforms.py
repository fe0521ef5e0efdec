"""A solve under torch.func, torch.export and double precision's derivatives; what cannot be is refused by name."""

from __future__ import annotations

import pytest
import torch
from models import KINDS, build
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from ncode import SolveError, Solver, solve
from ncode.solvers.dispatch import integrate

pytestmark = pytest.mark.usefixtures("float64")

SOLVERS = {"fixed": Solver("rk4", steps=4), "adaptive": Solver(rtol=1e-6, atol=1e-6), "tsit5": Solver("tsit5")}


@pytest.fixture(params=SOLVERS)
def solver(request):
    return SOLVERS[request.param]


@pytest.fixture(params=KINDS)
def model(request, solver):
    return build(request.param, solver)


def test_forward_and_reverse_derivatives_agree(model):
    x, v = torch.randn(3, 2), torch.randn(3, 2)
    reverse, forward = jacrev(model)(x), jacfwd(model)(x)
    # An adaptive solve takes the same steps under either.
    torch.testing.assert_close(forward, reverse, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(jvp(model, (x,), (v,))[1], torch.einsum("ijkl,kl->ij", reverse, v))
    x.requires_grad_()
    (expected,) = torch.autograd.grad(model(x).square().sum(), x)
    torch.testing.assert_close(grad(lambda y: model(y).square().sum())(x.detach()), expected, rtol=1e-9, atol=1e-10)


def test_second_derivatives(model):
    x = torch.randn(2, 2)
    expected = torch.autograd.functional.hessian(lambda y: model(y).square().sum(), x)
    torch.testing.assert_close(hessian(lambda y: model(y).square().sum())(x), expected, rtol=1e-8, atol=1e-9)


def test_solves_are_mapped_over_and_take_the_worst_ones_steps(model):
    x = torch.randn(4, 3, 2)
    found = vmap(model)(x)
    expected = torch.stack([model(part) for part in x])
    close = {} if not model.solver.adaptive else {"rtol": 50 * model.solver.rtol, "atol": 50 * model.solver.atol}
    torch.testing.assert_close(found, expected, **close)
    # One sequence of steps: that of the whole as one batch.
    torch.testing.assert_close(found.flatten(0, 1), model(x.flatten(0, 1)), rtol=1e-9, atol=1e-9)


def test_gradients_of_every_sample_and_of_an_ensemble(solver):
    model, x = build("node", solver), torch.randn(5, 2)
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss(p, one):
        return functional_call(model, p, (one.unsqueeze(0),)).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    whole = grad(lambda p: functional_call(model, p, (x,)).square().sum())(parameters)
    for name, value in whole.items():
        torch.testing.assert_close(each[name].sum(0), value, rtol=1e-6, atol=1e-6)
    others = {name: value + 0.1 for name, value in parameters.items()}
    both = {name: torch.stack([parameters[name], others[name]]) for name in parameters}
    found = vmap(lambda p: functional_call(model, p, (x,)))(both)
    close = {} if not solver.adaptive else {"rtol": 50 * solver.rtol, "atol": 50 * solver.atol}
    for one, p in zip(found, (parameters, others), strict=True):
        torch.testing.assert_close(one, functional_call(model, p, (x,)), **close)


def test_a_mapped_solve_that_fails_says_so():
    def end(x):
        (path,), _ = integrate(lambda t, z: (z[0] ** 2,), (x,), [0.0, 1.0], Solver())
        return path[-1]

    with pytest.raises(SolveError):
        vmap(end)(torch.tensor([[[0.1]], [[3.0]]]))


SHAPES = {
    "vector": lambda a, b: torch.stack([a, b]),
    "list": lambda a, b: [a, b],
    "end": lambda a, b: [0.3, b],
    "own": lambda a, b: torch.stack([a.expand(3), b.expand(3)]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"independent": True}, {"method": "rk4", "steps": 60}])
def test_forward_mode_and_transforms_reach_the_times(shape, options):
    """x' = t x from s: x(t) = x(s) exp((t² - s²)/2), whose derivatives every mode has, nested or not."""
    x, solver = torch.tensor([[1.0], [2.0], [-0.5]]), Solver(**({"rtol": 1e-9, "atol": 1e-9} | options))

    def end(a, b):
        return solve(lambda t, x: t * x, x, SHAPES[shape](a, b), solver=solver)[-1].sin().sum()

    def exact(a, b):
        return (x * torch.exp((b**2 - (a if shape != "end" else 0 * a + 0.3) ** 2) / 2)).sin().sum()

    times, directions = (torch.tensor(0.3), torch.tensor(1.2)), (torch.tensor(0.7), torch.tensor(-1.1))
    slopes = grad(exact, (0, 1))(*times)
    rise = jvp(exact, times, directions)[1]
    close = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(grad(end, (0, 1))(*times), slopes, **close)
    torch.testing.assert_close(jacfwd(end, (0, 1))(*times), slopes, **close)
    torch.testing.assert_close(jvp(end, times, directions)[1], rise, **close)
    with forward_ad.dual_level():
        found = end(*(forward_ad.make_dual(*pair) for pair in zip(times, directions, strict=True)))
        torch.testing.assert_close(forward_ad.unpack_dual(found).tangent, rise, **close)
    expected = torch.stack([torch.stack(row) for row in hessian(exact, (0, 1))(*times)])
    for second in (hessian, lambda f, by: jacfwd(jacfwd(f, by), by), lambda f, by: jacrev(jacrev(f, by), by)):
        found = torch.stack([torch.stack(row) for row in second(end, (0, 1))(*times)])
        torch.testing.assert_close(found, expected, **close)


@pytest.mark.parametrize(
    ("gradients", "independent"), [("checkpointed", False), ("checkpointed", True), ("adjoint", False)]
)
def test_autograds_own_gradients_refuse_transforms_and_forward_mode(gradients, independent):
    """Of the state, of what f captures, and of times, whose tangents nothing else would miss."""
    solver = Solver(gradients=gradients, independent=independent, kernels=False)
    one, x = torch.ones(()), torch.randn(2, 2)
    says = r"gradients: torch\.func's transforms and forward mode need gradients='direct'"
    with pytest.raises(RuntimeError, match=says):
        jacrev(build("node", solver))(x)
    for what in (
        lambda one: solve(lambda t, x: x, one * x, [0.0, 1.0], solver=solver),
        lambda one: solve(lambda t, x: one * x, x, [0.0, 1.0], solver=solver),
        lambda one: solve(lambda t, x: x, x, [0.0, one], solver=solver),
        lambda one: solve(lambda t, x: x, x, torch.stack([0 * one.expand(2), one.expand(2)]), solver=solver),
    ):
        with pytest.raises(RuntimeError, match=says):
            jvp(what, (one,), (one,))
        with pytest.raises(RuntimeError, match=says), forward_ad.dual_level():
            what(forward_ad.make_dual(one, one))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["rk4", "euler", "heun3"])
def test_fixed_steps_are_exported_for_any_batch(kind, method):
    model = build(kind, Solver(method, steps=3)).eval()
    x = torch.randn(3, 2)
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    for batch in (3, 7):
        y = torch.randn(batch, 2)
        torch.testing.assert_close(exported(y), model(y))


def test_adaptive_steps_are_not_exported_and_it_is_said():
    model = build("node", Solver()).eval()
    with pytest.raises(ValueError, match="solver: only fixed steps"):
        torch.export.export(model, (torch.randn(3, 2),))
