"""What the pages on Sections 2 and 3 measure, where the answer is known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
import torch

from ncode import MLP, NCODE, ClosedLoop, DataControlledODE, NeuralODE, OpenLoop, Solver
from ncode.fields.elementary import Linear
from ncode.reproduction.experiments.neural_odes import analysis as neural_odes
from ncode.reproduction.experiments.open_and_closed_loop import analysis as loops
from ncode.reproduction.experiments.open_and_closed_loop import tables, verdict
from ncode.reproduction.experiments.proposition_1 import analysis as proposition


@pytest.mark.parametrize("write", [loops.as_slot, loops.as_bias])
def test_data_control_is_an_open_loop_in_either_writing(write):
    torch.manual_seed(0)
    solver = Solver(rtol=1e-9, atol=1e-9)
    data = DataControlledODE(MLP(2, (4,), inputs=2), solver=solver).double()
    x0 = torch.randn(5, 2, dtype=torch.float64)
    same = write(data, 2, 4).double()
    assert loops.difference(same, data, x0) < 1e-7
    with torch.no_grad():
        data.field.layers[0].bias.add_(0.1)
    assert loops.difference(same, data, x0) > 1e-3


def test_a_crossing_is_counted_in_x_and_absent_in_z():
    # Two points that change places in x, at a distance of one in θ all the time.
    x = torch.tensor([[[0.0], [1.0]], [[1.0], [0.0]]])
    theta = torch.tensor([[[0.0], [1.0]], [[0.0], [1.0]]])
    assert loops.crossings(SimpleNamespace(x=x, theta=theta)) == (1, pytest.approx(1.0))
    assert loops.crossings(SimpleNamespace(x=x[[0, 0]], theta=None)) == (0, 1.0)


def test_a_field_changes_with_time_in_the_closed_loop_and_not_in_the_open_one():
    torch.manual_seed(0)
    x0 = torch.linspace(-1, 1, 3).unsqueeze(1)
    given = {"horizon": 1.0, "solver": Solver(rtol=1e-6, atol=1e-6)}
    opened = NCODE(MLP(1, (4,)), gamma=OpenLoop(hidden=(4,), spread=1.0), **given)
    closed = NCODE(MLP(1, (4,)), g=ClosedLoop(hidden=(4,), spread=2.0), **given)
    assert loops.change_of_field(opened, x0, 1.0) == 0.0
    assert loops.change_of_field(closed, x0, 1.0) > 0.01


def test_the_order_of_a_method_is_the_slope_of_its_error():
    depths = np.array([4, 8, 16, 32])
    errors = {"euler": list(3.0 / depths), "rk4": list(7.0 / depths**4)}
    order = neural_odes.orders(depths, errors)
    assert order == {"euler": pytest.approx(1), "rk4": pytest.approx(4)}


def test_contraction_multiplies_the_error_of_the_way_back():
    flat = Linear(1).double()
    x0 = torch.ones(1, 1, dtype=torch.float64)
    errors = {rate: np.array([neural_odes.returned(flat, x0, rate, 1e-6)]) for rate in (0.0, 6.0)}
    assert neural_odes.growth({6.0: errors[6.0]})[6.0] > math.exp(5)
    assert errors[0.0].max() < 1e-12


def test_direct_gradients_save_more_with_more_steps_and_the_adjoint_does_not():
    field, x0 = MLP(2, (4,)), torch.randn(3, 2)
    found = {way: [neural_odes.saved(field, x0, way, steps)[0] for steps in (2, 8)] for way in ("direct", "adjoint")}
    assert found["direct"][1] > 3 * found["direct"][0]
    assert found["adjoint"][0] == found["adjoint"][1]


def test_the_flow_of_an_autonomous_field_composes():
    field = MLP(2, (4,)).double()
    flow = lambda T: NeuralODE(field, horizon=T, solver=Solver(rtol=1e-10, atol=1e-10))  # noqa: E731
    assert neural_odes.composes(flow, torch.randn(3, 2, dtype=torch.float64)) < 1e-7


def test_computer_algebra_can_say_no():
    t, x0 = sp.Symbol("t"), sp.Symbol("x_0", real=True)
    assert set(proposition.symbolic(x0 * (1 - t), x0 * sp.cos(t)).values()) == {True}
    wrong = proposition.symbolic(x0 * (1 - t / 2), x0 * sp.cos(2 * t))
    assert set(wrong.values()) == {False}
    assert proposition.determinant([[0, 1], [-1, 0]]) == 1
    assert proposition.determinant([[1, 0], [0, 0]]) != 1


def test_the_coupled_systems_verdict_follows_from_crossings_and_agreement():
    agreement = {"node": 1e-9, "open": 1e-9, "closed": 1e-9}
    crossed = {"node": (0, 0.5), "open": (3, 0.5), "closed": (2, 0.5)}
    rest = ((0, 1.0), {"open": 0.0, "closed": 0.5})
    found = verdict.n3(verdict.n3_checks(agreement, crossed, *rest))
    assert [(one.part, one.exact) for one in found] == [("a", True), ("b", True), ("c", True), ("d", True)]
    assert tables.crossings(crossed, agreement)[1][1] == "3"
    met = verdict.n3(verdict.n3_checks(agreement, {**crossed, "closed": (0, 0.001)}, *rest))
    assert [one.exact for one in met] == [False, False, True, True]
    still = {"open": 0.0, "closed": 0.0}
    # A control that all share and that does not move says nothing of time-dependent fields.
    for replayed in ((1, 1.0), (0, 0.0)):
        found = verdict.n3(verdict.n3_checks(agreement, crossed, replayed, still))
        assert [one.exact for one in found] == [True, True, False, False]
    parity = {"slot": 1e-12, "bias": 1e-3}
    assert verdict.n6(verdict.n6_checks(parity))[0].exact is False
