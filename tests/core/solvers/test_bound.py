"""Kernels against autograd: the same field, the same steps, the same numbers, whatever is steered and asked for."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest
import torch
from torch import nn

from ncode import (
    MLP,
    NCODE,
    AugmentedNeuralODE,
    ClosedLoop,
    DataControlledODE,
    NeuralODE,
    OpenLoop,
    SolveError,
    Solver,
    TimedMLP,
    path_cost,
)
from ncode.fields.elementary import Linear
from ncode.fields.kernels import tanh_
from ncode.fields.kernels.activations import ACTIVATIONS
from ncode.solvers import bound

SOLVER = Solver(rtol=1e-4, atol=1e-4)
STEER = ["*", "*weight", "layers.0.weight", "layers.*.bias", "layers.1.*"]


def states(batch: int = 40, dim: int = 2) -> torch.Tensor:
    return torch.randn(batch, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def open_loop(field, steer="*", solver=SOLVER):
    gamma = OpenLoop(2, field.size(steer), hidden=(8,), spread=1.0)
    return NCODE(field, gamma=gamma, steer=steer, solver=solver)


def closed_loop(field, steer="*", solver=SOLVER):
    m = field.size(steer)
    gamma, g = OpenLoop(2, m, hidden=(8,), spread=1.0), ClosedLoop(2, m, hidden=(16,), spread=1.0)
    return NCODE(field, gamma=gamma, g=g, steer=steer, solver=solver)


def measured(model, x, times=None, kernels=True):
    """The path, all gradients of some loss, and the evaluations."""
    model.solver = replace(model.solver, kernels=kernels)
    model.zero_grad()
    x = x.clone().requires_grad_()
    y = model(x) if times is None else model.trajectory(x, times).x
    (y * torch.linspace(0, 9, y.numel(), dtype=y.dtype).cos().reshape(y.shape)).sum().backward()
    gradients = [x.grad.clone(), *(p.grad.clone() for p in model.parameters())]
    return y.detach(), gradients, model.nfe.forward


@pytest.fixture
def used(monkeypatch):
    """Which solves went through a kernel."""
    calls = []
    integrate = bound.integrate
    monkeypatch.setattr(bound, "integrate", lambda *args: calls.append(1) or integrate(*args))
    return calls


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def must_agree(model, x, used, times=None, tolerance=1e-9):
    """To rounding, which an error estimate magnifies by cancellation, and which moves the next step's end."""
    model = model.to(x.dtype)
    path, gradients, nfe = measured(model, x, times)
    assert len(used) == 1
    expected, expected_gradients, expected_nfe = measured(model, x, times, kernels=False)
    assert len(used) == 1 and nfe == expected_nfe
    torch.testing.assert_close(path, expected, rtol=tolerance, atol=tolerance)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance * float(1 + wanted.abs().max()))


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
@pytest.mark.parametrize("make", [lambda f: NeuralODE(f, solver=SOLVER), open_loop, closed_loop])
def test_every_activation(make, activation, used):
    must_agree(make(MLP(2, (16,), activation=activation)), states(), used)


@pytest.mark.parametrize("times", [None, [0.0, 0.2, 0.5, 0.5001, 1.3], [1.0, 0.5, -0.3], [0.0, 0.0, 1.0, 1.0]])
@pytest.mark.parametrize("steer", STEER)
@pytest.mark.parametrize("make", [open_loop, closed_loop])
def test_whatever_is_steered(make, steer, times, used):
    must_agree(make(MLP(2, (8,)), steer), states(), used, times)


@pytest.mark.parametrize("hidden", [(), (3,), (16, 16), (40, 12)])
@pytest.mark.parametrize("batch", [1, 3, 33])
def test_every_layout(hidden, batch, used):
    """Small matrices of a sample's own entry by entry, large ones and few samples by batched products."""
    must_agree(open_loop(MLP(2, hidden)), states(batch), used)


