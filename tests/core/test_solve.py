"""The one door to solvers: its error norm, its counts, its grids, and what it says when a solve fails."""

from __future__ import annotations

import copy
import math
import pickle
import re

import pytest
import torch

from ncode import (
    MLP,
    NCODE,
    NFE,
    AugmentedNeuralODE,
    DataControlledODE,
    NeuralODE,
    OpenLoop,
    SolveError,
    Solver,
    solve,
)
from ncode.fields.elementary import Linear
from ncode.solvers.dispatch import integrate
from ncode.solvers.options import ADAPTIVE, FIXED
from tests.core.models import build

UNIT = torch.tensor([0.0, 1.0])


def oscillator(t, x):
    return torch.stack([x[:, 1], -x[:, 0]], dim=1)


# The error norm


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4])
def test_the_worst_sample_is_better_off_than_under_the_mean_norm(tolerance):
    """On 64 samples of different fields. Measured: 3 to 40 times for single seeds, so 2 for their mean is safe."""
    ratios, costs = [], []
    for seed in range(4):
        torch.manual_seed(seed)
        x = 2 * torch.randn(64, 2)
        worst, mean = (
            build("open", Solver(rtol=tolerance, atol=tolerance, norm=norm), seed=seed, spread=1.5)
            for norm in ("worst", "mean")
        )
        ratios.append(math.log(mean.solver_error(x).max() / worst.solver_error(x).max()))
        with torch.no_grad():
            worst(x), mean(x)
        costs.append(worst.nfe.forward / mean.nfe.forward)
    assert sum(ratios) / len(ratios) > math.log(2)
    assert sum(costs) / len(costs) < 2


def test_parts_are_not_diluted_by_one_another():
    """An oscillator beside 2000 constant control variables: concatenated, its error counts for a thousandth."""
    x, theta = torch.tensor([[1.0, 0.0]]), torch.ones(1, 2000)
    t, solver = torch.tensor([0.0, 10.0]), Solver(rtol=1e-3, atol=1e-3)
    exact = torch.tensor([math.cos(10.0), -math.sin(10.0)])
    parts, cost = integrate(lambda t, z: (oscillator(t, z[0]), torch.zeros_like(z[1])), (x, theta), t, solver)
    whole, cheap = integrate(
        lambda t, z: (torch.cat([oscillator(t, z[0]), torch.zeros(1, 2000)], 1),),
        (torch.cat([x, theta], 1),),
        t,
        solver,
    )
    error = (parts[0][-1, 0] - exact).norm()
    diluted = (whole[0][-1, 0, :2] - exact).norm()
    assert error < 0.05
    assert diluted > 5 * error
    assert cost.forward > cheap.forward


# Counts, grids, orders


STAGES = {"euler": 1, "midpoint": 2, "heun": 2, "heun3": 3, "rk4": 4}


@pytest.mark.parametrize("method", FIXED)
def test_evaluations_of_fixed_steps_are_stages_times_steps(method):
    model = NeuralODE(MLP(2, (4,)), solver=Solver(method, steps=7))
    x = torch.randn(3, 2)
    model(x)
    assert (model.nfe.forward, model.nfe.backward) == (7 * STAGES[method], 0)
    model.solver = Solver(method, steps=7, gradients="adjoint")
    model(x).sum().backward()
    assert (model.nfe.forward, model.nfe.backward) == (7 * STAGES[method], 7 * STAGES[method])


@pytest.mark.parametrize("method", ADAPTIVE)
def test_counts_are_the_calls_of_the_right_hand_side(method):
    calls = 0

    def f(t, z):
        nonlocal calls
        calls += 1
        return (oscillator(t, z[0]),)

    _, nfe = integrate(f, (torch.ones(2, 2),), UNIT, Solver(method))
    assert nfe.forward == calls > 0


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("heun3", 3), ("rk4", 4)])
def test_order_of_the_fixed_step_methods(float64, method, order):
    x = torch.tensor([[1.0, 0.0]])
    exact = torch.tensor([math.cos(1.0), -math.sin(1.0)])

    def error(steps):
        (path,), _ = integrate(lambda t, z: (oscillator(t, z[0]),), (x,), UNIT.double(), Solver(method, steps=steps))
        return (path[-1, 0] - exact).norm()

    # Halving the step divides the error by 2^order, up to the next order's share.
    assert math.log2(error(20) / error(40)) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("horizon", [0.1, 1.0, 0.7, -0.3, 3.3])
