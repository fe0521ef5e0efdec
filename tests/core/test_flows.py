"""The models against exact solutions, and what must hold for all of them."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from ncode import (
    MLP,
    NCODE,
    AugmentedNeuralODE,
    ClosedLoop,
    DataControl,
    DataControlledODE,
    Field,
    NeuralODE,
    OpenLoop,
    SolveError,
    Solver,
    Wrapped,
)
from ncode.controllers import KernelController
from ncode.fields.conv import ConvBlock
from ncode.fields.elementary import Linear, Velocity
from ncode.solvers.dispatch import integrate
from tests.core.models import KINDS, build

TIGHT = Solver(method="dopri8", rtol=1e-12, atol=1e-12)
# What the tight solver leaves on smooth problems of size one over a few units of time: its tolerance, times the
# steps and the growth of errors along the path, with a factor of ten to spare.
EXACT = 1e-10


class Minus(Field):
    """x' = -θ, the field of Proposition 1's open loop."""

    def __init__(self):
        super().__init__(shape=(1,), slots={"u": (1,)})

    def forward(self, t, x, theta):
        return -theta["u"]


class Restoring(nn.Module):
    """θ' = -x, the g of Proposition 1's closed loop."""

    def forward(self, t, x, theta):
        return -x


class Swirl(Field):
    """x' = t·x: a field that depends on time."""

    def __init__(self):
        super().__init__(shape=(1,))

    def forward(self, t, x, theta):
        return t * x


@pytest.fixture
def x0(float64):
    return torch.linspace(-2, 2, 9).unsqueeze(1)


def test_open_loop_of_proposition_1(x0):
    model = NCODE(Minus(), gamma=DataControl(), solver=Solver(rtol=1e-9, atol=1e-9))
    t = torch.linspace(0, 2, 9)
    path = model.trajectory(x0, t)
    # x0 (1 - t) is a polynomial: every Runge-Kutta step is exact but for rounding.
    torch.testing.assert_close(path.x, x0 * (1 - t.reshape(-1, 1, 1)), atol=1e-14, rtol=0)
    assert model(x0).abs().max() < 1e-14
    assert torch.equal(path.theta, x0.expand(9, -1, -1))


def test_closed_loop_of_proposition_1(x0):
    model = NCODE(Velocity(1), g=Restoring(), solver=TIGHT)
    t = torch.linspace(0, 2 * math.pi, 13)
    path = model.trajectory(x0, t)
    torch.testing.assert_close(path.x, x0 * torch.cos(t).reshape(-1, 1, 1), atol=EXACT, rtol=0)
    torch.testing.assert_close(path.theta, -x0 * torch.sin(t).reshape(-1, 1, 1), atol=EXACT, rtol=0)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3"])
def test_paths_are_as_exact_as_the_tolerance_at_every_time(x0, method):
    # torchdiffeq's interpolation, left alone, is off by 1e-6 and more here for dopri8 and bosh3.
    model = NCODE(Velocity(1), g=Restoring(), solver=Solver(method, rtol=1e-9, atol=1e-9))
    t = torch.tensor([0.0, 0.3, 0.35, 1.9, 2.0])
    path = model.trajectory(x0, t)
    # Errors add up over some tens of steps.
    torch.testing.assert_close(path.x, x0 * torch.cos(t).reshape(-1, 1, 1), atol=1e-7, rtol=0)
    end = model.trajectory(x0, [0.0, 2.0]).x[-1]
    torch.testing.assert_close(end, x0 * math.cos(2.0), atol=3e-8, rtol=0)


@pytest.mark.parametrize("horizon", [1.0, -1.5])
def test_one_matrix_for_all_is_the_matrix_exponential(float64, horizon):
    torch.manual_seed(0)
    field = Linear(3)
    nn.init.normal_(field.matrix)
    model = NeuralODE(field, horizon=horizon, solver=Solver("dopri8", rtol=1e-12, atol=1e-12))
    x = torch.randn(5, 3)
    expected = x @ torch.linalg.matrix_exp(horizon * field.matrix.detach()).T
    torch.testing.assert_close(model(x), expected, atol=EXACT, rtol=EXACT)


