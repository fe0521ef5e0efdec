"""Graphed adaptive steps fail as the model does, and what no graph can hold is refused by name."""

import pytest
import torch
from graph_cases import CLOSE, SOLVER, must_agree, solved
from models import Dropped, build
from torch import nn

from ncode import MLP, NCODE, Field, Flow, Graphed, NeuralODE, SolveError, Solver
from ncode.inputs import Interpolated
from ncode.models import Problem

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize(
    ("options", "start"),
    [({}, 5.0), ({"max_nfe": 20}, 5.0), ({"min_step": 1e-2}, 5.0), ({"first_step": 0.3, "max_nfe": 7}, 0.5)],
)
def test_failures_are_the_models(options, start):
    class Square(Field):
        def __init__(self):
            super().__init__(shape=(1,))

        def forward(self, t, x, theta):
            return x**2

    model = NeuralODE(Square(), solver=Solver(rtol=1e-6, atol=1e-6, kernels=False, **options))
    x = torch.tensor([[0.1], [start], [0.5]])
    fast, found = Graphed(model, torch.ones(3, 1)), []
    for call in (model, fast):
        with pytest.raises(SolveError) as raised:
            call(x)
        error = raised.value
        assert error.sample == 1 or options.get("max_nfe") == 7
        assert model.nfe.forward == error.nfe
        found.append((error.reason, error.sample, error.nfe, pytest.approx(error.t, rel=1e-8)))
    assert found[0] == found[1]
    # A failure leaves nothing behind.
    must_agree(fast, 0.3 * torch.rand(3, 1)) if not options else None


def test_what_begins_at_no_number_is_the_models_error():
    model = build("open", SOLVER)
    fast, x = Graphed(model, torch.randn(3, 2)), torch.randn(3, 2)
    x[1] = torch.nan
    with pytest.raises(ValueError, match="x0: sample 1 is not finite"):
        fast(x)
    with torch.no_grad():
        next(model.gamma.parameters()).fill_(torch.inf)
    with pytest.raises(SolveError, match="non-finite values"):
        fast(torch.randn(3, 2))


@pytest.mark.parametrize(
    ("solver", "says"),
    [
        (Solver("rk4"), r"method='rk4' takes fixed steps: capture .* torch\.cuda\.graph"),
        (Solver("rodas4"), "method='rodas4' graphs hold attempts of .*dopri5"),
        (Solver(backend="torchdiffeq"), "backend='torchdiffeq'"),
        (Solver(independent=True), "independent=True"),
        (Solver(compiled=True), "compiled=True"),
        (Solver(gradients="adjoint"), "gradients='adjoint'"),
        (Solver(gradients="checkpointed"), "gradients='checkpointed'"),
    ],
)
def test_solvers_that_no_graph_holds_are_refused(solver, says):
    model = build("node", solver)
    with pytest.raises(ValueError, match=f"solver: {says}"):
        Graphed(model, torch.randn(3, 2))
    model.solver = SOLVER
    fast = Graphed(model, torch.randn(3, 2))
    model.solver = solver
    with pytest.raises(ValueError, match=f"solver: {says}"):
        fast(torch.randn(3, 2))


@pytest.mark.usefixtures("unchecked")
def test_other_shapes_and_kinds_are_refused():
    model = build("node", SOLVER)
    with pytest.raises(TypeError, match="model: must be a Flow"):
        Graphed(nn.Linear(2, 2), torch.randn(3, 2))
    with pytest.raises(TypeError, match="x0: must be a Tensor"):
        Graphed(model, [[0.0, 1.0]])
    fast = Graphed(model, torch.randn(3, 2))
    for x in (torch.randn(4, 2), torch.randn(3, 2).float(), [1.0]):
        with pytest.raises(ValueError, match=r"x0: is .* and not .*, as the example"):
            fast(x)
    with pytest.raises(ValueError, match=r"u: is .* and not no tensor"):
        fast(torch.randn(3, 2), torch.randn(3, 2))
    given = NeuralODE(MLP(2, inputs=1), solver=SOLVER)
    with pytest.raises(ValueError, match="u: the field's slot 'u' is open"):
        Graphed(given, torch.randn(3, 2))
    with pytest.raises(TypeError, match="u: must be a Tensor"):
        Graphed(given, torch.randn(3, 2), Interpolated(torch.tensor([0.0, 1.0]), torch.randn(2, 3, 1)))
    with pytest.raises(ValueError, match="x0: must have shape"):
        Graphed(model, torch.randn(3, 5))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x):
        return self.norm(x)


