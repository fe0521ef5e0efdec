"""Graphed adaptive steps give what the model itself gives. Without a GPU: all but the capture."""

import copy
import pickle

import pytest
import torch
from models import KINDS, Dropped, build
from test_cuda_graphs import READS, NoReads, Own
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from ncode import (
    MLP,
    NCODE,
    AugmentedNeuralODE,
    Field,
    Flow,
    Graphed,
    NeuralODE,
    OpenLoop,
    Solver,
    SolveError,
)
from ncode.fields.conv import ConvBlock
from ncode.inputs import Interpolated
from ncode.models import Problem
from ncode.solvers import graphed
from ncode.solvers.options import EXPLICIT
from ncode.training import Batches, fit

pytestmark = pytest.mark.usefixtures("float64")

SOLVER = Solver(rtol=1e-5, atol=1e-5)
# Both take the same steps; h multiplies a sum here, and its terms there.
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def conv(solver=SOLVER):
    torch.manual_seed(0)
    field = ConvBlock(2, 6, filters=4)
    return NCODE(field, gamma=OpenLoop(2 * 36, field.size(), hidden=(3,)), solver=solver)


def solved(call, model, x, *u):
    """x(T), its gradients with respect to x(0), u and all parameters, and the evaluations."""
    leaves = [part.detach().clone().requires_grad_() for part in (x, *u)]
    end = call(*leaves)
    found = torch.autograd.grad(end.square().sum(), [*leaves, *model.parameters()], allow_unused=True)
    return end.detach(), found, model.nfe


def must_agree(fast, x, *u):
    """``fast`` and its model give the same at x."""
    model = fast.model
    (end, found, nfe), (other, expected, eager) = solved(fast, model, x, *u), solved(model, model, x, *u)
    torch.testing.assert_close(end, other, **CLOSE)
    assert nfe.forward == eager.forward and nfe.backward > 0
    for one, two in zip(found, expected, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, **CLOSE)


def moved(model, by=0.1):
    """As an optimiser does: all parameters in place."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(by * torch.randn_like(p))


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("kind", KINDS)
def test_ends_and_gradients_are_the_models(kind, method):
    model = build(kind, Solver(method, rtol=1e-5, atol=1e-5))
    fast = Graphed(model, torch.randn(4, 2))
    for _ in range(2):
        must_agree(fast, torch.randn(4, 2))
        moved(model)


def test_a_convolutional_block_in_the_open_loop():
    model = conv(Solver())
    fast = Graphed(model, torch.randn(3, 2, 6, 6))
    for _ in range(2):
        must_agree(fast, torch.randn(3, 2, 6, 6))
        moved(model, 0.01)


@pytest.mark.parametrize(
    "options",
    [
        {"controller": "PI"},
        {"norm": "mean"},
        {"rtol": (1e-3, 1e-6), "atol": (1e-4, 1e-6)},
        {"first_step": 0.01, "max_step": 0.1},
        {"jumps": (0.3, 0.7)},
    ],
)
def test_the_solvers_options_are_the_loops(options):
    model = build("both", Solver("tsit5", kernels=False, **options))
    must_agree(Graphed(model, torch.randn(4, 2)), torch.randn(4, 2))


def test_a_jump_is_a_jump():
    class Switched(Field):
        def __init__(self):
            super().__init__(shape=(1,))
            self.early, self.late = (nn.Parameter(torch.tensor([rate])) for rate in (0.5, 1.0))

        def forward(self, t, x, theta):
            return torch.where(t < 0.5, self.early, self.late) * x

    model = NeuralODE(Switched(), solver=Solver(rtol=1e-8, atol=1e-8, jumps=(0.5,)))
    fast = Graphed(model, torch.ones(2, 1))
    must_agree(fast, torch.randn(2, 1))
    # x(1) = exp((early + late) / 2), so its derivative to either is half of that.
    end, (_, *rates), nfe = solved(fast, model, torch.ones(2, 1))
    torch.testing.assert_close(end, torch.full_like(end, 0.75).exp(), rtol=1e-6, atol=0)
    torch.testing.assert_close(torch.cat(rates), torch.tensor([1.5, 1.5]).exp() * 2, rtol=1e-6, atol=0)
    assert nfe.forward < 250


def test_time_runs_backward_and_reaches_the_field():
    model = NeuralODE(Own(), horizon=-1.5, solver=SOLVER)
    timed = NeuralODE(Wave(), horizon=2.0, solver=Solver("bosh3", rtol=1e-6, atol=1e-6))
    for one in (model, timed):
        must_agree(Graphed(one, torch.randn(3, 2)), torch.randn(3, 2))


class Wave(nn.Module):
    """x' = r cos t and a parameter that nothing reads."""

    def __init__(self):
        super().__init__()
        self.rate, self.unread = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))

    def forward(self, t, x):
        assert t.dim() == 0
        return (self.rate * torch.cos(t)).expand_as(x)