def test_a_matrix_per_sample_is_its_own_exponential(float64):
    torch.manual_seed(0)
    model = NCODE(Linear(3), gamma=OpenLoop(3, 9, spread=1.0), solver=TIGHT)
    x = torch.randn(5, 3)
    matrices = model.initial_control(x).reshape(5, 3, 3)
    expected = (torch.linalg.matrix_exp(matrices) @ x.unsqueeze(2)).squeeze(2)
    assert (matrices[0] - matrices[1]).abs().max() > 0.1
    torch.testing.assert_close(model(x), expected, atol=EXACT, rtol=EXACT)


def test_time_reaches_the_field_unscaled_and_with_its_sign(x0):
    model = NeuralODE(Swirl(), solver=Solver("dopri8", rtol=1e-12, atol=1e-12))
    path = model.trajectory(x0, [1.0, 2.0, 3.0])
    torch.testing.assert_close(path.x[-1], x0 * math.exp(4), rtol=EXACT, atol=EXACT)
    back = model.trajectory(x0, [1.0, -2.0])
    torch.testing.assert_close(back.x[-1], x0 * math.exp(1.5), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind):
    model = build(kind, Solver())
    x = torch.randn(6, 2)
    assert model(x).shape == x.shape
    path = model.trajectory(x, [0.0, 0.5, 0.75, 1.0])
    assert path.t.shape == (4,)
    assert path.x.shape == (4, 6, 2)
    assert torch.equal(path.x[0], x)
    if kind in ("open", "closed", "both", "some"):
        assert path.theta.shape == (4, 6, model.m)
        assert torch.equal(path.theta[0], model.initial_control(x))
        assert torch.equal(path.theta[0], path.theta[-1]) == (model.g is None)
    else:
        assert path.theta is None


