"""Fixed steps under a GPU's graphs. Without a GPU: while one captures, nothing is read off a tensor."""

import pytest
import torch
from graph_cases import NoReads, Own
from models import KINDS, build

from ncode import NeuralODE, Solver
from ncode.fields.conv import ConvBlock
from ncode.solvers.options import FIXED


def models(solver):
    for kind in KINDS:
        yield build(kind, solver), (2,)
    yield NeuralODE(Own(), solver=solver), (2,)
    yield NeuralODE(ConvBlock(2, 6, filters=4), solver=solver), (2, 6, 6)


@pytest.fixture
def capture(monkeypatch):
    """As if the current stream were being captured."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)


@pytest.mark.parametrize("method", FIXED)
def test_fixed_steps_read_no_number_while_a_graph_is_captured(method, request):
    torch.manual_seed(0)
    made = []
    for model, shape in models(Solver(method, steps=3)):
        x = torch.randn(4, *shape)
        # As torch.cuda.graph asks: once before, which looks at the field and makes constants.
        end = model(x)
        made.append((model, x, torch.autograd.grad(end.square().sum(), list(model.parameters()))))
    request.getfixturevalue("capture")
    for model, x, expected in made:
        with NoReads():
            found = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.usefixtures("capture")
@pytest.mark.parametrize(
    "solver", [Solver(), Solver("rk4", gradients="checkpointed"), Solver("rk4", gradients="adjoint")]
)
def test_what_reads_numbers_is_refused_by_name_while_a_graph_is_captured(solver):
    with pytest.raises(ValueError, match="captured in a CUDA graph"):
        build("node", solver)(torch.randn(4, 2))