@pytest.mark.parametrize(
    "model",
    [
        lambda: NeuralODE(TimedMLP(2, (16,)), solver=SOLVER),
        lambda: open_loop(TimedMLP(2, (16,))),
        lambda: closed_loop(TimedMLP(2, (16,)), "*weight"),
        lambda: DataControlledODE(MLP(2, (16,), inputs=2), solver=SOLVER),
        lambda: open_loop(MLP(2, (16,), inputs=3)),
        lambda: open_loop(MLP(2, (16,), inputs=3), "u"),
        lambda: open_loop(MLP(2, (40,), inputs=3), ["u", "*.0.weight"]),
        lambda: AugmentedNeuralODE(MLP(4, (16,)), augment=2, solver=SOLVER),
        lambda: open_loop(Linear(2)),
        lambda: closed_loop(Linear(2)),
    ],
)
def test_every_model(model, used):
    must_agree(model(), states(), used)


@pytest.mark.parametrize("norm", ["worst", "mean"])
@pytest.mark.parametrize("method", ["euler", "midpoint", "heun", "rk4", "bosh3", "dopri5", "tsit5", "dopri8"])
def test_every_method_and_norm(method, norm, used):
    must_agree(open_loop(MLP(2, (16,)), solver=Solver(method, norm=norm)), states(), used)


@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5", "dopri8"])
def test_paths_of_every_adaptive_method(method, used):
    must_agree(NeuralODE(MLP(2, (16,)), solver=Solver(method)), states(), used, [0.0, 0.3, 0.6, 1.0])


def test_single_precision(used):
    torch.manual_seed(0)
    must_agree(NeuralODE(MLP(2, (16,)), solver=SOLVER), states().float(), used, tolerance=1e-5)


def test_gradcheck():
    """In fixed steps, since the lengths of adaptive ones follow the worst sample, and count as constants."""
    model = open_loop(MLP(2, (8,)), solver=Solver("rk4", steps=3)).double()
    x = states(20).requires_grad_()
    assert torch.autograd.gradcheck(model, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(model, (x,), fast_mode=True)


def test_second_derivatives_of_adaptive_steps(used):
    model = open_loop(MLP(2, (8,))).double()
    second = []
    for kernels in (True, False):
        model.solver = replace(SOLVER, kernels=kernels)
        x = states(20).requires_grad_()
        (first,) = torch.autograd.grad(model.trajectory(x, [0.0, 0.3, 1.0]).x.square().sum(), x, create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), [x, *model.parameters()]))
    assert len(used) == 1
    for found, wanted in zip(*second, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9 * float(1 + wanted.abs().max()))


def test_a_second_backward_gives_the_same():
    model = open_loop(MLP(2, (8,))).double()
    x = states(20).requires_grad_()
    y = model(x)
    (first,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    (second,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), x)


def test_the_path_may_be_changed_in_place():
    model = open_loop(MLP(2, (8,))).double()
    gradients = []
    for change in (False, True):
        x = states(20).requires_grad_()
        y = model(x)
        y = y.mul_(2) if change else 2 * y
        gradients.append(torch.autograd.grad(y.sum(), x)[0])
    assert torch.equal(*gradients)


def test_weights_changed_before_the_backward_pass_are_an_error():
    model = NeuralODE(MLP(2, (8,)), solver=SOLVER).double()
    loss = model(states()).sum()
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        loss.backward()


def test_training_leaves_no_cycles():
    model = open_loop(MLP(2, (8,))).double()
    x = states()
    model(x).sum().backward()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            model(x).sum().backward()
            model.trajectory(x, [0.0, 0.5, 1.0]).x.sum()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_memory_is_free_once_the_gradient_is_taken():
    """As with a graph: a loss that is kept for a report keeps no path."""
    model = open_loop(MLP(2, (8,))).double()
    loss = model(states()).sum()
    solve = loss.grad_fn
    while not hasattr(solve, "solve"):
        solve = solve.next_functions[0][0]
    assert solve.solve.taken
    loss.backward()
    assert not solve.solve.taken


@pytest.mark.parametrize("method, steps", [("dopri5", None), ("rk4", 300), ("tsit5", None)])
@pytest.mark.parametrize("make", [open_loop, closed_loop])
def test_checkpointed_gradients_are_the_direct_ones(make, method, steps, used):
    model = make(MLP(2, (24, 12) if make is open_loop else (8,))).double()
    found = []
    for gradients in ("direct", "checkpointed"):
        model.solver = Solver(method, steps=steps, rtol=1e-9, atol=1e-9, gradients=gradients)
        times = None if steps else [0.0, 0.3, 0.61, 1.0]
        found.append(measured(model, states(), times))
    assert len(used) == 2
    assert torch.equal(found[0][0], found[1][0])
    for direct, checkpointed in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(checkpointed, direct, rtol=1e-12, atol=1e-12 * float(1 + direct.abs().max()))
    assert model.nfe.backward > 0


