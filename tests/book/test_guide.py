"""The page on a problem of your own: its code runs, and its table of what works with PyTorch is true, cell by cell.

What the page says of the library and does not assert itself has its test elsewhere. In test_backward.py: that the
adjoint's memory does not grow, test_memory_grows_neither_with_the_horizon_nor_with_the_steps; what its second solve
costs, test_open_loop_costs_no_more_evaluations_than_the_solve; a state that is not reconstructed,
test_refinement_that_gets_nowhere_is_a_typed_failure. In test_training.py: resuming to the same bits, and failed steps.
"""

from __future__ import annotations

import copy
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from ncode import Solver
from tests.core.graph_cases import NoReads
from tests.core.models import build

PAGE = Path(__file__).resolve().parents[2] / "book" / "own_problem.md"
TEXT = PAGE.read_text(encoding="utf-8")

COLUMNS = {
    "fixed steps": Solver("rk4", steps=4),
    "adaptive steps": Solver("dopri8", rtol=1e-8, atol=1e-8),
    "checkpointed": Solver("dopri8", rtol=1e-8, atol=1e-8, gradients="checkpointed"),
    "adjoint": Solver("dopri8", rtol=1e-8, atol=1e-8, gradients="adjoint"),
}
# Without control, without a state of its own for the control, and with one.
KINDS = ("node", "open", "both")
# Central differences of step 1e-3 of solves at 1e-8.
DIFFERENCE = {"rtol": 1e-4, "atol": 1e-4}


def test_the_pages_code_runs(monkeypatch):
    """Every Python block, in order, as a reader would paste them; an error names the page's own line."""
    monkeypatch.setenv("TQDM_DISABLE", "1")
    blocks = list(re.finditer(r"^```python\n(.*?)^```", TEXT, re.M | re.S))
    assert len(blocks) == TEXT.count("```python")
    names: dict = {"__name__": "own_problem"}
    before = torch.get_default_dtype(), torch.get_rng_state()
    for block in blocks:
        above = TEXT[: block.start(1)].count("\n")
        exec(compile("\n" * above + block[1], str(PAGE), "exec"), names)
    assert torch.get_default_dtype() == before[0]
    torch.set_rng_state(before[1])


def table() -> dict[str, dict[str, str]]:
    """The page's last table: each row's cells by column."""
    lines = [line for line in TEXT[TEXT.index("## What works with PyTorch") :].splitlines() if line.startswith("|")]
    (_, *columns), _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {name: dict(zip(columns, cells, strict=True)) for name, *cells in rows}


TABLE = table()
SLOW = ("`torch.compile(model)`", "`model.field.compile()`")
CELLS = [
    pytest.param(row, column, id=f"{row}-{column}", marks=pytest.mark.slow if row in SLOW else ())
    for row, cells in TABLE.items()
    for column in cells
]
BATCHES = (3, 5)