def test_inputs_of_a_call():
    model = NeuralODE(MLP(2, (4,), inputs=3), solver=SOLVER)
    x, u = torch.randn(4, 2), torch.randn(4, 3)
    fast = Graphed(model, x, u)
    for _ in range(2):
        must_agree(fast, torch.randn(4, 2), torch.randn(4, 3))
    # u beside x(0) in the open loop, where another slot is γ's.
    steered = NCODE(MLP(2, (4,), inputs=3), gamma=OpenLoop(2), steer="layers.*.bias", solver=SOLVER)
    must_agree(Graphed(steered, x, u), torch.randn(4, 2), torch.randn(4, 3))


def test_any_module_steered():
    field = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2))
    model = NCODE(field, gamma=OpenLoop(), steer="0.*", shape=(2,), solver=SOLVER)
    must_agree(Graphed(model, torch.randn(3, 2)), torch.randn(3, 2))


def test_augmented_states_are_shown_as_the_model_shows_them():
    model = AugmentedNeuralODE(MLP(4, (5,)), augment=2, project=False, solver=SOLVER)
    must_agree(Graphed(model, torch.randn(3, 2)), torch.randn(3, 2))


def test_frozen_parameters_and_states_without_gradient():
    model = build("some", SOLVER)
    fast, x = Graphed(model, torch.randn(4, 2)), torch.randn(4, 2)
    for p in model.field.parameters():
        p.requires_grad_(False)
    leaves = [p for p in model.parameters() if p.requires_grad]
    found, expected = (torch.autograd.grad(call(x).sum(), leaves) for call in (fast, model))
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, **CLOSE)
    with torch.no_grad():
        assert not fast(x).requires_grad and model.nfe.backward == 0
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), model(x), **CLOSE)
    must_train = Graphed(model.requires_grad_(), x)
    with torch.inference_mode():
        must_train.record(x)
        must_train(x)
    must_agree(must_train, x)


# Nothing is stale.


@pytest.mark.parametrize("kind", KINDS)
def test_two_calls_before_their_backward_passes(kind):
    model = build(kind, SOLVER)
    fast = Graphed(model, torch.randn(4, 2))
    xs = [torch.randn(4, 2, requires_grad=True) for _ in range(2)]
    leaves = [*xs, *model.parameters()]
    for order in ((0, 1), (1, 0)):
        # A path of the first must not be the second's, nor what it was posed on.
        ends, others = ([call(x) for x in xs] for call in (fast, model))
        for i in order:
            torch.testing.assert_close(ends[i], others[i], **CLOSE)
            for again in range(2):
                found, expected = (
                    torch.autograd.grad(one[i].square().sum(), leaves, retain_graph=True, allow_unused=True)
                    for one in (ends, others)
                )
                for one, two in zip(found, expected, strict=True):
                    # A tensor of one call is none of the other's.
                    assert (one is None) == (two is None), again
                    if one is not None:
                        torch.testing.assert_close(one, two, **CLOSE)
    both, expected = (torch.autograd.grad((call(xs[0]) * call(xs[1])).sum(), leaves) for call in (fast, model))
    for one, two in zip(both, expected, strict=True):
        torch.testing.assert_close(one, two, **CLOSE)