def test_checkpoints_grow_as_the_steps_square_root():
    kept = []
    for steps in (100, 10_000):
        solver = Solver("euler", steps=steps, gradients="checkpointed", max_nfe=20_000)
        loss = NeuralODE(MLP(2, (4,)), solver=solver)(states().float()).sum()
        node = loss.grad_fn
        while not hasattr(node, "solve"):
            node = node.next_functions[0][0]
        assert not node.solve.taken
        kept.append(len(node.solve.record.states))
    assert kept[0] <= (32 * 100) ** 0.5 and kept[1] <= (32 * 10_000) ** 0.5


class Other(MLP):
    def forward(self, t, x, theta):
        return super().forward(t, x, theta) + 1


def _hooked():
    field = MLP(2, (8,))
    field.register_forward_hook(lambda module, inputs, output: output + 1)
    return field


def _activation():
    field = MLP(2, (8,))
    field.activation = nn.Sigmoid()
    return field


class Decaying(nn.Linear):
    """A linear layer that subtracts a share of what it is given."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.rate = nn.Parameter(torch.full((outputs, 1), 0.7))

    def forward(self, x):
        return super().forward(x) - (x @ self.rate.expand(-1, x.shape[1]).T)


class Halved(MLP):
    """Uses half of every steered parameter's value."""

    def value(self, name, theta):
        return super().value(name, theta) / 2


class Scaled(MLP):
    """Reads a control in other units."""

    def unpack(self, theta):
        return super().unpack(theta / 2)


class Shifted(MLP):
    def __call__(self, t, x, theta=None):
        return super().__call__(t, x, theta or {}) + 1


def _on_itself():
    field = MLP(2, (8,))
    whole = field.forward
    field.forward = lambda t, x, theta: whole(t, x, theta) + 1
    return field


def _replaced(layer):
    field = MLP(2, (8,))
    field.layers[0] = layer
    return field


def _layer_hook(pre=False):
    field = MLP(2, (8,))
    if pre:
        field.layers[1].register_forward_pre_hook(lambda layer, inputs: (2 * inputs[0],))
    else:
        field.layers[0].register_forward_hook(lambda layer, inputs, output: output + 1)
    return field


@pytest.mark.parametrize(
    "field",
    [
        lambda: Other(2, (8,)),
        lambda: Shifted(2, (8,)),
        _on_itself,
        _hooked,
        _activation,
        _layer_hook,
        lambda: _layer_hook(pre=True),
        lambda: _replaced(Decaying(2, 8)),
        lambda: _replaced(nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8))),
        lambda: _replaced(nn.utils.spectral_norm(nn.Linear(2, 8)).eval()),
    ],
)
def test_a_field_that_does_more_goes_through_autograd(field, used):
    model = NeuralODE(field(), solver=SOLVER).double()
    goes_through_autograd(model, used)


def goes_through_autograd(model, used) -> None:
    """Check that no kernel is used, and that path and gradients are those without one."""
    path, gradients, _ = measured(model, states())
    assert not used
    expected, expected_gradients, _ = measured(model, states(), kernels=False)
    assert torch.equal(path, expected)
    assert all(map(torch.equal, gradients, expected_gradients))


@pytest.mark.parametrize("make", [open_loop, closed_loop])
@pytest.mark.parametrize("field", [Halved, Scaled])
def test_a_field_that_reads_its_control_otherwise_goes_through_autograd(field, make, used):
    model = make(field(2, (8,))).double()
    goes_through_autograd(model, used)


def test_a_replaced_layer_is_what_flows_and_learns(float64):
    """x' = -x k, whose solution and gradients are known."""
    field = MLP(1, ())
    field.layers[0] = Decaying(1, 1)
    nn.init.zeros_(field.layers[0].weight), nn.init.zeros_(field.layers[0].bias)
    x = torch.linspace(-1, 2, 5).unsqueeze(1)
    end = NeuralODE(field, solver=Solver(rtol=1e-10, atol=1e-10))(x)
    exact = x * torch.tensor(-0.7).exp()
    torch.testing.assert_close(end, exact)
    (found,) = torch.autograd.grad(end.sum(), field.layers[0].rate)
    torch.testing.assert_close(found, -exact.sum().reshape(1, 1))