def test_a_grid_has_no_sliver_of_a_step(horizon):
    model = NeuralODE(MLP(2, (4,)), horizon=horizon, solver=Solver("euler", step_size=abs(horizon) / 10))
    model(torch.randn(3, 2))
    assert model.nfe.forward == 10


@pytest.mark.parametrize("method", FIXED)
def test_fixed_steps_end_at_the_last_time_wherever_it_lies(float64, method):
    """x' = 2t up to a time between two steps: exact for order two and more, and Euler's is (n - 1)/n of it."""
    solver = Solver(method, step_size=0.1)
    end = 0.537
    (path,), nfe = integrate(lambda t, z: (2 * t.expand(1, 1),), (torch.zeros(1, 1),), torch.tensor([0.0, end]), solver)
    steps = 6
    assert nfe.forward == steps * STAGES[method]
    exact = end**2 * (1 - 1 / steps if method == "euler" else 1)
    assert float(path[-1]) == pytest.approx(exact, rel=1e-12)


def test_times_between_fixed_steps_are_interpolated_to_the_order_of_rk4(float64):
    def error(steps):
        t = torch.linspace(0, 1, 38)
        (path,), _ = integrate(
            lambda t, z: (oscillator(t, z[0]),), (torch.tensor([[1.0, 0.0]]),), t, Solver("rk4", steps=steps)
        )
        return (path[:, 0, 0] - torch.cos(t)).abs().max()

    # Cubic Hermite: the interpolation's error is of order four as well; linear would be of order two.
    assert math.log2(error(8) / error(16)) == pytest.approx(4, abs=0.4)


# Failures


def blow_up(t, z):
    """x' = x²: x(t) = 1 / (1/x(0) - t)."""
    return (z[0] ** 2,)


@pytest.mark.parametrize("norm", ["worst", "mean"])
def test_step_size_underflow(float64, norm):
    x = torch.tensor([[0.1], [2.0], [0.5]])
    with pytest.raises(SolveError, match="underflow") as caught:
        integrate(blow_up, (x,), UNIT.double(), Solver(norm=norm))
    error = caught.value
    assert error.reason == "step size underflow"
    assert error.sample == 1
    # It blows up at 1/2; an adaptive solver gets there up to its error.
    assert error.t == pytest.approx(0.5, abs=0.01)
    assert error.state_norm > 1e6
    assert error.nfe > 100
    assert "sample 1" in str(error) and "loosen the tolerance" in str(error)


def test_too_many_evaluations():
    x = torch.tensor([[0.1], [0.2], [5.0]])
    stiff = torch.tensor([[1.0], [1.0], [1e4]])
    with pytest.raises(SolveError, match="Raise max_nfe") as caught:
        integrate(lambda t, z: (-stiff * z[0],), (x,), UNIT, Solver(max_nfe=100))
    assert caught.value.reason == "too many evaluations"
    assert caught.value.sample == 2
    # A step takes six: they are counted before they are spent.
    assert 94 < caught.value.nfe <= 100
    assert 0 < caught.value.t < 0.1


@pytest.mark.parametrize("norm", ["worst", "mean"])
def test_a_field_that_turns_nan(norm):
    def f(t, z):
        return (torch.where((torch.arange(3).unsqueeze(1) == 1) & (t > 0.4), math.nan, 1.0) * z[0],)

    with pytest.raises(SolveError) as caught:
        integrate(f, (torch.ones(3, 1),), UNIT, Solver(norm=norm))
    assert caught.value.reason == "non-finite values"
    assert caught.value.sample == 1
    assert caught.value.t == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("method", FIXED)
def test_fixed_steps_that_leave_the_floating_point_range(method):
    x = torch.tensor([[1.0], [1.0], [30.0]])
    with pytest.raises(SolveError) as caught:
        # Samples 0 and 1 decay; sample 2 obeys x' = x² from 30, which blows up at 1/30.
        integrate(lambda t, z: (torch.where(z[0] > 2, z[0] ** 2, -z[0]),), (x,), UNIT, Solver(method, steps=20))
    assert caught.value.reason == "non-finite values"
    assert caught.value.sample == 2
    # Steps of 1/20, each of which at least squares it: gone by the eighth, long before the end.
    assert caught.value.t <= 0.5


