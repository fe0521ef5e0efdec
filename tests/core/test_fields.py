"""Fields and what a controller steers of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncode import MLP, NCODE, ClosedLoop, DataControl, NeuralODE, OpenLoop, Solver, TimedMLP
from ncode.fields import per_sample
from ncode.fields.base import Field
from ncode.fields.conv import ConvBlock
from ncode.fields.elementary import Linear, Velocity
from tests.core.models import build

NAMES = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
T0 = torch.tensor(0.0)


def test_names_and_sizes():
    field = MLP(2, (4,), inputs=3)
    assert field.names() == [*NAMES, "u"]
    assert field.names("*.bias") == ["layers.0.bias", "layers.1.bias"]
    assert field.names(["layers.1.*", "u"]) == ["layers.1.weight", "layers.1.bias", "u"]
    assert field.names(["*", "u"]) == [*NAMES, "u"]
    assert field.size() == 4 * 5 + 4 + 2 * 4 + 2 + 3
    assert field.size("u") == 3
    assert field.size(["layers.0.bias", "u"]) == 7
    with pytest.raises(ValueError, match=r"steer: 'layers.2.\*' matches none of layers.0.weight"):
        field.names(["u", "layers.2.*"])


@pytest.mark.parametrize("patterns", ["*", "*.bias", "layers.1.weight", ["layers.1.*", "layers.0.bias"]])
def test_release_then_unpack_gives_the_values_back(patterns):
    torch.manual_seed(0)
    field = MLP(2, (4,))
    x = torch.randn(5, 2)
    before, values = field(T0, x, {}), {name: p.clone() for name, p in field.named_parameters()}
    size, names = field.size(patterns), field.names(patterns)
    theta = field.release(patterns)
    assert theta.shape == (size,) and not theta.requires_grad
    assert [name for name, _ in field.named_parameters()] == [name for name in values if name not in names]
    assert field.names(patterns) == names and field.size(patterns) == size
    unpacked = field.unpack(theta.expand(5, -1))
    assert list(unpacked) == names
    for name in names:
        assert torch.equal(unpacked[name], values[name].expand(5, *values[name].shape))
    # Per sample the products are summed in another order: float32 rounding.
    torch.testing.assert_close(field(T0, x, unpacked), before, rtol=1e-5, atol=1e-6)


def test_unpack_gives_every_sample_its_own_row():
    field = Linear(2)
    field.release()
    theta = torch.arange(12.0).reshape(3, 4)
    matrix = field.unpack(theta)["matrix"]
    assert torch.equal(matrix[1], torch.tensor([[4.0, 5.0], [6.0, 7.0]]))
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert torch.equal(field(T0, x, {"matrix": matrix}), torch.tensor([[0.0, 2.0], [5.0, 7.0], [17.0, 21.0]]))


def test_a_released_parameter_has_one_owner():
    field = MLP(2, (4,))
    NCODE(field, gamma=OpenLoop(2, 4), steer="layers.0.bias")
    with pytest.raises(ValueError, match=r"layers\.0\.bias already belongs"):
        NCODE(field, gamma=OpenLoop(2, field.size()))
    # What is left may still be steered by nobody or looked at.
    assert "layers.0.weight" in dict(field.named_parameters())


def test_what_is_not_steered_stays_the_fields_own_and_learns():
    model = build("some", Solver())
    model(torch.randn(4, 2)).square().sum().backward()
    own = dict(model.field.named_parameters())
    assert list(own) == ["layers.0.weight", "layers.1.weight", "layers.1.bias"]
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


def test_a_slot_is_what_only_a_controller_fills():
    torch.manual_seed(0)
    field = MLP(2, (4,), inputs=2)
    x, u = torch.randn(5, 2), torch.randn(5, 2)
    assert field.release("u").tolist() == [0.0, 0.0]
    plain = MLP(4, (4,))
    plain.layers[0].load_state_dict(field.layers[0].state_dict())
    hidden = torch.tanh(plain.layers[0](torch.cat([x, u], 1)))
    torch.testing.assert_close(field(T0, x, {"u": u}), field.layers[1](hidden))


def test_an_open_loop_starts_at_the_fields_own_initialisation():
    torch.manual_seed(0)
    field = MLP(2, (4,))
    start = torch.cat([p.detach().reshape(-1) for p in field.parameters()])
    model = NCODE(field, gamma=OpenLoop(2, field.size(), hidden=(3,), spread=0.0))
    assert torch.equal(model.initial_control(torch.randn(6, 2)), start.expand(6, -1))


def test_spread_is_the_standard_deviation_of_the_control_over_initialisations():
    torch.manual_seed(0)
    x = torch.ones(1, 1)
    controls = torch.cat([OpenLoop(1, 200, spread=0.3)(x) for _ in range(50)])
    # 10,000 draws: the standard deviation is known to 1 %.
    assert controls.std().item() == pytest.approx(0.3, rel=0.05)


def test_data_control_flattens_what_it_is_given():
    x = torch.randn(3, 2, 4)
    assert torch.equal(DataControl()(x), x.reshape(3, 8))


def test_closed_loop_sees_state_and_control():
    torch.manual_seed(0)
    g = ClosedLoop(2, 3, hidden=(5,), spread=1.0)
    x, theta = torch.randn(4, 2), torch.randn(4, 3)
    velocity = g(T0, x, theta)
    assert velocity.shape == (4, 3)
    assert not torch.equal(velocity, g(T0, x + 1, theta))
    assert not torch.equal(velocity, g(T0, x, theta + 1))


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 4), (40, 30)], ids=["elementwise", "bmm"])
@pytest.mark.parametrize("bias", ["none", "shared", "sample"])
@pytest.mark.parametrize("weight", ["shared", "sample"])
def test_linear_per_sample_is_a_loop_over_samples(float64, inputs, outputs, weight, bias):
    torch.manual_seed(0)
    x = torch.randn(6, inputs)
    w = torch.randn(*([6] if weight == "sample" else []), outputs, inputs)
    b = {"none": None, "shared": torch.randn(outputs), "sample": torch.randn(6, outputs)}[bias]
    y = per_sample.linear(x, w, b)
    for i in range(6):
        row = (w[i] if weight == "sample" else w) @ x[i]
        if b is not None:
            row = row + (b[i] if bias == "sample" else b)
        # The same sums in another order.
        torch.testing.assert_close(y[i], row, rtol=1e-12, atol=1e-12)


def test_a_velocity_is_the_same_wherever_x_is():
    field = Velocity(2)
    with torch.no_grad():
        field.velocity.copy_(torch.tensor([1.0, -2.0]))
    assert torch.equal(field(T0, torch.randn(3, 2), {}), torch.tensor([[1.0, -2.0]]).expand(3, 2))


def test_the_example_in_fields_documentation_runs():
    class Decay(Field):
        def __init__(self):
            super().__init__(shape=(1,))
            self.rate = nn.Parameter(torch.ones(1))

        def forward(self, t, x, theta):
            return -self.value("rate", theta) * x

    model = NCODE(Decay(), gamma=OpenLoop(1, 1, spread=0.0), solver=Solver(rtol=1e-6, atol=1e-6))
    x = torch.linspace(-1, 1, 5).unsqueeze(1)
    # x(1) = x(0)/e, up to float32.
    torch.testing.assert_close(model(x), x * torch.exp(torch.tensor(-1.0)), rtol=1e-5, atol=1e-6)


def test_a_field_must_say_what_it_is():
    with pytest.raises(NotImplementedError, match="Field must implement forward"):
        Field(shape=(1,))(T0, torch.zeros(1, 1), {})
    with pytest.raises(ValueError, match="activation: 'magic' is not one of"):
        MLP(2, activation="magic")


def test_a_timed_field_sees_the_time_and_can_be_steered(float64):
    field = TimedMLP(1, ())
    with torch.no_grad():
        field.layers[0].weight.copy_(torch.tensor([[0.0, 2.0]]))
        field.layers[0].bias.fill_(1.0)
        # x' = 2t + 1, so x(T) = x(0) + T² + T: exact for a method of order two or more.
        assert torch.allclose(
            NeuralODE(field, horizon=2.0, solver=Solver("midpoint", steps=2))(torch.zeros(3, 1)),
            torch.full((3, 1), 6.0),
        )
        shifted = field(torch.tensor(0.5), torch.zeros(2, 1), {"layers.0.bias": torch.tensor([[0.0], [3.0]])})
    assert shifted[:, 0].tolist() == [1.0, 4.0]


@pytest.mark.parametrize(
    ("x", "weight"), [((4, 5), (4, 3, 1)), ((4, 1), (4, 3, 5)), ((1, 5), (4, 3, 5)), ((1, 100), (4, 5, 100))]
)
def test_weights_that_do_not_fit_are_refused_whatever_their_size(x, weight, unchecked):
    with pytest.raises(RuntimeError):
        per_sample.linear(torch.ones(x), torch.ones(weight))


@pytest.mark.parametrize("name", ["reduce", "mix", "expand"])
def test_a_convolution_that_does_more_is_called(name):
    """A block's kernels are applied without their modules, which must not lose what those do besides."""
    torch.manual_seed(0)
    block, x = ConvBlock(3, 5, filters=3, activation="tanh"), torch.randn(4, 3, 5, 5)
    plain, layer = block(0.0, x), getattr(block, name)
    hook = layer.register_forward_hook(lambda layer, inputs, output: 2 * output)
    doubled = block(0.0, x)
    hook.remove()
    with torch.no_grad():
        layer.weight.mul_(2), layer.bias.mul_(2)
    torch.testing.assert_close(doubled, block(0.0, x))
    with torch.no_grad():
        layer.weight.div_(2), layer.bias.div_(2)
    setattr(block, name, nn.Sequential(layer, nn.Identity()))
    torch.testing.assert_close(block(0.0, x), plain)


