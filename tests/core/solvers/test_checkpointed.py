"""Checkpointed gradients are those of the steps that were taken, in less memory."""

from __future__ import annotations

import math

import pytest
import torch
from adjoint_cases import relative
from hypothesis import given, settings
from hypothesis import strategies as st
from models import KINDS, Dropped, Switched, build

from ncode import NeuralODE, Solver, path_cost, solve
from ncode.costs import kinetic
from ncode.solvers.dispatch import integrate
from ncode.solvers.record import DENSE, Record, segments
from ncode.solvers.step import Taken
from ncode.solvers.tableaus import TABLEAUS

pytestmark = pytest.mark.usefixtures("float64")


def gradient(model, x, gradients, t=(0.0, 0.2, 0.55, 1.0), **options):
    model.solver = Solver(gradients=gradients, **options)
    x = x.clone().requires_grad_()
    path = model.trajectory(x, list(t))
    loss = (path.x**2).sum() + (0 if path.theta is None else path.theta.sin().sum())
    return torch.autograd.grad(loss, [x, *model.parameters()]), model.nfe


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "adaptive_heun", "rk4", "euler"])
def test_gradients_are_the_direct_ones_to_rounding(kind, method):
    model, x = build(kind, Solver()), torch.randn(4, 2)
    direct, _ = gradient(model, x, "direct", method=method)
    found, nfe = gradient(model, x, "checkpointed", method=method)
    assert relative(found, direct) < 1e-12
    # Every step once more; its last stage, the next one's first, only where a path is read off between.
    assert 0.5 * nfe.forward < nfe.backward <= 1.4 * nfe.forward


@pytest.mark.parametrize("method", TABLEAUS)
def test_every_method(method):
    model, x = build("both", Solver()), torch.randn(3, 2)
    for t in ((0.0, 1.0), (0.0, 0.0, 0.4, 0.4, 1.0), (1.0, 0.3)):
        direct, _ = gradient(model, x, "direct", t, method=method)
        found, _ = gradient(model, x, "checkpointed", t, method=method)
        assert relative(found, direct) < 1e-12


@pytest.mark.parametrize("options", [{"method": "rk4", "steps": 300}, {"rtol": 1e-11, "atol": 1e-11}])
def test_many_steps_keep_few_states_and_have_the_same_gradient(options):
    model, x = build("closed", Solver()), torch.randn(3, 2)
    t = (0.0, 0.013, 2.0, 3.0)
    direct, _ = gradient(model, x, "direct", t, **options)
    found, _ = gradient(model, x, "checkpointed", t, **options)
    assert relative(found, direct) < 1e-11


def test_a_jump_is_taken_again_as_a_jump():
    model, x = NeuralODE(Switched()), torch.ones(2, 1)
    for kind in ("direct", "checkpointed", "adjoint"):
        found, nfe = gradient(model, x, kind, (0.0, 1.0), rtol=1e-8, atol=1e-8, jumps=(0.5,))
        # Σ x(1)² = 2 exp(early + late).
        exact = torch.tensor(2 * math.exp(1.5))
        torch.testing.assert_close(torch.cat(found[1:]), exact.expand(2), rtol=1e-6, atol=0)
        assert nfe.forward < 250


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"kernels": False}, {"method": "rk4"}, {"independent": True}],
    ids=["", "plain", "rk4", "independent"],
)
def test_first_and_second_derivatives_are_the_direct_ones(kind, options):
    """Of a model whose control comes from x(0), as data control's does, and whose x(0) comes from an encoder."""
    found = []
    for gradients in ("direct", "checkpointed"):
        model = build(kind, Solver(gradients=gradients, **options))
        torch.manual_seed(1)
        inputs, encoder = torch.randn(3, 2, requires_grad=True), torch.randn(2, 2, requires_grad=True)
        wanted = [inputs, encoder, *model.parameters()]
        loss = model.trajectory(torch.tanh(inputs @ encoder), [0.0, 0.4, 1.0]).x.square().sum()
        slopes = torch.autograd.grad(loss, wanted, create_graph=True)
        curved = sum((slope**2).sum() for slope in slopes)
        found.append([*slopes, *torch.autograd.grad(curved, wanted)])
    assert relative(*found) < 1e-10