def states() -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of states, and a direction."""
    torch.manual_seed(1)
    return torch.randn(3, 2), torch.randn(3, 2)


def along(f, x, v, h: float = 1e-3):
    """The derivative of ``f`` at ``x`` along ``v``, by central differences."""
    return (f(x + h * v) - f(x - h * v)) / (2 * h)


def double_backward(model):
    x, v = states()

    def gradient(y):
        y = y.detach().requires_grad_()
        return torch.autograd.grad(model(y).square().sum(), y, create_graph=True)[0], y

    first, y = gradient(x)
    (second,) = torch.autograd.grad((first * v).sum(), y)
    torch.testing.assert_close(second, along(lambda z: gradient(z)[0], x, v).detach(), **DIFFERENCE)


def jacobian(model):
    x, v = states()
    matrix = torch.autograd.functional.jacobian(model, x)
    with torch.no_grad():
        torch.testing.assert_close(torch.einsum("ijkl,kl->ij", matrix, v), along(model, x, v), **DIFFERENCE)


def func_jvp(model):
    x, v = states()
    expected = along(model, x, v).detach()
    torch.testing.assert_close(torch.func.jvp(model, (x,), (v,))[1].detach(), expected, **DIFFERENCE)


def func_jacrev(model):
    x, v = states()
    matrix = torch.func.jacrev(model)(x).detach()
    torch.testing.assert_close(torch.einsum("ijkl,kl->ij", matrix, v), along(model, x, v).detach(), **DIFFERENCE)


def func_functional_call(model):
    x, _ = states()
    values = {name: p.detach() for name, p in model.named_parameters()}
    found = torch.func.grad(lambda p: torch.func.functional_call(model, p, (x,)).square().sum())(values)
    model(x).square().sum().backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(found[name], p.grad)


def loose(solver, steps):
    """The same method at the default tolerance, or in so many steps."""
    return Solver(solver.method, gradients=solver.gradients, **({} if solver.adaptive else {"steps": steps}))


def vmap(model):
    x, v = states()
    found = torch.func.vmap(model)(torch.stack([x, v]))
    torch.testing.assert_close(found, torch.stack([model(x), model(v)]), **DIFFERENCE)


def exported(model):
    x, v = states()
    whole = torch.export.export(model.eval(), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    both = torch.cat([x, v])
    torch.testing.assert_close(whole(both), model(both))


def autocast(model):
    """In float32, which autocast casts, and with a tolerance that bfloat16 can meet."""
    model = model.float()
    model.solver = loose(model.solver, steps=4)
    x = states()[0].float()
    expected = model(x).detach()
    model(x).square().sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        end = model(x)
        loss = end.square().sum()
    loss.backward()
    # Two to three digits, and that they are not more: otherwise nothing was cast.
    assert 1e-6 < (end - expected).norm() / expected.norm() < 0.03
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        assert (p.grad - gradient).norm() < 0.1 * gradient.norm()


def inference_mode(model):
    x, _ = states()
    with torch.inference_mode():
        end, path = model(x), model.trajectory(x, [0.0, 0.5, 1.0])
    assert end.is_inference() and path.x.is_inference()
    torch.testing.assert_close(end, model(x))
    model(x).sum().backward()  # nothing of it was kept


def state_dict(model):
    x, _ = states()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(model)
    for p in other.parameters():
        torch.nn.init.zeros_(p)
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(torch.load(file))
    assert torch.equal(other(x), model(x))


def copies(model):
    x, _ = states()
    model(x).sum().backward()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded):
        assert torch.equal(other(x), model(x))
        assert other.nfe == model.nfe and other.solver == model.solver


def same_when_compiled(model, compiled):
    """Values and gradients, of the ``model`` before and ``compiled`` after.

    With two batches: for the second, PyTorch compiles for all sizes, and only then takes the field's buffers.
    """
    for batch in BATCHES:
        x = torch.randn(batch, 2)
        found = []
        for call in (model, compiled):
            model.zero_grad()
            end = call(x)
            end.square().sum().backward()
            found.append([end.detach(), *(p.grad.clone() for p in model.parameters())])
        torch.testing.assert_close(found[1], found[0])


def compiled_model(model):
    model.solver = replace(model.solver, kernels=False)
    same_when_compiled(model, torch.compile(model))


def compiled_field(model):
    model.solver = replace(model.solver, kernels=False)
    plain = copy.deepcopy(model)
    model.field.compile()
    for batch in BATCHES:
        x = torch.randn(batch, 2)
        for one in (plain, model):
            one.zero_grad()
            one(x).square().sum().backward()
        torch.testing.assert_close(model(x), plain(x))
        for a, b in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad)


def as_a_user_has_it(check: str, kind: str, column: str) -> None:
    """Run a check in a process of its own: PyTorch does not compile what the tests wrap around the library."""
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler, which torch.compile calls")
    if " " in torch.__file__:
        pytest.skip("torch.compile does not link where torch's own path has a space")
    setting = "import test_guide as t; t.torch.set_default_dtype(t.torch.float64)"
    code = f"{setting}; t.{check}(t.build({kind!r}, t.COLUMNS[{column!r}]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PAGE.parents[1]), str(Path(__file__).parent)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]


def cuda_graph(model):
    """A step of training captures; test_gpu.py replays it. Without a GPU: nothing is read while one would capture."""
    x, _ = states()
    parameters = list(model.parameters())
    expected = torch.autograd.grad(model(x).square().sum(), parameters)
    with (
        mock.patch.object(torch.cuda, "is_initialized", lambda: True),
        mock.patch.object(torch.cuda, "is_current_stream_capturing", lambda: True),
        NoReads(),
    ):
        found = torch.autograd.grad(model(x).square().sum(), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


CHECKS = {
    "double backward, `create_graph=True`": (double_backward,),
    "`torch.autograd.functional.jacobian`": (jacobian,),
    "`torch.func.jvp`, `jacrev`, `functional_call`": (func_jvp, func_jacrev, func_functional_call),
    "`torch.func.vmap` over a flow": (vmap,),
    "`torch.export.export(model)`": (exported,),
    "`torch.autocast` in bfloat16": (autocast,),
    "`torch.inference_mode`": (inference_mode,),
    "`state_dict`": (state_dict,),
    "`copy.deepcopy`, `pickle`, `torch.save`": (copies,),
    "`torch.compile(model)`": (compiled_model,),
    "`model.field.compile()`": (compiled_field,),
    "`torch.cuda.graph`": (cuda_graph,),
}


def test_every_row_has_its_check_and_no_check_is_without_a_row():
    assert TABLE.keys() == CHECKS.keys()
    assert all(list(cells) == list(COLUMNS) for cells in TABLE.values())
    assert {cell for cells in TABLE.values() for cell in cells.values()} == {"yes", "no"}


@pytest.mark.parametrize(("row", "column"), CELLS)
def test_what_works_with_pytorch(row, column, float64):
    if row in SLOW:
        # One kind: it takes the compiler's time.
        as_a_user_has_it(CHECKS[row][0].__name__, "open", column)
        return
    for kind in KINDS:
        for check in CHECKS[row]:
            model = build(kind, COLUMNS[column])
            if TABLE[row][column] == "yes":
                check(model)
            else:
                with pytest.raises((RuntimeError, ValueError)):
                    check(model)


def test_autocast_costs_evaluations_where_the_tolerance_is_below_its_rounding():
    model = build("node", Solver(rtol=1e-5, atol=1e-5))
    x = torch.randn(16, 2)
    model(x)
    plain = model.nfe.forward
    with torch.autocast("cpu", torch.bfloat16):
        model(x)
    assert model.nfe.forward > 2 * plain
