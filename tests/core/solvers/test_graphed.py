"""Graphed adaptive steps give what the model itself gives. Without a GPU: all but the capture."""

import copy
import pickle

import pytest
import torch
from graph_cases import CLOSE, SOLVER, Own, Switching, Traced, conv, moved, must_agree, solved
from models import KINDS, Switched, build
from torch import nn

from ncode import MLP, NCODE, AugmentedNeuralODE, Graphed, NeuralODE, OpenLoop, Solver
from ncode.solvers import graphed
from ncode.solvers.options import EXPLICIT
from ncode.training import Batches, fit

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("kind", KINDS)
def test_ends_and_gradients_are_the_models(kind, method):
    tolerance = 1e-3 if method == "adaptive_heun" else 1e-5
    model = build(kind, Solver(method, rtol=tolerance, atol=tolerance))
    fast = Graphed(model, torch.randn(4, 2))
    moved(model)
    must_agree(fast, torch.randn(4, 2))


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
    fast.record(x)
    model.requires_grad_()
    must_agree(fast, x)
    must_train = Graphed(model, x)
    with torch.inference_mode():
        must_train.record(x)
        must_train(x)
    must_agree(must_train, x)


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
    for fast in (True, False):
        model = build(kind, SOLVER)
        call = Graphed(model, data[:8]) if fast else model
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
def test_what_changes_between_calls_is_seen(change, monkeypatch):
    # Run anew, a function would see by itself what a graph does not.
    monkeypatch.setattr(graphed, "Recorded", Traced)
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