def test_a_convolution_of_other_settings_is_called():
    """On a torus a shift of the image shifts what comes out, which zeros around it would undo."""
    torch.manual_seed(0)
    block, x = ConvBlock(3, 5, filters=3), torch.randn(4, 3, 5, 5)
    block.mix = nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")
    torch.testing.assert_close(block(0.0, x.roll((1, 2), (2, 3))), block(0.0, x).roll((1, 2), (2, 3)))


@pytest.mark.parametrize("steer", ["mix.weight", "mix.bias"])
def test_a_steered_convolution_that_does_more_is_refused(steer):
    for change in (
        lambda block: block.mix.register_forward_hook(lambda layer, inputs, output: 2 * output),
        lambda block: setattr(block, "mix", nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")),
    ):
        block = ConvBlock(2, 5, filters=3)
        change(block)
        with pytest.raises(ValueError, match="field: mix is steered, and what Conv2d computes besides"):
            NCODE(block, gamma=OpenLoop(), steer=steer)(torch.randn(4, 2, 5, 5))


class Called(Field):
    """A field that calls its layers, as one does without a controller."""

    def __init__(self):
        super().__init__(shape=(2,))
        self.net = nn.Sequential(nn.Linear(2, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 2))

    def forward(self, t, x, theta):
        return self.net(x)


@pytest.mark.parametrize("until", [0.01, 1.0])
@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
@pytest.mark.parametrize("loop", ["open", "closed"])
@pytest.mark.parametrize(
    ("steer", "missing"),
    [
        # nn.Linear works without a bias, nn.LayerNorm without either, and neither has ever heard of a controller.
        ("net.0.bias", "net.0.bias"),
        ("net.1.*", "net.1.bias, net.1.weight"),
        ("net.3.weight", "net.3.weight"),
    ],
)
def test_a_steered_parameter_that_the_field_never_reads_is_named(steer, missing, loop, gradients, until):
    field = Called()
    m = field.size(steer)
    control = {"gamma": OpenLoop(2, m)} if loop == "open" else {"g": ClosedLoop(2, m)}
    model = NCODE(field, **control, steer=steer, solver=Solver(gradients=gradients))
    for _ in range(2):
        with pytest.raises(ValueError, match=f"field: never reads the steered {missing} from θ: .*self.value"):
            model.trajectory(torch.randn(4, 2), [0.0, until])


@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
@pytest.mark.parametrize("loop", ["open", "closed"])
def test_a_steered_parameter_may_be_read_late(loop, gradients):
    class Switched(Field):
        def __init__(self):
            super().__init__(shape=(1,))
            self.early, self.late = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

        def forward(self, t, x, theta):
            return -self.value("early" if t < 0.5 else "late", theta) * x

    control = {"gamma": OpenLoop(1, 2)} if loop == "open" else {"g": ClosedLoop(1, 2)}
    model = NCODE(Switched(), **control, solver=Solver("rk4", gradients=gradients))
    x = torch.randn(3, 1)
    assert model.trajectory(x, [0.0, 0.2]).x.shape == (2, 3, 1)
    model(x).sum().backward()


@pytest.mark.parametrize(
    "read",
    [
        dict,
        lambda theta: {**theta},
        lambda theta: {name: theta[name] for name in theta},
        lambda theta: {name: theta.get(name) for name in theta},
        lambda theta: dict(theta.items()),
        lambda theta: dict(zip(theta, theta.values(), strict=True)),
        lambda theta: theta.copy(),
        lambda theta: {} | theta,
        lambda theta: theta | {},
    ],
)
def test_a_field_may_read_its_control_in_any_way(read):
    class Reader(MLP):
        def forward(self, t, x, theta):
            return super().forward(t, x, read(theta))

    field = Reader(2, (3,))
    NCODE(field, gamma=OpenLoop(2, field.size()))(torch.randn(3, 2))


def test_a_tied_parameter_is_not_steered_under_one_of_its_names():
    class Tied(Field):
        def __init__(self):
            super().__init__(shape=(2,))
            self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)
            self.b.weight = self.a.weight

        def forward(self, t, x, theta):
            value = per_sample.linear(x, self.value("a.weight", theta))
            return per_sample.linear(value, self.value("b.weight", theta), self.value("b.bias", theta))

    field = Tied()
    with pytest.raises(ValueError, match=r"steer: a\.weight is tied to b\.weight"):
        NCODE(field, gamma=OpenLoop(2, field.size()))
    assert len(list(field.parameters())) == 2
    model = NCODE(field, gamma=OpenLoop(2, 2), steer="b.bias")
    assert model(torch.randn(3, 2)).shape == (3, 2)
