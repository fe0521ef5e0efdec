"""Any module as a field: the same outputs and gradients as a hand-written field's, whatever is steered."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncode import MLP, NCODE, AugmentedNeuralODE, ClosedLoop, Field, NeuralODE, OpenLoop, Solver, Wrapped, path_cost
from ncode.costs import kinetic
from ncode.fields.conv import ConvBlock

EXACT = {"rtol": 1e-9, "atol": 1e-10}
SOLVERS = {
    "direct": Solver(rtol=1e-5, atol=1e-5),
    "adjoint": Solver("dopri8", rtol=1e-11, atol=1e-11, gradients="adjoint"),
    "checkpointed": Solver("rk4", steps=7, gradients="checkpointed"),
}


def pair(steer=("0.*", "layers.0.*"), dim=2):
    """The same perceptron as a sequence of modules and as a field, and the names to steer in each."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(dim, 8), nn.Tanh(), nn.Linear(8, dim))
    field = MLP(dim, (8,))
    for mine, theirs in ((net[0], field.layers[0]), (net[2], field.layers[1])):
        mine.load_state_dict(theirs.state_dict())
    return zip((net, field), steer, strict=True)


def outcome(model, x):
    """x(T), its cost, and every gradient by the name's last parts."""
    x = x.clone().requires_grad_()
    out = path_cost(model, x, running=kinetic)
    found = torch.autograd.grad(out.cost.sum() + out.x[-1].sin().sum(), [x, *model.parameters()])
    return out.x[-1], out.cost, *found


@pytest.mark.parametrize("gradients", SOLVERS)
@pytest.mark.parametrize(
    "steer", [("*", "*"), ("0.*", "layers.0.*"), ("*.bias", "*.bias"), ("2.weight", "layers.1.weight")]
)
@pytest.mark.parametrize("loop", ["open", "closed", "both"])
def test_a_wrapped_module_is_the_hand_written_field(float64, loop, steer, gradients):
    found = []
    for module, names in pair(steer):
        torch.manual_seed(1)
        gamma = OpenLoop(hidden=(3,), spread=1.0) if loop != "closed" else None
        g = ClosedLoop(hidden=(3,), spread=0.5) if loop != "open" else None
        shape = None if isinstance(module, Field) else (2,)
        model = NCODE(module, gamma=gamma, g=g, steer=names, shape=shape, solver=SOLVERS[gradients])
        torch.manual_seed(2)
        found.append(outcome(model, torch.randn(5, 2)))
    # Bound, the field takes its steps by itself: the same ones, in other sums.
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("gradients", SOLVERS)
def test_an_uncontrolled_module_is_the_hand_written_field(float64, gradients):
    found = []
    for module, _ in pair():
        torch.manual_seed(2)
        found.append(outcome(NeuralODE(module, solver=SOLVERS[gradients]), torch.randn(5, 2)))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-8)


def test_a_convolutional_module_is_the_hand_written_block(float64):
    torch.manual_seed(0)
    block = ConvBlock(2, 5, filters=3)
    layers = [nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 1)]
    for layer, name in zip(layers[::2], ("reduce", "mix", "expand"), strict=True):
        layer.load_state_dict(getattr(block, name).state_dict())
    found = []
    for field, shape in ((block, None), (nn.Sequential(*layers), (2, 5, 5))):
        torch.manual_seed(1)
        model = NCODE(field, gamma=OpenLoop(hidden=(3,)), steer="*.weight", shape=shape, solver=Solver("rk4", steps=3))
        torch.manual_seed(2)
        found.append(outcome(model, torch.randn(4, 2, 5, 5)))
    torch.testing.assert_close(*found, **EXACT)


class Timed(nn.Module):
    """x' = a t, of (t, x)."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(3.0))

    def forward(self, t, x):
        return self.a * t * torch.ones_like(x)


def test_a_module_of_time_and_state_sees_the_time():
    x = torch.zeros(4, 3)
    torch.testing.assert_close(NeuralODE(Timed(), horizon=2.0)(x), torch.full((4, 3), 6.0))
    rates = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    steered = NCODE(Timed(), gamma=lambda x: rates, horizon=2.0)
    torch.testing.assert_close(steered(x), (2 * rates).expand(4, 3), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "wrap",
    [
        lambda module: torch.compile(module, backend="eager"),
        lambda module: torch.compile(nn.DataParallel(module), backend="eager"),
        lambda module: torch.optim.swa_utils.AveragedModel(module),
        torch.jit.script,
        lambda module: torch.jit.trace(module, (torch.tensor(0.5), torch.ones(4, 3))),
    ],
)
def test_a_module_that_is_wrapped_sees_the_time_as_it_does_bare(wrap, unchecked):
    """x' = 3 t, so x(2) = 6."""
    torch.testing.assert_close(NeuralODE(wrap(Timed()), horizon=2.0)(torch.zeros(4, 3)), torch.full((4, 3), 6.0))
    autonomous = wrap(nn.Linear(3, 3)) if wrap is torch.jit.script else torch.compile(nn.Linear(3, 3), backend="eager")
    assert not Wrapped(autonomous).timed


@pytest.mark.parametrize("wrap", [lambda f: torch.compile(f, backend="eager"), torch.optim.swa_utils.AveragedModel])
def test_a_field_that_is_wrapped_is_the_same_field(wrap, unchecked):
    torch.manual_seed(0)
    field, x = MLP(2), torch.randn(4, 2)
    torch.testing.assert_close(NeuralODE(wrap(field))(x), NeuralODE(field)(x))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (3, 3)])