def test_a_failure_in_the_backward_solve_is_a_solve_error_too():
    """Forward, x' = -40 x is tame; backward it grows, and the adjoint has more to follow."""
    rate = torch.tensor([[1.0], [40.0], [1.0]])
    x = torch.ones(3, 1, requires_grad=True)
    (path,), nfe = integrate(lambda t, z: (-rate * z[0],), (x,), UNIT, Solver(gradients="adjoint"))
    limited = Solver(gradients="adjoint", max_nfe=nfe.forward)
    (path,), nfe = integrate(lambda t, z: (-rate * z[0],), (x,), UNIT, limited)
    with pytest.raises(SolveError, match="too many evaluations") as caught:
        path[-1].sum().backward()
    assert caught.value.sample == 1
    assert 0 <= caught.value.t <= 1
    assert nfe.forward - 6 <= nfe.backward <= nfe.forward


def test_a_gradient_that_is_not_finite_names_its_sample():
    """√ at 0 behind `where`: the value is fine, its derivative is 0·∞."""

    def f(t, z):
        x = z[0]
        return (torch.where(x > 1, torch.sqrt(x - 1), 0.0),)

    x = torch.tensor([[2.0], [1.0], [3.0]], requires_grad=True)
    (path,), _ = integrate(f, (x,), UNIT, Solver(gradients="adjoint"))
    with pytest.raises(SolveError, match="non-finite") as caught:
        path[-1].sum().backward()
    assert caught.value.sample == 1
    assert caught.value.t == pytest.approx(1.0)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_failure_survives_copy_and_pickle(again):
    error = SolveError("too many evaluations", 3, 0.5, 100, 2.0)
    error.add_note("at step 7")
    found = again(error)
    assert type(found) is SolveError and str(found) == str(error)
    assert vars(found) == vars(error)


# Options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("method", "magic"),
        ("gradients", "symbolic"),
        ("norm", "median"),
        ("rtol", 0.0),
        ("rtol", -1e-3),
        ("atol", math.inf),
        ("atol", math.nan),
        ("steps", 0),
        ("max_nfe", 0),
        ("rtol", "a"),
        ("step_size", 0.0),
        ("step_size", "a"),
        ("steps", 1.5),
        ("steps", "a"),
        ("checkpoints", 2.5),
        ("refine", "a"),
        ("rtol", (1e-3, 0.0)),
        ("atol", ()),
        ("first_step", 0.0),
        ("first_step", "a"),
        ("min_step", -1.0),
        ("max_step", 0.0),
        ("max_step", math.nan),
        ("jumps", (math.inf,)),
        ("controller", "PID"),
        ("backend", "scipy"),
    ],
)
def test_options_that_make_no_sense_are_named(option, value, unchecked):
    with pytest.raises(ValueError, match=re.escape(f"{option}: ")):
        Solver(**{option: value})


@pytest.mark.parametrize(
    ("state", "t", "message"),
    [
        ((torch.zeros(0, 2),), UNIT, "x0: the batch is empty"),
        ((torch.tensor([[0.0], [math.nan]]),), UNIT, "x0: sample 1 is not finite"),
        ((torch.zeros(2, 1), torch.tensor([[math.inf], [0.0]])), UNIT, "x0: sample 0 is not finite"),
        ((torch.zeros(2, 1),), torch.zeros(2, 2, 2), "t: must be a vector"),
        ((torch.zeros(2, 1),), torch.zeros(2, 3), r"t: must have shape \(time, 2\)"),
        (
            (torch.zeros(2, 1),),
            torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 0.5]]),
            "t: times must not turn: .* sample 1",
        ),
        ((torch.zeros(2, 1),), torch.tensor([0.0, 1.0, 0.5]), "t: times must not turn"),
        ((torch.zeros(2, 1),), torch.tensor([0.0, math.inf]), "t: times must be finite"),
    ],
)
def test_problems_that_make_no_sense_are_named(unchecked, state, t, message):
    with pytest.raises(ValueError, match=message):
        solve(lambda t, z: z, state, t)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [1, 7, 100, 1000])
