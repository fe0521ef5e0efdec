"""A solve under torch.func, torch.export and double precision's derivatives; what cannot be is refused by name."""

from __future__ import annotations

import pytest
import torch
from models import KINDS, build
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from ncode import SolveError, Solver
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


@pytest.mark.parametrize("gradients", ["checkpointed", "adjoint"])
def test_autograds_own_gradients_refuse_transforms(gradients):
    model = build("node", Solver(gradients=gradients))
    with pytest.raises(RuntimeError, match=r"gradients: torch\.func's transforms need gradients='direct'"):
        jacrev(model)(torch.randn(2, 2))


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
