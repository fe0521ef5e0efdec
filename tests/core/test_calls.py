"""Calls do what they say: sizes, shapes and models are checked where they are given, and print as they are."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import types

import pytest
import torch
from torch import nn

import ncode
from ncode import (
    MLP,
    NCODE,
    NFE,
    ClosedLoop,
    DataControl,
    DataControlledODE,
    Field,
    NeuralODE,
    OpenLoop,
    Solver,
    path_cost,
    solve,
)
from ncode.costs import jacobian, kinetic
from ncode.fields import per_sample

X = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))


# One name for one thing


def test_solve_is_a_function_and_no_module_has_its_name():
    assert isinstance(ncode.solve, types.FunctionType)
    assert importlib.util.find_spec("ncode.solve") is None


def test_a_bare_tensor_is_a_state_and_the_solver_has_a_default():
    path = solve(lambda t, x: -x, X, [0.0, 0.5, 1.0])
    assert path.shape == (3, 5, 2)
    torch.testing.assert_close(path[-1], X * torch.tensor(-1.0).exp(), rtol=1e-2, atol=1e-3)
    one, two = solve(lambda t, z: (-z[0], z[0]), (X, torch.zeros_like(X)), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(one[-1] + two[-1], X)


@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
def test_solve_takes_a_module_counts_and_gives_its_parameters_gradients(gradients):
    f = MLP(2)
    count = NFE()
    solve(f, X, [0.0, 1.0], solver=Solver(gradients=gradients), nfe=count)[-1].sum().backward()
    assert count.forward > 0 and (count.backward > 0) == (gradients == "adjoint")
    assert all(p.grad is not None for p in f.parameters())


def test_what_is_no_state_is_named(unchecked):
    for wrong in (torch.tensor(1.0), 1.0, (X, 2.0), "x", ()):
        with pytest.raises(ValueError, match="x0: must be a tensor with the batch as its first dimension"):
            solve(lambda t, x: x, wrong, [0.0, 1.0])


def test_a_field_steers_nothing_by_default_and_takes_a_number_as_time():
    field = MLP(2)
    assert torch.equal(field(0.3, X), field(torch.tensor(0.3), X, {}))


# Sizes are checked where the model is built


def test_controllers_of_another_size_are_named_where_the_model_is_built():
    m = MLP(2).size()
    for wrong, message in (
        ({"gamma": OpenLoop(2, m + 1)}, f"gamma: gives {m + 1} control variables, {m} are steered"),
        ({"gamma": OpenLoop(3, m)}, "gamma: reads 3 numbers a sample, x has 2"),
        ({"gamma": DataControl()}, f"gamma: gives 2 control variables, {m} are steered"),
        ({"g": ClosedLoop(2, m - 1)}, f"g: moves {m - 1} control variables, {m} are steered"),
        ({"g": ClosedLoop(4, m)}, "g: reads a state of 4 numbers, x has 2"),
    ):
        field = MLP(2)
        before = [name for name, _ in field.named_parameters()]
        with pytest.raises(ValueError, match=message):
            NCODE(field, **wrong)
        assert [name for name, _ in field.named_parameters()] == before and not field.steered


def test_a_function_is_not_run_before_the_first_solve_and_is_named_where_it_fails():
    calls = []

    def g(t, x, theta):
        calls.append(t)
        return nn.functional.linear(x, torch.ones(3, 7))

    model = NCODE(MLP(2), g=g)
    assert not calls
    with pytest.raises(RuntimeError) as caught:
        model(X)
    assert any(note.startswith("g: raised this") for note in caught.value.__notes__)
    with pytest.raises(RuntimeError) as caught:
        NCODE(MLP(2), gamma=nn.Linear(3, 7))(X)
    assert any(note.startswith("gamma: raised this") for note in caught.value.__notes__)
    with pytest.raises(ValueError, match="g: must give shape"):
        NCODE(MLP(2), g=lambda t, x, theta: x)(X)


@pytest.mark.parametrize("steer", ["*", "*.bias", "layers.0.weight"])
def test_a_controller_without_a_size_is_sized_by_the_model(steer):
    found = []
    for explicit in (True, False):
        torch.manual_seed(0)
        field = MLP(2)
        m = field.size(steer)
        gamma = OpenLoop(2, m, hidden=(3,)) if explicit else OpenLoop(hidden=(3,))
        g = ClosedLoop(2, m, hidden=(3,)) if explicit else ClosedLoop(hidden=(3,))
        found.append(NCODE(field, gamma=gamma, g=g, steer=steer))
    # The same numbers are drawn in the same order.
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in found), strict=True))
    assert torch.equal(found[0](X), found[1](X))


def test_a_sized_controller_has_the_fields_dtype(float64):
    model = NCODE(MLP(2).float(), gamma=OpenLoop(hidden=(3,)), g=ClosedLoop())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_controller_without_a_model_says_that_it_has_no_size():
    with pytest.raises(RuntimeError, match="a controller without a size"):
        OpenLoop(hidden=(3,))(X)


# A model prints as it is


def test_a_model_prints_its_horizon_its_solver_and_what_is_steered_by_whom():
    model = NCODE(
        MLP(2, (3,)), gamma=OpenLoop(), g=ClosedLoop(), steer="*.bias", horizon=2.0, solver=Solver("rk4", steps=7)
    )
    text = repr(model)
    assert "steered=layers.0.bias, layers.1.bias (m = 5) by gamma (OpenLoop) and g (ClosedLoop)" in text
    assert "horizon=2, solver=Solver('rk4', steps=7)" in text
    assert "(0): Linear(in_features=2, out_features=3, bias=True)" in text and "bias=False" not in text
    assert "horizon=1, solver=Solver('dopri5')" in repr(NeuralODE(MLP(2)))


# A steered parameter is read, and by its own sample


class Decay(Field):
    """x' = -k x."""

    def __init__(self, shape, size):
        super().__init__(shape=shape)
        self.k = nn.Parameter(torch.ones(size))

    def forward(self, t, x, theta):
        return -self.value("k", theta) * x


