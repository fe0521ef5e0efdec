"""The linear flow: against closed forms, the matrix exponential and dopri5; its gradients; what overflows."""

import math

import pytest
import torch

from ncode import NCODE, SolveError, Solver
from ncode.fields.elementary import Linear
from ncode.reproduction.models.autoencoders import scattered
from ncode.solvers import linear
from ncode.solvers.linear import sparse_linear_flow

WAYS = ("action", "squaring")
both = pytest.mark.parametrize("way", WAYS)


def sparse(batch, k, m, scale, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return scale * torch.randn(batch, k, m, dtype=dtype), scattered(k, m), torch.randn(m, dtype=dtype)


def relative(x, exact):
    return ((x.double() - exact).norm(dim=-1) / exact.norm(dim=-1)).max().item()


@both
def test_decay_and_rotation_are_exact(way):
    # x' = -ax, and a rotation with frequency w: both known in closed form, at several times of one call.
    a, w, t = 3.0, 2.0, [0.0, 0.3, 1.7, 4.0]
    decay, rotation = torch.diag(torch.tensor([-a, -a])), torch.tensor([[0.0, -w], [w, 0.0]])
    x = linear.linear_flow(torch.stack([decay, rotation]), torch.tensor([1.0, 0.0]), t, way)
    for k, moment in enumerate(t):
        # Relative to the solution's own size, also where it has decayed to 6e-6.
        assert relative(x[k, 0], torch.tensor([math.exp(-a * moment), 0.0], dtype=torch.float64)) < 1e-6
        circle = torch.tensor([math.cos(w * moment), math.sin(w * moment)], dtype=torch.float64)
        assert relative(x[k, 1], circle) < 1e-6


@both
@pytest.mark.parametrize(("m", "k", "scale"), [(25, 2, 0.05), (25, 2, 0.8), (64, 2, 0.5), (8, 8, 0.7), (1, 1, 0.5)])
def test_float32_is_exact_to_1e_6(way, m, k, scale):
    entries, columns, x0 = sparse(5, k, m, scale)
    x = sparse_linear_flow(entries, columns, x0, [10.0], way)[0]
    matrix = linear.dense(entries, columns).double()
    assert relative(x, torch.matrix_exp(10 * matrix) @ x0.double()) < 1e-6


@both
def test_float64_is_exact_to_its_own_rounding(way):
    entries, columns, x0 = sparse(4, 2, 12, 0.5, torch.float64)
    x = sparse_linear_flow(entries, columns, x0, [10.0], way)[0]
    # Rounding of about 1e-16 an operation, amplified by at most the condition of exp at ‖10θ‖ ≈ 10.
    assert relative(x, torch.matrix_exp(10 * linear.dense(entries, columns)) @ x0) < 1e-12


def test_a_full_matrix_is_a_sparse_one():
    entries, columns, x0 = sparse(3, 2, 9, 0.3)
    one = sparse_linear_flow(entries, columns, x0, [2.0, 5.0])
    full = linear.linear_flow(linear.dense(entries, columns), x0.expand(3, 9), [2.0, 5.0])
    torch.testing.assert_close(one, full, rtol=1e-6, atol=1e-6)


def test_agrees_with_dopri5():
    entries, columns, x0 = sparse(6, 2, 10, 0.2, torch.float64)
    field = Linear(10).double()
    theta = linear.dense(entries, columns)
    model = NCODE(
        field, gamma=Constant(theta.flatten(1)), horizon=10.0, solver=Solver("dopri5", rtol=1e-10, atol=1e-10)
    )
    start, upstream = x0.expand(6, 10), torch.randn(6, 10, dtype=torch.float64)
    theirs = model(start)
    (expected,) = torch.autograd.grad((theirs * upstream).sum(), model.gamma.theta)
    entries.requires_grad_()
    ours = sparse_linear_flow(entries, columns, x0, [10.0], "action")[-1]
    (got,) = torch.autograd.grad((ours * upstream).sum(), entries)
    # dopri5 at 1e-10: its global error here is about 1e-8.
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)
    where = linear.dense(torch.ones_like(entries), columns).bool()
    placed = linear.dense(got, columns)
    torch.testing.assert_close(placed[where], expected.unflatten(1, (10, 10))[where], rtol=1e-6, atol=1e-6)


class Constant(torch.nn.Module):
    """A controller that ignores x(0)."""

    def __init__(self, theta):
        super().__init__()
        self.theta = torch.nn.Parameter(theta)

    def forward(self, x0):
        return self.theta