STARTS = {
    "x": lambda x, w, k: x,
    "xW": lambda x, w, k: x @ w,
    "kx": lambda x, w, k: k * x,
    "tanh": lambda x, w, k: torch.tanh(x @ w + k),
}
TERMS = {
    "W": lambda z, h, x, w, k: torch.tanh(z @ w),
    "k": lambda z, h, x, w, k: k * z.sin(),
    "x": lambda z, h, x, w, k: torch.sin(x * z),
    "h": lambda z, h, x, w, k: torch.cos(h) * z,
    "hW": lambda z, h, x, w, k: torch.sigmoid(h @ w + z),
}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from(list(STARTS)),
    st.sets(st.sampled_from(list(TERMS)), min_size=1, max_size=3),
    st.sampled_from(["rk4", "bosh3", "dopri5", "independent"]),
    st.sampled_from(["two", "several", "learned", "own"]),
    st.booleans(),
    st.integers(0, 99),
)
def test_what_the_start_comes_from_gets_its_share_once(start, terms, method, times, declared, seed):
    """The first and second derivatives by x, W and k, which make x(0) = h and which f reads, are the direct ones."""
    generator = torch.Generator().manual_seed(seed)
    x, w, k, end = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((3, 2), (2, 2), (), ())
    )
    options = {"independent": True} if method == "independent" else {"method": method}
    found = []
    for gradients in ("direct", "checkpointed"):
        h = STARTS[start](x, w, k)

        def f(t, z, h=h):
            return (sum(TERMS[one](z[0], h, x, w, k) for one in sorted(terms)) - t * z[0],)

        last = 1 + end**2
        t = {
            "two": [0.0, 1.0],
            "several": [0.0, 0.3, 0.3, 1.0],
            "learned": [0.1 * end, last],
            "own": torch.stack([0 * end.expand(3), last + torch.tensor([0.0, 0.5, 0.1]), 2 + last.expand(3)]),
        }[times]
        solver = Solver(gradients=gradients, **options)
        (path,), _ = integrate(f, (h,), t, solver, [h] if declared else [])
        wanted = [one for one in (x, w, k, end) if one is not end or times in ("learned", "own")]
        first = torch.autograd.grad(
            path.sin().sum(), wanted, create_graph=True, allow_unused=True, materialize_grads=True
        )
        curved = sum((slope**2).sum() for slope in first)
        # Twice the same: with a graph of its own, and without.
        (path,), _ = integrate(f, (h,), t, solver, [h] if declared else [])
        plain = torch.autograd.grad(
            path.sin().sum(), wanted, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        assert relative(first, plain) < 1e-10
        found.append([*first, *torch.autograd.grad(curved, wanted, allow_unused=True, materialize_grads=True)])
    assert relative(found[1], found[0]) < 1e-9


def test_solves_one_after_the_other_are_taken_again_once_each():
    """Behind each lie all those before it, and the weights of all."""
    w, calls = torch.eye(2).requires_grad_(), 0

    def f(t, z):
        nonlocal calls
        calls += 1
        return torch.tanh(z @ w)

    x = torch.full((1, 2), 0.1)
    for _ in range(12):
        x = solve(f, x, [0.0, 0.1], solver=Solver("euler", steps=1, gradients="checkpointed"))[-1]
    calls = 0
    torch.autograd.grad(x.sum(), w, create_graph=True)
    assert calls == 12


def test_running_costs_and_captured_tensors():
    found = []
    for kind in ("direct", "checkpointed"):
        model = build("closed", Solver(gradients=kind))
        torch.manual_seed(1)
        x, weight = torch.randn(3, 2, requires_grad=True), torch.tensor(0.7, requires_grad=True)
        cost = path_cost(model, x, running=lambda p, w=weight: w * kinetic(p)).cost.sum()
        found.append(torch.autograd.grad(cost, [x, weight, *model.parameters()]))
    assert relative(*found) < 1e-12


def test_random_fields_and_swapped_parameters_are_refused():
    model = NeuralODE(Dropped(), solver=Solver("rk4", gradients="checkpointed"))
    x = torch.randn(4, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="random"):
        model(x).sum().backward()
    # A kernel holds the weights that it was bound to.
    model = build("node", Solver(gradients="checkpointed", rtol=1e-6, atol=1e-6, kernels=False))
    other = {name: (p.detach() + 1).requires_grad_() for name, p in model.named_parameters()}
    end = torch.func.functional_call(model, other, (torch.randn(4, 2),))
    with pytest.raises(RuntimeError, match="no longer"):
        end.sum().backward()


def test_a_tensor_reached_only_later_is_refused():
    late = torch.tensor(1.0, requires_grad=True)
    (path,), _ = integrate(
        lambda t, z: ((late if t > 0.5 else 1.0) * z[0],),
        (torch.ones(1, 1, requires_grad=True),),
        [0.0, 1.0],
        Solver("rk4", steps=10, gradients="checkpointed"),
    )
    with pytest.raises(RuntimeError, match="would be lost"):
        path[-1].sum().backward()


@pytest.mark.parametrize("steps", [1, 16, 17, 1000, 10_000])
def test_states_that_are_kept_grow_as_the_root_of_the_steps(steps):
    record = Record()
    for i in range(steps):
        record.look(Taken(float(i), 1.0, i + 1.0, (torch.tensor([i]),), object(), None, None, None))
    assert len(record.states) <= max(DENSE, math.sqrt(2 * DENSE * steps))
    longest = max(b - a for a, b in segments(list(record.states), steps))
    assert longest <= max(1, math.sqrt(2 * steps / DENSE) + 1)
    assert sum(b - a for a, b in segments(list(record.states), steps)) == steps


def test_kept_bytes_grow_slower_than_the_steps():
    def kept(n, gradients):
        # A kernel keeps its own buffers, where no hook sees them.
        model = build("node", Solver("rk4", steps=n, gradients=gradients, kernels=False), hidden=64)
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.randn(32, 2))
        return sum(sizes)

    assert kept(400, "direct") > 15 * kept(20, "direct")
    assert kept(400, "checkpointed") < 6 * kept(20, "checkpointed") < kept(20, "direct")