def test_results_outlive_the_next_call():
    model = build("open", SOLVER)
    fast = Graphed(model, torch.randn(4, 2))
    first = solved(fast, model, torch.randn(4, 2))
    kept = copy.deepcopy(first)
    solved(fast, model, torch.randn(4, 2))
    torch.testing.assert_close(first[0], kept[0], rtol=0, atol=0)
    for one, two in zip(first[1], kept[1], strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["anode", "open", "both"])
def test_training_takes_the_models_course(kind):
    torch.manual_seed(1)
    data = torch.randn(32, 2)
    ends = []
    for graphed in (True, False):
        model = build(kind, SOLVER)
        call = Graphed(model, data[:8]) if graphed else model
        optimiser = torch.optim.AdamW(call.parameters(), lr=0.05)
        history = fit(
            call, lambda m, b: ((m(b[0]) - b[0].abs()).square().mean(), {}), Batches(data, size=8), 12, optimiser
        )
        ends.append((history.loss, history.nfe_forward, [p.detach().clone() for p in model.parameters()]))
    (loss, nfe, found), (other, counted, expected) = ends
    assert nfe == counted
    assert loss == pytest.approx(other, rel=1e-8) and loss[-1] != loss[0]
    for one, two in zip(found, expected, strict=True):
        # Adam divides by gradients' sizes, small ones included.
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("change", ["moved", "replaced", "loaded", "assigned", "solver", "horizon", "eval", "none"])
def test_what_changes_between_calls_is_seen(change):
    model = build("closed", SOLVER)
    model.field = Switching(model.field)
    x = torch.randn(4, 2)
    fast = Graphed(model, x)
    must_agree(fast, x)
    before = fast(x).detach()
    if change == "moved":
        for p in model.parameters():
            p.data = p.data + 0.1
    elif change == "replaced":
        model.g.layers[0].weight = nn.Parameter(0.5 * torch.ones_like(model.g.layers[0].weight))
    elif change in ("loaded", "assigned"):
        other = {name: value + 0.1 for name, value in model.state_dict().items()}
        model.load_state_dict(other, assign=change == "assigned")
    elif change == "solver":
        model.solver = Solver("bosh3", rtol=1e-2, atol=1e-2)
    elif change == "horizon":
        model.horizon = 1.5
    elif change == "eval":
        model.eval()
    must_agree(fast, x)
    assert torch.equal(fast(x).detach(), before) == (change == "none")


class Switching(Field):
    """A field that runs at another speed in evaluation."""

    def __init__(self, inner):
        super().__init__(shape=inner.shape)
        self.inner, self.steered = inner, inner.steered

    def forward(self, t, x, theta):
        return self.inner(t, x, theta) * (1.0 if self.training else 0.5)


@pytest.mark.parametrize("how", ["in place", "moved", "frozen", "buffer"])
def test_a_change_between_forward_and_backward_is_refused(how):
    field = Own()
    field.layer.bias.requires_grad_(False)
    field.register_buffer("shift", torch.zeros(2))
    fast = Graphed(NeuralODE(field, solver=SOLVER), torch.randn(3, 2))
    loss = fast(torch.randn(3, 2)).sum()
    with torch.no_grad():
        if how == "in place":
            field.layer.weight.add_(1.0)
        elif how == "moved":
            field.layer.weight.data = field.layer.weight.data + 1.0
        elif how == "frozen":
            field.layer.bias.add_(1.0)
        else:
            field.shift.add_(1.0)
    with pytest.raises(RuntimeError, match="between forward and backward"):
        loss.backward()


def test_copies_record_for_themselves():
    model = build("open", SOLVER)
    x = torch.randn(4, 2)
    fast = Graphed(model, x)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        moved(other.model)
        must_agree(other, x)
        assert not torch.equal(other(x), fast(x))
    must_agree(fast, x)


# One number a step.