@pytest.mark.parametrize(
    ("field", "says"), [(Dropped, "draws random numbers"), (Normed, "changes its buffer module.norm")]
)
def test_fields_that_are_no_functions_are_refused_while_they_train(field, says):
    model = NeuralODE(field(), shape=None if field is Dropped else (2,), solver=SOLVER)
    x = torch.randn(4, 2)
    with pytest.raises(ValueError, match=f"field: {says}"):
        Graphed(model, x)
    model.field.eval()
    fast = Graphed(model, x)
    must_agree(fast, x)
    model.train()
    with pytest.raises(ValueError, match=f"field: {says}"):
        fast(x)


def test_dropout_in_gamma_is_drawn_once_a_call():
    gamma = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 12))
    model = NCODE(MLP(2, (2,)), gamma=gamma, solver=SOLVER)
    x = torch.randn(4, 2)
    fast, found = Graphed(model, x), []
    for call in (fast, model):
        torch.manual_seed(3)
        found.append(solved(call, model, x))
    torch.testing.assert_close(found[0][:2], found[1][:2], **CLOSE)
    assert not torch.equal(fast(x), fast(x))


def test_a_tensor_that_would_get_no_gradient_is_refused():
    stray = nn.Linear(2, 2)
    model = NCODE(MLP(2, (3,)), g=lambda t, x, theta: theta * stray(x).sum(1, keepdim=True), solver=SOLVER)
    with pytest.raises(ValueError, match="field: reaches a tensor of shape"):
        Graphed(model, torch.randn(3, 2))


class Stretched(Flow):
    """x' = s(x(0)) f(x), which a subclass poses."""

    named = True

    def problem(self, x0, u=None):
        size = 1 + x0.square().sum(1, keepdim=True)

        def reading(captured):
            by = captured[0] if self.named else size
            return lambda t, z: (by * self.field(t, z[0]),)

        return Problem(reading([size]), (x0,), (size,), reading=reading)


def test_a_problem_of_ones_own_is_solved_or_refused_for_what_a_replay_would_not_see():
    model, x = Stretched(MLP(2, (3,)), solver=SOLVER), torch.randn(3, 2)
    must_agree(Graphed(model, torch.randn(3, 2)), x)
    model.named = False
    with pytest.raises(ValueError, match="model: its right-hand side reads something of x0"):
        Graphed(model, x)

    class Bare(Flow):
        def problem(self, x0, u=None):
            return Problem(lambda t, z: (self.field(t, z[0]),), (x0,))

    with pytest.raises(ValueError, match="model: Bare's problem does not say how"):
        Graphed(Bare(MLP(2, (3,)), solver=SOLVER), x)


def test_second_derivatives_and_transforms_are_refused_by_name():
    model, x = build("open", SOLVER), torch.randn(3, 2, requires_grad=True)
    fast = Graphed(model, x)
    with pytest.raises(RuntimeError, match="Graphed: its gradient has no derivative"):
        torch.autograd.grad(fast(x).sum(), x, create_graph=True)
    for transformed, given in ((torch.func.vmap(fast), torch.randn(5, 3, 2)), (torch.func.jacrev(fast), x.detach())):
        with pytest.raises(RuntimeError, match=r"Graphed: torch\.func's transforms need the model itself"):
            transformed(given)


def test_autocast_and_outer_graphs_are_refused_by_name(monkeypatch):
    model, x = build("node", SOLVER), torch.randn(3, 2)
    fast = Graphed(model, x)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match=r"torch\.autocast"):
        fast(x)
    must_agree(fast, x)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(ValueError, match="captured in a CUDA graph"):
        fast(x)


@pytest.mark.usefixtures("unchecked")
def test_inside_of_a_compiled_model_it_runs_as_it_is():
    model = build("open", SOLVER)
    fast, x = Graphed(model, torch.randn(3, 2)), torch.randn(3, 2)
    whole = nn.Sequential(fast, nn.Linear(2, 1))
    compiled = torch.compile(whole, backend="eager")
    torch.testing.assert_close(compiled(x), whole(x))