def test_a_parametrised_layer_keeps_the_kernel(used):
    fields = MLP(2, (8,)), MLP(2, (8,)), MLP(2, (8,))
    for field in fields:
        nn.utils.parametrizations.weight_norm(field.layers[0])
    must_agree(NeuralODE(fields[0], solver=SOLVER), states(), used)
    used.clear()
    must_agree(open_loop(fields[1], "layers.1.*"), states(), used)
    used.clear()
    model = closed_loop(fields[2], "layers.1.*")
    nn.utils.parametrizations.weight_norm(model.g.layers[0])
    must_agree(model, states(), used)


@pytest.mark.parametrize("steer", ["layers.0.weight", "layers.0.bias"])
def test_a_steered_layer_that_does_more_is_refused(steer):
    """It would not be called, and what it does besides would be lost."""
    for field in (_layer_hook(), _replaced(Decaying(2, 8))):
        model = open_loop(field, steer)
        with pytest.raises(ValueError, match=r"field: layers\.0 is steered, and what .* computes besides"):
            model(states().float())


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_field_of_another_size_is_named(outputs, unchecked):
    field = MLP(2, (8,))
    field.layers[1] = nn.Linear(8, outputs)
    with pytest.raises(ValueError, match=rf"field: must give shape \(40, 2\), not \(40, {outputs}\)"):
        NeuralODE(field)(states().float())
    model = closed_loop(MLP(2, (8,)))
    model.g.layers[1] = nn.Linear(16, outputs)
    with pytest.raises(ValueError, match=rf"g: must give shape .*not \(40, {outputs}\)"):
        model(states().float())


def _replaced_in_g(g):
    layer = Decaying(*g.layers[0].weight.shape[::-1])
    g.layers[0] = layer.double()


@pytest.mark.parametrize("change", [_replaced_in_g, lambda g: g.register_forward_hook(lambda g, given, out: 2 * out)])
def test_a_g_that_does_more_goes_through_autograd(change, used):
    model = closed_loop(MLP(2, (8,))).double()
    change(model.g)
    goes_through_autograd(model, used)


def test_hooks_on_g_are_called(used):
    model = closed_loop(MLP(2, (8,))).double()
    seen = []
    model.g.layers[0].register_forward_hook(lambda *_: seen.append(1))
    model(states())
    assert seen and not used


def test_hooks_on_all_modules_are_called(used):
    model = NeuralODE(MLP(2, (8,)), solver=SOLVER).double()
    seen = []
    hook = nn.modules.module.register_module_full_backward_pre_hook(lambda module, gradient: seen.append(module))
    try:
        model(states().requires_grad_()).sum().backward()
    finally:
        hook.remove()
    assert not used and any(isinstance(module, nn.Linear) for module in seen)


def test_transforms_see_every_operation(used):
    model = NeuralODE(MLP(2, (8,)), solver=SOLVER).double()
    x = states()
    gradient = torch.func.grad(lambda x: model(x).sum())(x)
    assert not used
    torch.testing.assert_close(gradient, measured(model, x)[1][0] * 0 + gradient)
    _, tangent = torch.func.jvp(model, (x,), (torch.ones_like(x),))
    assert not used[1:] and torch.isfinite(tangent).all()


def test_what_a_kernel_does_not_know_goes_another_way(used):
    model = open_loop(MLP(2, (8,))).double()
    path_cost(model, states(), running=lambda point: point.velocity.square().sum(1))
    for other in ({"gradients": "adjoint"}, {"backend": "torchdiffeq"}, {"jumps": (0.5,)}, {"rtol": (1e-3,)}):
        model.solver = Solver(**other)
        model(states()).sum().backward()
    assert not used


def test_tanh_is_as_exact_as_rounding_allows():
    x = torch.cat([torch.linspace(-200, 200, 100_001), torch.logspace(-30, 1, 10_001), torch.tensor([0.0, torch.inf])])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        exact = torch.tanh(x.to(dtype).double())
        for function in (lambda h: tanh_(h.clone()), ACTIVATIONS[torch.tanh].value):
            found = function(x.to(dtype)).double()
            # Halves have numbers so small that they keep fewer digits.
            least = torch.finfo(dtype).smallest_normal if dtype.itemsize == 2 else 0.0
            assert ((found - exact).abs() <= 4 * torch.finfo(dtype).eps * exact.abs() + least).all()
    assert tanh_(torch.tensor([torch.nan])).isnan().all()


