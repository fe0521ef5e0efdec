"""Inputs along the way: x' = u(t) has a solution, for every model, and its gradients reach the knots."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ncode import (
    MLP,
    NCODE,
    AugmentedNeuralODE,
    ClosedLoop,
    DataControlledODE,
    Field,
    NeuralODE,
    OpenLoop,
    Solver,
    path_cost,
)
from ncode.inputs import Interpolated

KNOTS = torch.tensor([0.0, 0.3, 0.4, 1.0])
MODES = ("direct", "checkpointed", "adjoint")


class Driven(Field):
    """x' = k u, where u are the last of the slot's numbers."""

    def __init__(self, dim: int = 2, before: int = 0):
        super().__init__(shape=(dim,), slots={"u": (dim + before,)})
        self.k, self.before = nn.Parameter(torch.ones(dim)), before

    def forward(self, t, x, theta):
        return self.value("k", theta) * theta["u"][:, self.before :] + 0 * x


class Padded(Driven):
    """The same in two dimensions of three."""

    def __init__(self):
        super().__init__(2)
        self.shape = (3,)

    def forward(self, t, x, theta):
        return torch.cat([self.value("k", theta) * theta["u"], torch.zeros_like(x[:, 2:])], dim=1)


def ones(x: Tensor) -> Tensor:
    return torch.ones_like(x)


def models() -> dict[str, nn.Module]:
    return {
        "node": NeuralODE(Driven()),
        "augmented": AugmentedNeuralODE(Padded(), augment=1),
        "data": DataControlledODE(Driven(before=2)),
        "open": NCODE(Driven(), gamma=ones, steer="k"),
        "closed": NCODE(Driven(), g=lambda t, x, theta: torch.zeros_like(theta), steer="k"),
    }


def tight(gradients: str, jumps: tuple[float, ...] = tuple(KNOTS[1:-1].tolist())) -> Solver:
    return Solver(rtol=1e-9, atol=1e-9, jumps=jumps, gradients=gradients)


def linear_integral(t: Tensor, values: Tensor) -> Tensor:
    return (t.diff(dim=0).unsqueeze(-1) * (values[1:] + values[:-1]) / 2).sum(0)


def cubic_integral(t: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
    h = t.diff(dim=0).unsqueeze(-1)
    return (h * (values[1:] + values[:-1]) / 2 + h**2 * (slopes[:-1] - slopes[1:]) / 12).sum(0)


@pytest.mark.parametrize("gradients", MODES)
@pytest.mark.parametrize("kind", models())
def test_a_constant_input_and_one_through_knots_give_their_integrals(kind, gradients, float64):
    model = models()[kind].double()
    model.solver = tight(gradients)
    x = torch.randn(3, 2, requires_grad=True)
    u = torch.randn(3, 2, requires_grad=True)
    t = KNOTS.double()[:, None].expand(-1, 3)
    values, slopes = (torch.randn(4, 3, 2, requires_grad=True) for _ in range(2))
    cases = [
        (u, x + u, (x, u)),
        (Interpolated(KNOTS.double(), values), x + linear_integral(t, values), (x, values)),
        (
            Interpolated(KNOTS.double(), values, kind="cubic", slopes=slopes),
            x + cubic_integral(t, values, slopes),
            (x, values, slopes),
        ),
    ]
    weights = torch.randn(3, 2)
    for given, exact, wanted in cases:
        end = model(x, given)
        torch.testing.assert_close(end, exact, rtol=0, atol=1e-8)
        found = torch.autograd.grad((end * weights).sum(), wanted)
        torch.testing.assert_close(found, torch.autograd.grad((exact * weights).sum(), wanted), rtol=0, atol=1e-7)


def test_every_samples_own_knots_and_gradients_of_their_times(float64):
    t = torch.tensor([[0.0, -0.5], [0.3, 0.6], [1.0, 2.0]], requires_grad=True)
    values = torch.randn(3, 2, 2, requires_grad=True)
    model = NeuralODE(Driven(), solver=tight("direct", jumps=(0.3, 0.6)))
    x = torch.zeros(2, 2)
    end = model(x, Interpolated(t, values))
    # ∫₀¹ of the second sample's: a line from -0.5 to 0.6, and another on to 2.
    cut = values[0] + (values[1] - values[0]) * ((0.0 - t[0]) / (t[1] - t[0]))[:, None]
    over = values[1] + (values[2] - values[1]) * ((1.0 - t[1]) / (t[2] - t[1]))[:, None]
    inner = torch.stack([torch.zeros(2), t[1], torch.ones(2)])
    exact = linear_integral(inner, torch.stack([cut, values[1], over]))
    torch.testing.assert_close(end, exact, rtol=0, atol=1e-8)
    found = torch.autograd.grad(end[:, 0].sum(), (t, values))
    torch.testing.assert_close(found, torch.autograd.grad(exact[:, 0].sum(), (t, values)), rtol=0, atol=1e-6)


def test_an_interpolated_input_goes_through_its_knots_and_keeps_the_ends_values(float64):
    values = torch.randn(4, 3, 2)
    t = KNOTS.double()
    for u in (Interpolated(t, values), Interpolated(t, values, kind="cubic")):
        for i, time in enumerate(t):
            torch.testing.assert_close(u(time), values[i])
        torch.testing.assert_close(u(torch.tensor(-1.0)), values[0])
        torch.testing.assert_close(u(torch.tensor(9.0)), values[-1])
    # Slopes from the knots are exact for a line.
    line = Interpolated(t, t[:, None, None] * torch.ones(3, 2), kind="cubic")
    torch.testing.assert_close(line(torch.tensor(0.77)), torch.full((3, 2), 0.77))


def test_knots_at_integers_are_times_like_others(float64):
    """Between them u is no staircase: x(2) is the integral of the lines, and its gradient theirs."""
    values = torch.randn(3, 4, 2, requires_grad=True)
    for t in (torch.arange(3), torch.arange(3, dtype=torch.int32)[:, None].expand(3, 4)):
        u = Interpolated(t, values)
        assert u.t.dtype == torch.float64
        torch.testing.assert_close(u(torch.tensor(0.5)), (values[0] + values[1]) / 2)
        end = NeuralODE(Driven(), horizon=2.0, solver=tight("direct", jumps=(1.0,)))(torch.zeros(4, 2), u)
        exact = linear_integral(torch.arange(3.0)[:, None].expand(3, 4), values)
        torch.testing.assert_close(end, exact)
        found = torch.autograd.grad((end**2).sum(), values)
        torch.testing.assert_close(found, torch.autograd.grad((exact**2).sum(), values))
    assert Interpolated(torch.arange(3), values.float()).t.dtype == torch.float32
    complex_ = Interpolated(torch.arange(3), values + 1j * values)
    torch.testing.assert_close(complex_(torch.tensor(1.5)), (1 + 1j) * (values[1] + values[2]) / 2)


def test_a_perceptrons_kernel_takes_a_constant_input(float64):
    x, u = torch.randn(20, 2), torch.randn(20, 3, requires_grad=True)
    for build in (
        lambda: NeuralODE(MLP(2, (4,), inputs=3)),
        lambda: NCODE(MLP(2, (4,), inputs=3), gamma=OpenLoop(), steer="layers.*"),
        lambda: NCODE(MLP(2, (4,), inputs=3), g=ClosedLoop(), steer="layers.*.bias"),
        lambda: DataControlledODE(MLP(2, (4,), inputs=5)),
    ):
        torch.manual_seed(0)
        model, found = build(), []
        for solver in (Solver(), Solver(kernels=False), Solver(gradients="checkpointed")):
            model.solver = solver
            end = model(x, u)
            found.append([end, *torch.autograd.grad(end.square().sum(), (u, *model.parameters()))])
            torch.testing.assert_close(found[-1], found[0])
        model.solver = Solver("rk4", steps=64)
        torch.testing.assert_close(model(x, lambda t: u), model(x, u))


def test_paths_costs_and_the_error_take_the_input(float64):
    model, x = NeuralODE(Driven(), solver=tight("direct")), torch.zeros(3, 2)
    u = Interpolated(KNOTS.double(), KNOTS.double()[:, None, None].expand(4, 3, 2))
    path = model.trajectory(x, [0.0, 0.5, 1.0], u)
    torch.testing.assert_close(path.x[:, 0, 0], torch.tensor([0.0, 0.125, 0.5]))
    torch.testing.assert_close(
        path_cost(model, x, u, running=lambda point: point.x[:, 0]).cost, torch.full((3,), 1 / 6)
    )
    assert model.solver_error(x, u).max() < 1e-8
    half = model.float().double().solver_error(x, lambda t: torch.ones(3, 2))
    assert half.max() < 1e-8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NeuralODE(Driven())(torch.zeros(3, 2)), "u: the field's slot 'u' is open"),
        (lambda: NCODE(Driven(), gamma=ones, steer="k")(torch.zeros(3, 2)), "u: the field's slot 'u' is open"),
        (lambda: NeuralODE(MLP(2))(torch.zeros(3, 2), torch.zeros(3, 2)), "u: the field has no slot 'u'"),
        (lambda: DataControlledODE(MLP(2, inputs=2))(torch.zeros(3, 2), torch.zeros(3, 2)), "u: the field has no slot"),
        (lambda: NeuralODE(Driven())(torch.zeros(3, 2), torch.zeros(2)), r"u: must have shape \(3, 2\), not \(2,\)"),
        (lambda: NeuralODE(Driven())(torch.zeros(3, 2), lambda t: t), r"u: must have shape \(3, 2\)"),
        (lambda: Interpolated(torch.zeros(2), torch.zeros(2, 1)), "t: the knots' times must increase"),
        (lambda: Interpolated(KNOTS, torch.zeros(3, 1)), "values: must have shape"),
        (lambda: Interpolated(KNOTS, torch.zeros(4, 1), slopes=torch.zeros(4, 1)), "slopes: are a cubic's"),
        (lambda: Interpolated(KNOTS, torch.arange(4)[:, None]), "values: must be floating-point, not torch.int64"),
        (
            lambda: Interpolated(KNOTS, torch.zeros(4, 1), kind="cubic", slopes=torch.arange(4)[:, None]),
            "slopes: must be floating-point, not torch.int64",
        ),
        (lambda: Interpolated(2**24 + torch.arange(4), torch.zeros(4, 1)), "integers that torch.float32 holds"),
        (lambda: Interpolated(KNOTS + 0j, torch.zeros(4, 1)), "t: must be floating-point times"),
        (lambda: Interpolated(torch.tensor([False, True]), torch.zeros(2, 1)), "t: must be floating-point times"),
    ],
)
def test_what_does_not_fit_is_refused(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()