@both
def test_gradcheck(way):
    entries, columns, _ = sparse(2, 2, 4, 0.7, torch.float64)
    x0 = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)

    def flow(entries, x0):
        return sparse_linear_flow(entries, columns, x0, [0.0, 0.4, 1.1, 3.0], way)

    assert torch.autograd.gradcheck(flow, (entries.requires_grad_(), x0))


@both
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_a_gradient_penalty_has_the_matrix_exponentials_gradient(way, shape):
    times = [0.0, 0.4, 1.1]
    entries, columns, _ = sparse(2, 2, 3, 0.7, torch.float64)
    x0 = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    inputs = (entries.requires_grad_(), x0)

    def exact(entries, x0):
        matrix = linear.dense(entries, columns)
        return torch.stack([(torch.matrix_exp(t * matrix) @ x0.expand(2, 3).unsqueeze(2)).squeeze(2) for t in times])

    def flow(entries, x0):
        return sparse_linear_flow(entries, columns, x0, times, way)

    def gradients(flow):
        loss = flow(*inputs).sin().sum()
        penalty = sum(g.square().sum() for g in torch.autograd.grad(loss, inputs, create_graph=True))
        return torch.autograd.grad(loss + penalty, inputs)

    # Float64's rounding, with a condition of about ten at ‖1.1θ‖ ≈ 2, twice.
    torch.testing.assert_close(gradients(flow), gradients(exact), rtol=1e-11, atol=1e-11)
    assert torch.autograd.gradgradcheck(flow, inputs)


@pytest.mark.parametrize("which", [0, 1])
def test_a_gradient_penalty_of_one_argument_alone(which):
    entries, columns, x0 = sparse(2, 2, 3, 0.7, torch.float64)
    inputs = [entries, x0]
    inputs[which] = inputs[which].requires_grad_()

    def flow(one):
        given = [one if i == which else tensor for i, tensor in enumerate(inputs)]
        return sparse_linear_flow(given[0], columns, given[1], [0.5, 1.0], "action").square()

    assert torch.autograd.gradgradcheck(flow, inputs[which])


def test_a_matrix_that_needs_a_gradient_is_solved_without_one(float64):
    entries = torch.ones(1, 1, 2, requires_grad=True)
    with torch.no_grad():
        x = sparse_linear_flow(entries, torch.tensor([[0, 1]]), torch.ones(2), [1.0])
    torch.testing.assert_close(x, torch.full((1, 1, 2), math.e))


def test_both_ways_have_the_same_gradient_in_float32():
    entries, columns, x0 = sparse(4, 2, 25, 0.4)
    entries.requires_grad_()
    gradients = []
    for way in WAYS:
        x = sparse_linear_flow(entries, columns, x0, [10.0], way)
        gradients.append(torch.autograd.grad(x.square().sum(), entries)[0])
    assert relative(gradients[0].flatten(1), gradients[1].flatten(1).double()) < 1e-5