def test_augmentation_adds_zeros_and_projects_them_away():
    torch.manual_seed(0)
    field = MLP(5, (8,))
    projected = AugmentedNeuralODE(field, augment=2)
    whole = AugmentedNeuralODE(field, augment=2, project=False)
    x = torch.randn(4, 3)
    assert projected(x).shape == (4, 3)
    assert whole(x).shape == (4, 5)
    assert torch.equal(projected(x), whole(x)[:, :3])
    assert whole.trajectory(x, [0.0, 1.0]).x[0, :, 3:].abs().max() == 0
    assert projected.trajectory(x, [0.0, 1.0]).x.shape == (2, 4, 3)
    plain = NeuralODE(field)
    assert torch.equal(whole(x), plain(torch.cat([x, torch.zeros(4, 2)], 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_forward_then_backward_returns(float64, kind):
    solver = Solver("dopri8", rtol=1e-10, atol=1e-10)
    x = torch.randn(5, 2)
    # θ belongs to x(0), not to x(T), and an augmented state must go back whole: so the problem is run backward, not
    # the model on x(T).
    f, state, *_ = build(kind, solver).problem(x)
    end, _ = integrate(f, state, torch.tensor([0.0, 1.0]), solver)
    back, _ = integrate(f, tuple(part[-1] for part in end), torch.tensor([1.0, 0.0]), solver)
    # Two solves at tolerance 1e-10 of fields of size about one.
    torch.testing.assert_close(back[0][-1], state[0], atol=1e-8, rtol=0)


def test_a_negative_horizon_undoes_a_positive_one(float64):
    forward = build("node", Solver("dopri8", rtol=1e-10, atol=1e-10))
    backward = build("node", Solver("dopri8", rtol=1e-10, atol=1e-10))
    backward.horizon = -1.0
    x = torch.randn(5, 2)
    assert (forward(x) - x).abs().max() > 0.1
    torch.testing.assert_close(backward(forward(x)), x, atol=1e-8, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_in_another_order_is_the_same_to_the_bit(kind):
    model = build(kind, Solver())
    x = torch.randn(16, 2)
    order = torch.randperm(16)
    with torch.no_grad():
        assert torch.equal(model(x[order]), model(x)[order])


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_in_a_batch_is_close_to_the_same_sample_alone(float64, kind):
    """Not equal: a batch takes one sequence of steps, the worst sample's, and a sample alone takes its own.

    So the two differ by what both solves are wrong by, no more. With fixed steps both take the same steps, and what
    is left is rounding.
    """
    x = 2 * torch.randn(8, 2)
    with torch.no_grad():
        adaptive = build(kind, Solver(rtol=1e-5, atol=1e-5))
        together = adaptive(x)
        alone = torch.cat([adaptive(row.unsqueeze(0)) for row in x])
        wrong = adaptive.solver_error(x) + torch.cat([adaptive.solver_error(row.unsqueeze(0)) for row in x])
        # The second term is the error of the two reference solves.
        assert ((together - alone).norm(dim=1) <= wrong + 1e-7).all()
        fixed = build(kind, Solver("rk4"))
        alone = torch.cat([fixed(row.unsqueeze(0)) for row in x])
        torch.testing.assert_close(fixed(x), alone, atol=1e-13, rtol=0)


def test_batch_and_alone_really_differ():
    # Guards the test above: were they equal, its bound would be tested by nothing.
    model = build("both", Solver())
    x = 2 * torch.randn(8, 2)
    with torch.no_grad():
        alone = torch.cat([model(row.unsqueeze(0)) for row in x])
        assert (model(x) - alone).abs().max() > 1e-4


def test_solver_error_is_the_distance_to_the_exact_end(x0):
    model = NCODE(Velocity(1), g=Restoring(), horizon=3.0, solver=Solver(rtol=1e-2, atol=1e-2))
    exact = (model(x0) - x0 * math.cos(3.0)).norm(dim=1)
    assert exact.max() > 1e-5
    before = model.nfe
    # The reference is solved at 1e-10.
    torch.testing.assert_close(model.solver_error(x0), exact.detach(), atol=1e-9, rtol=0)
    assert model.nfe is before


def test_data_control_is_an_open_loop(float64):
    torch.manual_seed(0)
    x = torch.randn(7, 2)
    data = DataControlledODE(MLP(2, (8,), inputs=2))
    field = MLP(2, (8,), inputs=2)
    field.load_state_dict(data.field.state_dict())
    open_loop = NCODE(field, gamma=DataControl(), steer="u")
    # The same operations in the same order.
    assert torch.equal(open_loop(x), data(x))


def test_closed_loop_without_gamma_starts_every_sample_at_one_learned_control():
    model = build("closed", Solver())
    theta = model.initial_control(torch.randn(4, 2))
    assert torch.equal(theta, model.theta0.expand(4, -1))
    assert isinstance(model.theta0, nn.Parameter)


def test_steering_leaves_no_unused_parameter():
    model = build("open", Solver())
    assert list(model.field.parameters()) == []
    model(torch.randn(3, 2)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_wrong_inputs_are_named(unchecked):
    model = build("open", Solver())
    x = torch.randn(3, 2)
    for wrong, message in [
        (torch.randn(3, 5), r"x0: must have shape \(batch, 2\)"),
        (torch.randn(2), "x0: must have shape"),
        (torch.randn(3, 2, 1), "x0: must have shape"),
        (torch.ones(3, 2, dtype=torch.int64), "x0: must be a floating-point tensor"),
        ([[1.0, 2.0]], "x0: must be a floating-point tensor"),
        (x.double(), "x0: is torch.float64"),
        (x.to("meta"), "x0: is torch.float32 on meta"),
        (x[:0], "x0: the batch is empty"),
        (torch.tensor([[0.0, 0.0], [math.nan, 0.0]]), "x0: sample 1 is not finite"),
        (torch.tensor([[0.0, math.inf]]), "x0: sample 0 is not finite"),
    ]:
        for kind in ("node", "anode", "data", "open", "closed"):
            with pytest.raises(ValueError, match=message):
                build(kind, Solver())(wrong)
    for times, message in [
        ([0.0], "t: must be a vector"),
        (1.0, "t: must be a vector"),
        ([0.0, 1.0, 0.5], "t: times must not turn"),
        ([0.0, -1.0, -0.5], "t: times must not turn"),
        ([0.0, math.nan], "t: times must be"),
        ([0.0, math.inf], "t: times must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.trajectory(x, times)


def test_models_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="gamma, g: N-CODE needs"):
        NCODE(MLP(2))
    with pytest.raises(ValueError, match="steer: 'nothing' matches none"):
        NCODE(MLP(2), gamma=DataControl(), steer="nothing")
    with pytest.raises(ValueError, match="field: needs a slot 'u'"):
        DataControlledODE(MLP(2))
    for augment in (0, 3):
        with pytest.raises(ValueError, match="augment: must lie between 1 and 2"):
            AugmentedNeuralODE(MLP(3), augment=augment)
    with pytest.raises(ValueError, match="gamma: gives 3 control variables, 22 are steered"):
        NCODE(MLP(2, (4,)), gamma=OpenLoop(2, 3))
    with pytest.raises(ValueError, match="gamma: gives 2 control variables, 22 are steered"):
        NCODE(MLP(2, (4,)), gamma=DataControl())
    wide = NCODE(MLP(2, (4,)), gamma=lambda x: x)
    with pytest.raises(ValueError, match=r"gamma: must give shape \(5, 22\), not \(5, 2\)"):
        wide(torch.randn(5, 2))


class Answers(Field):
    """A field that gives what it is told to."""

    def __init__(self, answer):
        super().__init__(shape=(2, 3))
        self.answer = answer

    def forward(self, t, x, theta):
        return self.answer(x)


@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        # As many numbers as x in another order: torchdiffeq would take them for x's.
        (lambda x: x.movedim(1, -1), r"field: must give shape \(5, 2, 3\), not \(5, 3, 2\)"),
        (lambda x: x.flatten(1), r"field: must give shape \(5, 2, 3\), not \(5, 6\)"),
        (lambda x: None, r"field: must give a tensor of shape \(5, 2, 3\), not NoneType"),
        (lambda x: (x, x), "field: must give a tensor of .* not tuple"),
        (lambda x: x.double(), "field: must give torch.float32, not torch.float64"),
    ],
)
def test_a_velocity_that_is_none_is_named(unchecked, answer, message, method, gradients):
    with pytest.raises(ValueError, match=message):
        NeuralODE(Answers(answer), solver=Solver(method, gradients=gradients))(torch.randn(5, 2, 3))


def test_what_g_gives_is_checked_as_well(unchecked):
    for g, message in [
        (lambda t, x, theta: theta.T, r"g: must give shape \(5, 2\), not \(2, 5\)"),
        (lambda t, x, theta: theta.double(), "g: must give torch.float32"),
    ]:
        with pytest.raises(ValueError, match=message):
            NCODE(Velocity(2), g=g)(torch.randn(5, 2))


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_a_field_that_changes_its_state_in_place_is_refused(method):
    # The solver goes on from the state that the field has overwritten: another path, without a sign of it.
    field = Answers(nn.ReLU(inplace=True))
    with torch.no_grad(), pytest.raises(ValueError, match="field: must not change its inputs in place"):
        NeuralODE(field, solver=Solver(method))(torch.randn(5, 2, 3))


def test_a_solve_may_run_in_inference_mode_and_under_autocast():
    model = build("both", Solver("rk4"))
    x = torch.randn(5, 2)
    with torch.no_grad():
        end = model(x)
        with torch.inference_mode():
            torch.testing.assert_close(model(x.clone()), end)
        with torch.autocast("cpu", torch.bfloat16):
            # bfloat16 has eight bits.
            torch.testing.assert_close(model(x), end, rtol=0.05, atol=0.05)


class Rounds(nn.Module):
    """x' = 1, in eight bits."""

    def forward(self, t, x):
        return torch.ones_like(x, dtype=torch.bfloat16)


@pytest.mark.parametrize(
    "solver",
    [
        Solver("rk4", steps=3),
        Solver("dopri5", first_step=0.3),
        Solver("dopri5", first_step=0.3, independent=True),
        Solver("rk4", steps=3, gradients="checkpointed"),
        Solver("rk4", steps=3, backend="torchdiffeq"),
    ],
)
def test_under_autocast_the_field_alone_rounds(solver):
    # Its steps of 1/3 and 0.3 have more bits than eight.
    with torch.autocast("cpu", torch.bfloat16):
        end = NeuralODE(Rounds(), solver=solver)(torch.zeros(2, 1))
    torch.testing.assert_close(end, torch.ones(2, 1), rtol=1e-6, atol=0)


def test_what_is_no_module_is_no_field(unchecked):
    for model in (
        NeuralODE,
        DataControlledODE,
        lambda f: AugmentedNeuralODE(f, augment=1),
        lambda f: NCODE(f, gamma=DataControl()),
    ):
        with pytest.raises(ValueError, match=r"field: must be an ncode\.Field or any other nn\.Module, not function"):
            model(lambda x: x)


@pytest.mark.parametrize("gradients", ["direct", "adjoint"])
def test_controllers_may_be_functions(gradients):
    scale = nn.Parameter(torch.tensor(0.5))
    solver = Solver(rtol=1e-6, atol=1e-6, gradients=gradients)
    model = NCODE(Velocity(2), gamma=lambda x: scale * x, g=lambda t, x, theta: -x, solver=solver)
    x = torch.randn(5, 2)
    model(x).sum().backward()
    # x(1) = x(0)(cos 1 + scale sin 1)
    torch.testing.assert_close(scale.grad, x.sum() * math.sin(1.0), rtol=1e-4, atol=1e-4)


def test_a_failed_solve_leaves_the_model_usable():
    model = NeuralODE(MLP(1, (4,)), solver=Solver(max_nfe=3))
    x = torch.ones(2, 1)
    with pytest.raises(SolveError):
        model(x)
    model.solver = Solver()
    assert torch.isfinite(model(x)).all()


def test_a_field_serves_one_controlled_model():
    field = MLP(2, (4,))
    shared = NeuralODE(field)
    NCODE(field, gamma=OpenLoop(2, field.size("*.bias")), steer="*.bias")
    for model in (shared, NeuralODE(field)):
        # Its biases are gone: without this it would run, and give something else.
        with pytest.raises(ValueError, match=r"layers\.0\.bias, layers\.1\.bias already belongs"):
            model(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="already belongs"):
        NCODE(field, gamma=OpenLoop(2, field.size("*.weight")), steer="*.weight")


def test_a_controller_that_does_not_fit_leaves_the_field_as_it_was():
    field = MLP(2, (4,))
    before = [p.numel() for p in field.parameters()]
    with pytest.raises(ValueError, match="gives 3 control variables"):
        NCODE(field, gamma=OpenLoop(2, 3))
    assert [p.numel() for p in field.parameters()] == before
    assert NCODE(field, gamma=OpenLoop(2, field.size()))(torch.zeros(1, 2)).shape == (1, 2)


def test_a_slot_that_nothing_fills_is_refused():
    for model in (
        NeuralODE,
        lambda field: AugmentedNeuralODE(field, augment=1),
        DataControlledODE,
        lambda field: NCODE(field, gamma=DataControl(), steer="u"),
    ):
        with pytest.raises(ValueError, match="slot v"):
            model(Field(shape=(2,), slots={"v": (2,), "u": (2,)}))
    field = Field(shape=(2,), slots={"v": (2,), "u": (2,)})
    assert NCODE(field, gamma=DataControl(), steer="v").owned == ("v",)


@pytest.mark.parametrize("field", [nn.Linear(2, 2), Wrapped(nn.Linear(2, 2)), Wrapped(nn.Linear(2, 2), shape=(2,))])
def test_data_control_needs_a_slot(field):
    """Without one x(0) would be in nobody's sight."""
    with pytest.raises(ValueError, match=r"field: needs a slot 'u' of its state's shape, .*, has None"):
        DataControlledODE(field)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_slot_alone_is_steered_in_the_fields_own_type(dtype):
    torch.manual_seed(0)
    x = torch.randn(3, 2, dtype=dtype)
    for control in ({"gamma": OpenLoop(spread=0.0)}, {"g": ClosedLoop(spread=0.0)}):
        field = MLP(2, inputs=3).to(dtype)
        solver = Solver("rk4", steps=4)
        plain = NeuralODE(copy.deepcopy(field), solver=solver)
        model = NCODE(field, **control, steer="u", solver=solver)
        # The slot begins at zero, which a spread of 0 leaves.
        torch.testing.assert_close(model(x), plain(x, torch.zeros(3, 3, dtype=dtype)))
        model(x).sum().backward()
        assert all(p.dtype == dtype for p in model.parameters())
    assert MLP(2, inputs=3).to("meta", dtype).start("u").device.type == "meta"
    with pytest.raises(ValueError, match="steer: u is a slot and no kernel"):
        NCODE(ConvBlock(2, 5, filters=3, inputs=1), gamma=KernelController(1))


class Dropped(OpenLoop):
    """γ with dropout: another control at every call."""

    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, self.training)


def test_a_trajectory_gives_the_control_that_made_its_path():
    torch.manual_seed(0)
    model = NCODE(Velocity(3), gamma=Dropped(3, 3, spread=1.0))
    path = model.trajectory(torch.randn(5, 3), [0.0, 1.0])
    torch.testing.assert_close(path.theta[0], path.x[1] - path.x[0])
    torch.testing.assert_close(path.theta[1], path.theta[0])


class Pulse(Field):
    """x' = 1 between 0.5 and 0.51, otherwise 0."""

    def __init__(self):
        super().__init__(shape=(1,))

    def forward(self, t, x, theta):
        return ((t > 0.5) & (t < 0.51)).to(x.dtype).expand_as(x)


@pytest.mark.parametrize("options", [{"jumps": (0.5, 0.51)}, {"max_step": 0.004, "rtol": 1e-6, "atol": 1e-6}])
def test_the_solver_error_sees_what_the_solver_was_told_of(options, float64):
    model, x = NeuralODE(Pulse(), solver=Solver(**options)), torch.zeros(3, 1)
    torch.testing.assert_close(model(x), torch.full((3, 1), 0.01), rtol=0, atol=1e-5)
    assert model.solver_error(x).max() < 1e-5


def test_the_solver_error_is_none_of_a_dropout_and_leaves_the_mode():
    torch.manual_seed(0)
    model = NCODE(Velocity(3), gamma=Dropped(3, 3, spread=1.0)).train()
    model.field.eval()
    assert model.solver_error(torch.randn(5, 3)).max() < 1e-5
    assert model.training and model.gamma.training and not model.field.training


class Explodes(Field):
    """x' = x², which leaves the floating-point range at t = 1/x(0)."""

    def __init__(self):
        super().__init__(shape=(1,))

    def forward(self, t, x, theta):
        return x.square()


def test_a_failed_solve_leaves_its_own_count():
    model = NeuralODE(Explodes())
    model(torch.full((1, 1), 0.1))
    before = model.nfe.forward
    with pytest.raises(SolveError) as failed:
        model(torch.full((1, 1), 5.0))
    assert model.nfe.forward == failed.value.nfe != before
    fixed = NeuralODE(Explodes(), solver=Solver("euler", steps=50))
    with pytest.raises(SolveError) as failed:
        fixed(torch.full((1, 1), 100.0))
    assert fixed.nfe.forward == failed.value.nfe


def test_a_control_that_is_not_finite_is_a_failed_solve():
    class Diverged(OpenLoop):
        def forward(self, x):
            return super().forward(x) / 0.0

    for g in (None, lambda t, x, theta: torch.zeros_like(theta)):
        model = NCODE(Velocity(2), gamma=Diverged(2, 2), g=nn.Module() if g else None)
        if g:
            model.g.forward = g
        with pytest.raises(SolveError, match="non-finite"):
            model(torch.ones(3, 2))


# A controller that several models share


def trained_on_halving(model, x):
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(20):
        optimiser.zero_grad()
        (model(x) - x / 2).square().mean().backward()
        optimiser.step()
    return model


def again_by_loading(gamma):
    fresh = OpenLoop(2, gamma.outputs, hidden=(8,))
    fresh.load_state_dict(gamma.state_dict())
    return fresh


@pytest.mark.parametrize("way", [lambda g: g, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g)), again_by_loading])
def test_a_trained_open_loop_in_a_second_model_stays_as_it_is(way):
    torch.manual_seed(0)
    x, gamma = torch.randn(4, 2), OpenLoop(hidden=(8,))
    first = trained_on_halving(NCODE(MLP(2, (4,)), gamma=gamma), x)
    end, control = first(x), gamma(x)
    second = NCODE(MLP(2, (4,)), gamma=way(gamma), horizon=2.0)
    assert torch.equal(first(x), end) and torch.equal(second.initial_control(x), control)
    # All of the field is steered, so what the second does in half of its time is what the first does.
    assert torch.equal(second.trajectory(x, [0.0, 1.0]).x[-1], end)
    with pytest.raises(ValueError, match="gamma: gives 22 control variables, 4 are steered"):
        NCODE(MLP(2, (4,)), gamma=gamma, steer="layers.0.bias")


def test_an_open_loop_that_knows_its_size_begins_at_the_first_fields_parameters():
    torch.manual_seed(0)
    gamma, x = OpenLoop(2, 22, spread=0.0), torch.randn(4, 2)
    fields = [MLP(2, (4,)), MLP(2, (4,))]
    starts = [field.start() for field in fields]
    for field in fields:
        NCODE(field, gamma=gamma)
        assert torch.equal(gamma(x), starts[0].expand(4, -1))


def test_a_kernel_controller_in_a_second_model_stays_as_it_is():
    torch.manual_seed(0)
    x = torch.randn(4, 2, 5, 5)
    features = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(25))
    gamma = KernelController(1, features=features)
    first = NCODE(ConvBlock(2, 5, filters=3), gamma=gamma, steer="*.weight", solver=Solver("rk4", steps=2))
    features[1].eval()
    end, weights = first(x), list(gamma.parameters())
    second = NCODE(ConvBlock(2, 5, filters=3), gamma=gamma, steer="*.weight", solver=Solver("rk4", steps=2))
    assert torch.equal(first(x), end)
    assert all(a is b for a, b in zip(gamma.parameters(), weights, strict=True))
    assert torch.equal(second.initial_control(x), first.initial_control(x))
    # A module that somebody has put to evaluation for good was not woken by the look at its output.
    assert features.training and not features[1].training
    with pytest.raises(ValueError, match=r"gamma: gives \d+ control variables"):
        NCODE(ConvBlock(2, 5, filters=3), gamma=gamma, steer="mix.weight")
    with pytest.raises(ValueError, match="gamma: reads 25 numbers of an image, this one's has 16"):
        gamma = KernelController(1)
        for size in (5, 4):
            NCODE(ConvBlock(2, size, filters=3), gamma=gamma, steer="*.weight")