def test_fixed_steps_are_as_many_as_asked_for_over_any_horizon(dtype, steps):
    for horizon in (0.1, 0.3, 1.1, 2.2, 3.99):
        solver = Solver("euler", steps=steps)
        t = torch.tensor([0.0, horizon], dtype=dtype)
        _, nfe = integrate(lambda t, z: (-z[0],), (torch.ones(1, 1, dtype=dtype),), t, solver)
        assert nfe.forward == steps, horizon


def test_steps_are_counted_over_a_solve_and_a_step_size_in_time():
    for t in ([0.0, 5.0], [1.0, 4.0], [2.0, -1.0]):
        for solver, steps in (
            (Solver("rk4", steps=10), 10),
            (Solver("rk4", step_size=0.25), 4 * abs(t[-1] - t[0])),
            (Solver("rk4", step_size=100.0), 1),
            (Solver("rk4"), 10),
        ):
            _, nfe = integrate(lambda t, z: (-z[0],), (torch.ones(1, 1),), torch.tensor(t), solver)
            assert nfe.forward == 4 * steps


@pytest.mark.parametrize("options", [{"steps": 10, "step_size": 0.1}, {"steps": None, "step_size": 0.1}, {"steps": 10}])
def test_options_that_contradict_each_other_are_named(options):
    method = "rk4" if len([value for value in options.values() if value]) == 2 else "dopri5"
    with pytest.raises(ValueError, match=r"^steps(, step_size)?: |^step_size: "):
        Solver(method, **options)


@pytest.mark.parametrize("method", FIXED)
@pytest.mark.parametrize(
    "option", [{"first_step": 0.1}, {"min_step": 0.1}, {"max_step": 0.1}, {"jumps": (0.5,)}, {"controller": "PI"}]
)
def test_fixed_steps_take_no_option_of_adaptive_ones(method, option):
    (name,) = option
    with pytest.raises(ValueError, match=f"^{name}: {method} has fixed steps"):
        Solver(method, **option)


@pytest.mark.parametrize("horizon", [0.0, math.nan, math.inf, "a"])
def test_a_horizon_that_makes_no_sense_is_named(horizon, unchecked):
    with pytest.raises(ValueError, match=r"^horizon: "):
        NeuralODE(MLP(2), horizon=horizon)


def test_everything_after_the_field_is_named():
    with pytest.raises(TypeError):
        AugmentedNeuralODE(MLP(3), 1, Solver(rtol=1e-7))
    for model in (NeuralODE, DataControlledODE, NCODE):
        with pytest.raises(TypeError):
            model(MLP(2, inputs=2), Solver())
    with pytest.raises(TypeError):
        Solver("dopri5", 1e-3)
    with pytest.raises(TypeError):
        OpenLoop(2, 3, (16,))


def test_options_that_contradict_one_another_are_named():
    with pytest.raises(ValueError, match=r"min_step: is 1\.0, longer than max_step"):
        Solver(min_step=1.0, max_step=0.5)
    for options in ({"gradients": "adjoint"}, {"method": "tsit5"}, {"max_step": 0.1}, {"controller": "PI"}):
        with pytest.raises(ValueError, match="backend: torchdiffeq has"):
            Solver(backend="torchdiffeq", **options)


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "dopri8", *FIXED])
@pytest.mark.parametrize("kind", ["node", "both"])
def test_torchdiffeq_takes_the_same_steps(float64, kind, method):
    """The same path, gradient and number of evaluations; its other adaptive methods begin steps from another slope."""
    found = []
    for backend in ("ncode", "torchdiffeq"):
        model = build(kind, Solver(method, backend=backend, kernels=False))
        torch.manual_seed(1)
        x = torch.randn(4, 2, requires_grad=True)
        end = model(x)
        found.append([end, *torch.autograd.grad(end.square().sum(), [x, *model.parameters()])])
        found[-1].append(torch.tensor(float(model.nfe.forward)))
    # dopri8's error estimate is a small difference of large numbers, and rounding moves its steps.
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-8 if method == "dopri8" else 1e-10)


def test_a_fields_own_assertion_is_not_a_solvers_failure():
    def field(t, z):
        assert z[0].shape[1] == 3, "x must have three features"
        return (z[0],)

    for method in ("dopri5", "rk4"):
        with pytest.raises(AssertionError, match="three features"):
            integrate(field, (torch.ones(1, 2),), UNIT, Solver(method))


class OnMPS(torch.Tensor):
    """A tensor that says it is on an MPS device."""

    device = property(lambda self: torch.device("mps"))


