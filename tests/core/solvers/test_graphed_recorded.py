"""What a graph would hold of adaptive steps: operations on fixed memory, and no number that is read."""

import pytest
import torch
from graph_cases import READS, SOLVER, NoReads, Own, Switching, conv, moved, must_agree
from models import KINDS, build
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from ncode import MLP, NCODE, Graphed, NeuralODE, OpenLoop, Solver
from ncode.solvers import graphed
from ncode.solvers.options import EXPLICIT

pytestmark = pytest.mark.usefixtures("float64")


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


class Traced(graphed.Recorded):
    """As a GPU captures: operations on memory are recorded, and Python is not run again."""

    def __init__(self, function, device):
        self.function, self.device = function, device
        self.graph = make_fx(lambda: function())()
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
    solver = Solver(method)
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