@pytest.mark.parametrize("size", [(), (1,), (1, 1)])
def test_a_scalar_of_a_module_is_every_samples_own(shape, size):
    """x' = -k x with batch = dim = 3, where a fault along the wrong axis would not show in any shape."""

    class Decay(nn.Module):
        def __init__(self):
            super().__init__()
            self.k = nn.Parameter(torch.ones(size if len(size) <= len(shape) else ()))

        def forward(self, x):
            return -self.k * x

    rates = torch.tensor([[1.0], [2.0], [3.0]])
    end = NCODE(Decay(), gamma=lambda x: rates, solver=Solver(rtol=1e-6, atol=1e-6))(torch.ones(3, *shape))
    expected = torch.exp(-rates).reshape(3, *[1] * len(shape)).expand(3, *shape)
    torch.testing.assert_close(end, expected, rtol=1e-4, atol=1e-4)


def test_a_module_takes_states_of_any_shape_that_it_computes():
    model = NeuralODE(nn.Linear(2, 2))
    assert model.shape is None
    assert model(torch.randn(5, 2)).shape == (5, 2) and model(torch.randn(5, 3, 2)).shape == (5, 3, 2)
    augmented = AugmentedNeuralODE(nn.Linear(3, 3), augment=1)
    assert augmented(torch.randn(5, 2)).shape == (5, 2)
    with pytest.raises(ValueError, match=r"x0: must have shape \(batch, 3\)"):
        NeuralODE(nn.Linear(2, 2), shape=(3,))(torch.randn(5, 2))


def test_a_shape_that_is_not_the_fields_is_refused():
    with pytest.raises(ValueError, match=r"shape: \(3,\) is not the field's, \(2,\)"):
        NeuralODE(MLP(2), shape=(3,))


def test_a_controller_without_a_size_needs_a_modules_shape():
    with pytest.raises(ValueError, match=r"shape: give the model shape=\(…\)"):
        NCODE(nn.Linear(2, 2), gamma=OpenLoop(hidden=(4,)))
    assert NCODE(nn.Linear(2, 2), gamma=OpenLoop(2, 6))(torch.randn(5, 2)).shape == (5, 2)


@pytest.mark.parametrize("make", [nn.utils.parametrizations.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_a_parametrised_layer_of_a_module_is_steered_before_its_parametrisation(make):
    torch.manual_seed(0)
    net = nn.Sequential(make(nn.Linear(2, 8)), nn.Tanh(), nn.Linear(8, 2)).eval()
    x = torch.randn(5, 2)
    plain = NeuralODE(net)(x)
    model = NCODE(net, gamma=OpenLoop(spread=0.0), steer="0.parametrizations.*", shape=(2,))
    # At first γ gives every sample the field's own.
    torch.testing.assert_close(model(x), plain, rtol=1e-5, atol=1e-6)
    model(x).sum().backward()
    assert model.gamma.layers[0].weight.grad.norm() > 0


def test_a_dropout_draws_for_every_sample():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    model = NCODE(net, gamma=lambda x: torch.ones(len(x), 6), solver=Solver("euler", steps=1))
    ends = model(torch.ones(64, 2))
    assert len(ends.unique(dim=0)) > 1


@pytest.mark.parametrize("module", [nn.Bilinear(2, 2, 2), nn.MultiheadAttention(2, 1), MLP(2)])
def test_a_module_of_other_arguments_is_named(module):
    if isinstance(module, nn.Bilinear):
        # Two arguments are taken for the time and the state.
        assert Wrapped(module).timed
    else:
        with pytest.raises(ValueError, match=r"field: .*forward takes"):
            Wrapped(module)


def test_a_parameter_that_a_module_never_uses_is_named():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    model = NCODE(Idle(), gamma=OpenLoop(), shape=(2,))
    for until in (0.01, 1.0):
        with pytest.raises(ValueError, match=r"never reads the steered idle\.bias, idle\.weight"):
            model.trajectory(torch.randn(4, 2), [0.0, until])


@pytest.mark.parametrize("steer", ["*", "0.*"])
@pytest.mark.parametrize("solver", [Solver("rk4", steps=2), Solver(gradients="adjoint")])
def test_a_compiled_field_of_a_steered_module_is_the_same_field(steer, solver, unchecked):
    """Dynamo asks the places of released parameters what they are, which was refused as a use of them.

    Traced as for every compiler, and run without one: nothing has to be installed.
    """
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2))
    model = NCODE(net, gamma=OpenLoop(), steer=steer, shape=(2,), solver=solver).double()
    batches, measured = [torch.randn(size, 2).double() for size in (8, 3)], []
    for compiled in False, True:
        if compiled:
            model.field.compile(backend="aot_eager")
        ends = [model(x) for x in batches]
        gradients = [torch.autograd.grad(end.square().sum(), list(model.parameters())) for end in ends]
        measured.append((ends, gradients))
    torch.testing.assert_close(*measured, rtol=1e-12, atol=1e-12)


class _Calls(Field):
    """Calls a layer as it is, whatever is steered."""

    def __init__(self):
        super().__init__((2,))
        self.layer = nn.Linear(2, 2)

    def forward(self, t, x, theta):
        return self.layer(x)


def test_a_compiled_field_that_does_not_read_its_control_is_refused(unchecked):
    model = NCODE(_Calls(), gamma=OpenLoop())
    # As if the look before the first solve had seen nothing.
    model._unread, model._coupled = set(), False
    model.field.compile(backend="aot_eager")
    with pytest.raises(Exception, match=r"never reads the steered layer\."):
        model(torch.randn(3, 2))