class Reads(TorchDispatchMode):
    """Counts what brings a number off the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += any(name in str(function) for name in READS)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_reads_one_number_and_its_gradient_none(kind):
    counted = []
    for tolerance in (1e-2, 1e-8):
        model = build(kind, Solver(rtol=tolerance, atol=tolerance))
        x = torch.randn(4, 2)
        fast = Graphed(model, x)
        with Reads() as reads:
            end = fast(x)
        # Six evaluations a step, and two to begin.
        counted.append((reads.count, (model.nfe.forward - 2) // 6))
        with NoReads():
            end.sum().backward()
    (few, short), (many, long) = counted
    assert long > short and many - few == long - short
    assert few - short <= 4


@pytest.mark.parametrize("method", EXPLICIT)
def test_what_is_recorded_reads_no_number_and_copies_none(method):
    torch.manual_seed(0)
    for model, shape in (
        *((build(kind, Solver(method)), (2,)) for kind in KINDS),
        (NeuralODE(Own(), solver=Solver(method)), (2,)),
        (NCODE(Own(), gamma=OpenLoop(), shape=(2,), solver=Solver(method)), (2,)),
        (conv(Solver(method, rtol=(1e-3,), atol=(1e-3,))), (2, 6, 6)),
    ):
        fast = Graphed(model, torch.randn(4, *shape))
        _, recording = fast._recording
        functions = (recording.velocity_, recording.attempt_, *recording.gradients())
        assert len(functions) == 4
        with NoReads():
            for one in functions:
                one.function()


class Traced:
    """As a GPU captures: operations on memory are recorded, and Python is not run again."""

    def __init__(self, function, device):
        self.function = function
        self.graph = make_fx(function, tracing_mode="real")()
        self.found = tuple(part.clone() for part in self.graph())

    def replay(self):
        for kept, part in zip(self.found, self.graph(), strict=True):
            kept.copy_(part)
        return self.found


@pytest.fixture
def traced(monkeypatch):
    monkeypatch.setattr(graphed, "Recorded", Traced)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("method", ["dopri5", "adaptive_heun"])
@pytest.mark.parametrize("kind", [*KINDS, "conv", "module"])
def test_what_is_recorded_runs_without_python(kind, method):
    solver = Solver(method, rtol=1e-4, atol=1e-4)
    field = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2))
    if kind == "conv":
        model, shape = conv(solver), (2, 6, 6)
    elif kind == "module":
        model, shape = NCODE(field, gamma=OpenLoop(), steer="0.*", shape=(2,), solver=solver), (2,)
    else:
        model, shape = build(kind, solver), (2,)
    fast = Graphed(model, torch.randn(3, *shape))
    for _ in range(3):
        must_agree(fast, torch.randn(3, *shape))
        moved(model, 0.02)
    assert isinstance(fast._recording[1].attempt_, Traced)


@pytest.mark.usefixtures("traced")
def test_what_is_recorded_is_that_of_its_time():
    field = Switching(MLP(2, (3,)))
    model = NeuralODE(field, solver=SOLVER)
    fast, x = Graphed(model, torch.randn(3, 2)), torch.randn(3, 2)
    before = fast(x).detach()
    field.forward = lambda t, x, theta: -x
    # Python changed and nothing that a recording could see: what the documentation says of it holds.
    assert torch.equal(fast(x), before)
    fast.record(x)
    must_agree(fast, x)


def test_results_lie_where_the_first_ones_lay():
    # As a GPU's graph leaves them: what is kept beyond the next replay has to be a copy.
    model = build("open", SOLVER)
    fast = Graphed(model, torch.randn(4, 2))
    _, recording = fast._recording
    places = [part.data_ptr() for part in recording.attempt_.found]
    assert [part.data_ptr() for part in recording.attempt_.replay()] == places


# Failures and refusals.


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
        with pytest.raises(ValueError, match="x0: is .* and not .*, as the example"):
            fast(x)
    with pytest.raises(ValueError, match="u: is .* and not no tensor"):
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