@pytest.mark.parametrize("loop", ["open", "closed"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (3, 3), (3, 3, 3)])
@pytest.mark.parametrize("size", [(), (1,)])
def test_a_steered_scalar_multiplies_its_own_sample(shape, size, loop):
    rates = torch.tensor([[1.0], [2.0], [3.0]])
    g = (lambda t, x, theta: torch.zeros_like(theta)) if loop == "closed" else None
    model = NCODE(Decay(shape, size), gamma=lambda x: rates, g=g, solver=Solver(rtol=1e-6, atol=1e-6))
    expected = torch.exp(-rates).reshape(3, *[1] * len(shape)).expand(3, *shape)
    torch.testing.assert_close(model(torch.ones(3, *shape)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weight", ["shared", "sample"])
def test_a_bias_of_one_channel_is_its_own_samples(weight):
    x, bias = torch.randn(4, 1, 4, 4), torch.randn(4, 1, 1, 1)
    kernels = torch.randn(1, 1, 3, 3) if weight == "shared" else torch.randn(4, 1, 1, 3, 3)
    torch.testing.assert_close(per_sample.conv2d(x, kernels, bias), per_sample.conv2d(x, kernels) + bias)
    rows = torch.randn(4, 5)
    torch.testing.assert_close(
        per_sample.linear(rows, torch.ones(1, 5), bias), per_sample.linear(rows, torch.ones(1, 5)) + bias[:, :, 0, 0]
    )


class AlongTheWrongAxis(Field):
    """x' = -(k, 0, 0) x, with the rates of the batch in the place of the state's: right only in shape, where batch =
    dim."""

    def __init__(self):
        super().__init__(shape=(3,))
        self.k = nn.Parameter(torch.ones(3))

    def forward(self, t, x, theta):
        return -self.value("k", theta)[..., 0] * x


def test_a_control_of_another_sample_is_refused_where_batch_and_dimension_agree():
    model = NCODE(AlongTheWrongAxis(), gamma=OpenLoop())
    with pytest.raises(ValueError, match="one sample's velocity depends on another sample's control"):
        model(torch.randn(3, 3))


def test_a_first_batch_of_one_sample_hides_no_fault():
    model = NCODE(AlongTheWrongAxis(), gamma=OpenLoop())
    assert model(torch.randn(1, 3)).shape == (1, 3)
    for _ in range(2):
        with pytest.raises(ValueError, match="another sample's control"):
            model(torch.randn(3, 3))


class Normalised(Field):
    def __init__(self):
        super().__init__(shape=(2,))
        self.norm, self.scale = nn.BatchNorm1d(2), nn.Parameter(torch.ones(2))

    def forward(self, t, x, theta):
        return self.norm(self.value("scale", theta) * nn.functional.dropout(x, 0.5, self.training))


def test_the_look_at_a_field_leaves_no_trace():
    model = NCODE(Normalised(), gamma=OpenLoop(), steer="scale", solver=Solver("euler", steps=1))
    assert model.train().training
    torch.manual_seed(0)
    model(X)
    assert model.field.norm.num_batches_tracked == 1 == model.nfe.forward and model.field.norm.training
    after = torch.get_rng_state()
    torch.manual_seed(0)
    model(X)
    assert torch.equal(after, torch.get_rng_state())


def test_a_released_parameter_copies_pickles_and_is_no_parameter():
    model = NCODE(MLP(2), gamma=OpenLoop(), steer="*.bias")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(model).double().float()):
        assert torch.equal(twin(X), model(X)) and list(twin.state_dict()) == list(model.state_dict())
        assert not [name for name in twin.state_dict() if name.startswith("field") and name.endswith("bias")]
    with pytest.raises(ValueError, match=r"never reads the steered layers\.0\.bias"):
        model.field.layers[0](X)
    with pytest.raises(ValueError, match=r"layers\.0\.bias"):
        model.field.layers[0].bias + 1


# Layers that compute what they use


@pytest.mark.parametrize("how", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_a_layer_with_hooks_or_parametrisations_is_used_as_it_is_trained(how):
    torch.manual_seed(0)
    field = MLP(2, (4,))
    for layer in field.layers:
        how(layer)
    net = nn.Sequential(field.layers[0], nn.Tanh(), field.layers[1]).eval()
    model = NeuralODE(field.eval())
    with torch.no_grad():
        for p in field.parameters():
            p.mul_(3.0)
    # Gradients and values go through the norm.
    torch.testing.assert_close(field(0.0, X), net(X))
    gradients = [torch.autograd.grad(model(X).sum(), list(field.parameters())) for model in (model, NeuralODE(net))]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_steering_what_a_layer_computes_is_refused_by_name(how):
    field = MLP(2, (4,))
    how(field.layers[0])
    with pytest.raises(ValueError, match=r"field: (never reads the steered|a hook sets) .*layers\.0\."):
        NCODE(field, gamma=OpenLoop())(X)


# States without dimensions


def test_states_of_one_number_work_everywhere(float64):
    x = torch.linspace(0.5, 2, 4)
    models = (
        NeuralODE(Decay((), ())),
        NCODE(Decay((), ()), gamma=OpenLoop(hidden=(3,))),
        NCODE(Decay((), (1,)), gamma=OpenLoop(), g=ClosedLoop()),
    )
    for model in models:
        model.solver = Solver(rtol=1e-9, atol=1e-9)
        assert model(x).shape == (4,) and model.solver_error(x).shape == (4,)
        assert model.trajectory(x, [0.0, 0.5, 1.0]).x.shape == (3, 4)
        for running in (kinetic, jacobian(torch.randn(4))):
            assert path_cost(model, x, running=running).cost.shape == (4,)
    for gradients in ("direct", "adjoint", "checkpointed"):
        models[0].solver = Solver(rtol=1e-9, atol=1e-9, gradients=gradients)
        (found,) = torch.autograd.grad(models[0](x).sum(), models[0].field.k)
        torch.testing.assert_close(found, -(x * torch.tensor(-1.0).exp()).sum(), rtol=1e-6, atol=1e-8)


def test_data_control_on_states_of_one_number():
    class Driven(Field):
        def __init__(self):
            super().__init__(shape=(), slots={"u": ()})

        def forward(self, t, x, theta):
            return theta["u"] - x

    x = torch.linspace(0.5, 2, 4)
    for model in (DataControlledODE(Driven()), NCODE(Driven(), gamma=DataControl(), steer="u")):
        torch.testing.assert_close(model(x), x)