def test_an_mps_device_is_refused_by_name_before_anything_is_evaluated():
    def never(t, x):
        raise AssertionError("f was evaluated")

    x = torch.ones(3, 2).as_subclass(OnMPS)
    for t in ([0.0, 1.0], torch.tensor([[0.0] * 3, [1.0] * 3])):
        with pytest.raises(ValueError, match=r"x0: is on an MPS device, which has no float64.*to the CPU or a CUDA"):
            solve(never, x, t)


@pytest.mark.parametrize("solver", [Solver(), Solver("rk4", steps=1), Solver(independent=True)])
def test_a_state_of_integers_is_refused_by_name(solver):
    """The time has the state's type: x' = 2t was 0.25 at 1, from a time that was cut to 0."""
    whole = torch.zeros(2, 1, dtype=torch.int64)
    for x in (whole, whole.bool()):
        with pytest.raises(ValueError, match=f"x0: must be floating-point or complex, not {x.dtype}"):
            solve(lambda t, x: 0 * x + 2 * t, x, [0.0, 1.0], solver=solver)
    with pytest.raises(ValueError, match=r"x0: must be floating-point or complex, not torch\.int64"):
        solve(lambda t, z: z, (torch.zeros(2, 1), whole), [0.0, 1.0], solver=solver)
    with pytest.raises(ValueError, match=r"x0: must be floating-point or complex, not torch\.int64"):
        solve(lambda t, x: x, whole, torch.tensor([[0.0, 0.0], [1.0, 2.0]]), solver=solver)
    with pytest.raises(ValueError, match=r"x: must be floating-point or complex, not torch\.int64"):
        Linear(1)(0.5, whole)
    for dtype in (torch.float32, torch.float64, torch.complex128):
        end = solve(lambda t, x: 0 * x + 2 * t, whole.to(dtype), [0.0, 1.0], solver=solver)[-1]
        torch.testing.assert_close(end, torch.ones(2, 1, dtype=dtype))


# One count for several solves


@pytest.mark.parametrize("gradients", ["direct", "checkpointed", "adjoint"])
@pytest.mark.parametrize("options", [{}, {"method": "rk4", "steps": 5}, {"independent": True}])
def test_a_count_adds_up_over_solves_and_the_limit_is_each_ones_own(options, gradients):
    if gradients == "adjoint" and "independent" in options:
        return
    x = torch.ones(2, 1, requires_grad=True)

    def once(nfe, limit=10_000):
        solver = Solver(**options, gradients=gradients, max_nfe=limit)
        return solve(lambda t, x: -x, x, [0.0, 1.0], solver=solver, nfe=nfe)[-1].sum()

    one = NFE()
    once(one).backward()
    assert one.forward > 0 and (one.backward > 0) == (gradients != "direct")
    count, most = NFE(), max(one.forward, one.backward)
    ends = [once(count, most) for _ in range(3)]
    assert count == NFE(3 * one.forward, 0)
    for i, end in enumerate(ends):
        end.backward(retain_graph=True)
        assert count == NFE(3 * one.forward, (i + 1) * one.backward)
    # Once more through the same solve counts instead.
    ends[0].backward()
    assert count == NFE(3 * one.forward, 3 * one.backward)
    if options.get("independent"):
        assert count.samples.tolist() == one.samples.tolist()
    with pytest.raises(SolveError) as caught:
        once(count, 3)
    assert caught.value.nfe <= 3 and 3 * one.forward <= count.forward <= 3 * one.forward + 3


def test_the_limit_is_all_stretches_of_a_solve():
    """Times of every sample's own are solved stretch by stretch: of one solve, with one limit."""
    t, count = torch.tensor([[0.0, 0.0], [0.5, 1.0], [1.0, 2.0]]), NFE()
    solve(lambda t, x: -x, torch.ones(2, 1), t, solver=Solver("rk4", steps=4), nfe=count)
    again = NFE()
    for _ in range(2):
        solve(lambda t, x: -x, torch.ones(2, 1), t, solver=Solver("rk4", steps=4, max_nfe=count.forward), nfe=again)
    assert again.forward == 2 * count.forward
    with pytest.raises(SolveError, match="too many evaluations"):
        solve(lambda t, x: -x, torch.ones(2, 1), t, solver=Solver("rk4", steps=4, max_nfe=count.forward - 1))