@pytest.mark.parametrize("make", [lambda f: NeuralODE(f, solver=Solver("rk4", steps=4)), open_loop])
def test_half_precision_where_the_activation_saturates(make, used):
    """Its exponential, which overflowed from h = 5.6 on, is cut where tanh has long been 1."""
    field = MLP(2, (8,))
    with torch.no_grad():
        field.layers[0].weight.mul_(20)
    model = make(field).half()
    model.solver = Solver("rk4", steps=4)
    ends = []
    for kernels in (True, False):
        model.solver = replace(model.solver, kernels=kernels)
        ends.append(model(states().half()))
    assert len(used) == 1
    torch.testing.assert_close(*ends, rtol=2e-2, atol=2e-2)


def test_a_failure_names_the_sample():
    model = NeuralODE(MLP(2, (8,)), solver=Solver(max_nfe=9)).double()
    with pytest.raises(SolveError, match="too many evaluations"):
        model(states())
    field = MLP(2, (), activation="tanh")
    nn.init.constant_(field.layers[0].weight, 500.0)
    fixed = NeuralODE(field, horizon=100.0, solver=Solver("euler", steps=200))
    x = torch.zeros(3, 2)
    nn.init.zeros_(field.layers[0].bias)
    x[1] = 1e30
    with pytest.raises(SolveError, match="non-finite") as caught:
        fixed(x)
    assert caught.value.sample == 1


@pytest.mark.slow
@pytest.mark.skipif(" " in torch.__file__, reason="torch.compile does not link where torch's own path has a space")
@pytest.mark.parametrize(
    "make",
    [
        lambda: open_loop(MLP(2, (8,))),
        lambda: open_loop(MLP(2, (40, 12), activation="softplus"), "layers.1.*"),
        lambda: NeuralODE(TimedMLP(2, (8,), activation="relu"), solver=SOLVER),
        lambda: closed_loop(MLP(2, (8,)), "*weight"),
    ],
)
def test_compiled_steps(make, used):
    torch.manual_seed(0)
    model = make().double()
    for times in (None, [0.0, 0.3, 1.0]):
        model.solver = replace(SOLVER, compiled=True)
        path, gradients, nfe = measured(model, states(), times)
        model.solver = SOLVER
        expected, expected_gradients, expected_nfe = measured(model, states(), times)
        assert nfe == expected_nfe
        torch.testing.assert_close(path, expected, rtol=1e-10, atol=1e-10)
        for found, wanted in zip(gradients, expected_gradients, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10 * float(1 + wanted.abs().max()))


def test_without_a_compiler_the_option_says_so(monkeypatch):
    monkeypatch.setattr(torch._inductor, "compile", lambda *_: (_ for _ in ()).throw(OSError("no compiler")))
    model = NeuralODE(MLP(3, (5,)), solver=replace(SOLVER, compiled=True)).double()
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler.*compiled=False"):
        model(states(17, 3))


@pytest.mark.parametrize("make", [lambda f: NeuralODE(f, solver=SOLVER), open_loop, closed_loop])
@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_what_is_compiled_is_the_kernel(make, activation):
    """The expressions that are compiled, against autograd of the field's."""
    model = make(MLP(2, (8, 8) if make is open_loop else (8,), activation=activation)).double()
    problem = model.problem(states())
    kernel, z = problem.kernel, problem.kernel.pack(problem.state).detach().requires_grad_()
    w, t = [part.detach().requires_grad_() for part in kernel.weights], torch.tensor(0.3, dtype=torch.float64)
    y = kernel.velocity(t, z, w)
    torch.testing.assert_close(kernel.velocity(t, z, w, compiled=True), y)
    expected = torch.autograd.grad(y, [z, *w], y.detach())
    to_z, pieces = kernel.products(t, z, w, y.detach())
    for found, wanted in zip([to_z, *kernel.gathered(pieces, w)], expected, strict=True):
        torch.testing.assert_close(found, wanted)