@both
@pytest.mark.parametrize("size", [1e-30, 30.0, 3e3])
def test_any_bounded_matrix_that_does_not_grow_has_finite_values_and_gradients(way, size):
    if (way, size) == ("action", 3e3):
        pytest.skip("thousands of steps; the choice never takes them")
    theta = torch.randn(3, 6, 6)
    theta = (size * (theta - theta.transpose(1, 2))).requires_grad_()
    x = linear.linear_flow(theta, torch.ones(6), [1.0], way)
    # θ is antisymmetric: |x| is kept. Float32 entries of this size know the phase, and so |x|, no better.
    torch.testing.assert_close(x.norm(dim=2), torch.full((1, 3), 6**0.5), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(x.sum(), theta)
    assert torch.isfinite(gradient).all()


def test_large_norms_are_squared_and_sparse_ones_are_not():
    assert linear.faster(64, 25, 25, 1e4, 1) == "squaring"
    assert linear.faster(64, 2, 128, 10.0, 1) == "action"


@both
def test_overflow_names_the_sample_and_the_time(way):
    theta = torch.stack([torch.zeros(2, 2), 40 * torch.eye(2)])
    with pytest.raises(SolveError, match="non-finite values at t = 3") as raised:
        linear.linear_flow(theta, torch.ones(2), [1.0, 3.0], way)
    assert raised.value.sample == 1


@both
def test_a_gradient_that_overflows_is_an_error(way):
    # x(1) is e^80, a float32; its gradient, multiplied by 1e30, is none.
    theta = torch.full((1, 1, 1), 80.0, requires_grad=True)
    x = linear.linear_flow(theta, torch.ones(1), [1.0], way)
    with pytest.raises(SolveError, match=r"gradient of θ .*sample 0"):
        (x.double() * 1e280).sum().backward()


@both
@pytest.mark.parametrize(("shape", "sample"), [((1,), None), ((2, 1), 1)])
def test_a_gradient_of_the_start_that_overflows_is_an_error(way, shape, sample):
    theta, x0 = torch.tensor([1.0, 80.0]).reshape(2, 1, 1), torch.ones(shape, requires_grad=True)
    x = linear.linear_flow(theta, x0, [1.0], way)
    with pytest.raises(SolveError, match=r"gradient of x\(0\)") as raised:
        (x * 1e30).sum().backward()
    assert raised.value.sample == sample


def test_a_matrix_that_is_not_finite_is_an_error():
    theta = torch.zeros(3, 2, 2)
    theta[2, 0, 1] = math.nan
    with pytest.raises(SolveError, match="sample 2"):
        linear.linear_flow(theta, torch.ones(2), [1.0])


@pytest.mark.parametrize(("size", "horizon"), [(1e16, 1.0), (1e20, 1.0), (1e308, 1.0), (1e308, 10.0)])
def test_a_matrix_too_large_for_float64_is_no_path_that_left_the_range(size, horizon):
    # |x| stays 1. At 1e16 squaring would give 0.3 or 26, and no error.
    theta = torch.zeros(2, 2, 2, dtype=torch.float64)
    theta[1] = size * torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    with pytest.raises(SolveError, match=r"‖θ‖T = .*sample 1") as raised:
        linear.linear_flow(theta, torch.tensor([1.0, 0.0], dtype=torch.float64), [horizon])
    assert "path" not in str(raised.value)


def test_up_to_there_the_length_is_kept():
    theta = 0.9 * linear.LARGEST * torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    x = linear.linear_flow(theta, torch.tensor([1.0, 0.0]), [1.0])
    # Rounding of 1e-16 in the first of 47 squarings, doubled by each.
    assert x.norm().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("t", "message"),
    [
        ([], "at least one"),
        ([-1.0, 1.0], "from 0 on"),
        ([1.0, 0.5], "not decreasing"),
        ([1.0, math.nan], "finite"),
        ([math.inf], "finite"),
        (torch.tensor(1.0), r"vector of times, not of shape \(\)"),
        (1.0, "vector of times"),
        (torch.ones(1, 1), "vector of times"),
        (torch.ones(1, requires_grad=True), "gradient"),
        ([0.0, torch.tensor(1.0, requires_grad=True)], "gradient"),
    ],
)
def test_times_that_make_no_sense_are_refused(t, message, unchecked):
    with pytest.raises(ValueError, match=f"^t: .*{message}"):
        linear.linear_flow(torch.zeros(1, 2, 2), torch.ones(2), t)


@pytest.mark.parametrize(
    ("matrix", "x0", "message"),
    [
        (torch.ones(1, 2, 2, dtype=torch.int64), torch.ones(2), "matrix: must be a floating-point tensor"),
        (torch.eye(2), torch.ones(2), r"matrix: must have shape \(batch, m, m\), not \(2, 2\)"),
        (torch.ones(1, 2, 3), torch.ones(3), "matrix: must have shape"),
        (torch.ones(0, 2, 2), torch.ones(2), "matrix: the batch is empty"),
        (torch.ones(3, 2, 2), torch.ones(3), r"x0: must have shape \(2,\) or \(3, 2\), not \(3,\)"),
        (torch.ones(3, 2, 2), torch.ones(1, 2), "x0: must have shape"),
        (torch.ones(1, 2, 2), torch.ones(2, dtype=torch.float64), "x0: is torch.float64 on cpu, θ torch.float32"),
        (torch.ones(1, 2, 2), torch.tensor([1.0, math.nan]), "x0: must be finite"),
    ],
)
def test_what_is_no_problem_is_refused(matrix, x0, message, unchecked):
    with pytest.raises(ValueError, match=message):
        linear.linear_flow(matrix, x0, [1.0])


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 3), (0, 2, 3)])
def test_entries_that_do_not_fit_their_columns_are_refused(shape, unchecked):
    with pytest.raises(ValueError, match=r"^entries: "):
        sparse_linear_flow(torch.ones(shape), scattered(2, 3), torch.ones(3), [1.0])


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match="way"):
        linear.linear_flow(torch.zeros(1, 2, 2), torch.ones(2), [1.0], "magic")
