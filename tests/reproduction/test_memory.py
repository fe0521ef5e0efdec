"""Episodes, errors, and every learner behind the one interface."""

from __future__ import annotations

import math

import pytest
import torch

from ncode.reproduction.models.memory import (
    HebbianNCODE,
    NearestNeighbour,
    Stream,
    Task,
    bit_error,
    chance,
    episodes,
    hebbian_rule,
)
from ncode.reproduction.models.memory_baselines import BASELINES, hidden_for, parameters

SMALL = Task(20, 3)


def test_an_episode_is_what_the_task_says():
    task = Task(40, 4, degraded=0.7)
    stimuli, target = episodes(task, 6, 0)
    assert stimuli.shape == (9, 6, 40) and target.shape == (6, 40)
    assert set(stimuli[:-1].unique().tolist()) == {-1.0, 1.0}
    assert ((stimuli[-1] == 0).sum(1) == 28).all()
    known = stimuli[-1] != 0
    assert torch.equal(stimuli[-1][known], target[known])
    for b in range(6):
        patterns, counts = stimuli[:-1, b].unique(dim=0, return_counts=True)
        assert len(patterns) == 4 and (counts == 2).all()
        assert (patterns == target[b]).all(1).any()


def test_the_order_is_random_and_the_query_is_of_any_position():
    stimuli, target = episodes(Task(30, 2), 200, 0)
    first = (stimuli[0] == target).all(1).float().mean()
    # A fair coin within five standard deviations.
    assert abs(first - 0.5) < 5 * 0.5 / math.sqrt(200)


def test_an_episode_is_a_function_of_seed_and_number():
    one, two = Stream(SMALL, 2, (0, 1)), Stream(SMALL, 2, (0, 1))
    assert torch.equal(one[5].stimuli, two[5].stimuli)
    assert not torch.equal(one[5].stimuli, one[6].stimuli)
    assert not torch.equal(one[5].stimuli, Stream(SMALL, 2, (0, 2))[5].stimuli)


def test_bit_error_and_chance():
    target = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    assert bit_error(torch.tensor([[0.2, -3.0, -0.1, 0.0]]), target).item() == pytest.approx(0.375)
    task = Task(10_000, 1, degraded=0.7)
    stimuli, target = episodes(task, 1, 0)
    torch.manual_seed(0)
    copied = torch.where(stimuli[-1] == 0, torch.randn_like(target), target)
    # Five standard deviations of the mean of 10,000 bits.
    assert bit_error(copied, target).item() == pytest.approx(chance(task), abs=0.025)
    assert bit_error(torch.randn_like(target), target).item() == pytest.approx(chance(task, copies=False), abs=0.025)


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (1, 1, 1.5), (1, 1, 0.5, 0), (1, 1, 0.5, 1, 0.0)])
def test_a_task_that_makes_no_sense(arguments):
    with pytest.raises(ValueError):
        Task(*arguments)


def learners():
    torch.manual_seed(0)
    baselines = [kind(SMALL, 8) for kind in BASELINES.values()]
    return [HebbianNCODE(SMALL), hebbian_rule(SMALL, 0.05), NearestNeighbour(), *baselines]


@pytest.mark.parametrize("learner", learners(), ids=lambda learner: type(learner).__name__)
def test_every_learner_keeps_its_episodes_apart(learner):
    """Output of a batch, and each episode alone: no sample sees another, and the batch's order does not matter."""
    stimuli, _ = episodes(SMALL, 4, 0)
    output = learner(stimuli)
    assert output.shape == (4, 20)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(learner(stimuli[:, order]), output[order], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(learner(stimuli[:, 1:2]), output[1:2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("learner", learners(), ids=lambda learner: type(learner).__name__)
def test_what_is_trained_gets_a_gradient(learner):
    stimuli, target = episodes(SMALL, 4, 0)
    trained = [p for p in learner.parameters() if p.requires_grad]
    if trained:
        (learner(stimuli) - target).square().mean().backward()
        assert all(p.grad.abs().max() > 0 for p in trained)
    else:
        assert not learner(stimuli).requires_grad


@pytest.mark.parametrize("options", [{}, {"clamp": True}, {"leak": 1.0}, {"learn_theta0": True, "steps": 2}])
def test_low_rank_and_direct_episodes_agree(options):
    torch.manual_seed(0)
    fast = HebbianNCODE(SMALL, spread=0.3, **options).double()
    slow = HebbianNCODE(SMALL, spread=0.3, direct=True, **options).double()
    slow.load_state_dict(fast.state_dict())
    stimuli, target = (part.double() for part in episodes(SMALL, 2, 0))
    outputs = [learner(stimuli) for learner in (fast, slow)]
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    for output in outputs:
        (output - target).square().mean().backward()
    for a, b in zip(fast.parameters(), slow.parameters(), strict=True):
        if a.requires_grad:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-12)


def test_an_adaptive_method_comes_to_the_same():
    torch.manual_seed(0)
    fixed = HebbianNCODE(SMALL, spread=0.1, steps=4)
    adaptive = HebbianNCODE(SMALL, spread=0.1, method="dopri5", tolerance=1e-6)
    adaptive.load_state_dict(fixed.state_dict())
    stimuli, _ = episodes(SMALL, 2, 0)
    torch.testing.assert_close(fixed(stimuli), adaptive(stimuli), rtol=0, atol=1e-4)
    assert fixed.solver_error(stimuli).max() < 1e-4


def test_clamped_bits_do_not_move():
    torch.manual_seed(0)
    stimuli, _ = episodes(SMALL, 3, 0)
    known = stimuli[-1] != 0
    assert torch.equal(HebbianNCODE(SMALL, spread=1.0, clamp=True)(stimuli)[known], stimuli[-1][known])
    assert not torch.equal(HebbianNCODE(SMALL, spread=1.0)(stimuli)[known], stimuli[-1][known])


def test_a_zeroed_bit_reaches_at_most_the_duration():
    """|tanh| ≤ 1 for 0.5 s: the squared error of an unknown bit is at least 1/4, however strong the synapses."""
    stimuli, target = episodes(SMALL, 3, 0)
    output = hebbian_rule(SMALL, 100.0)(stimuli)
    unknown = stimuli[-1] == 0
    assert output[unknown].abs().max() <= SMALL.duration
    assert (output - target)[unknown].square().min() >= (1 - SMALL.duration) ** 2


def test_trajectory_ends_where_the_call_does():
    torch.manual_seed(0)
    learner = HebbianNCODE(SMALL, spread=0.1, steps=2)
    stimuli, _ = episodes(SMALL, 2, 0)
    t, x, theta = learner.trajectory(stimuli, points=5)
    assert t.shape == (35,) and x.shape == (35, 2, 20) and theta.shape == (35, 2, 20, 20)
    torch.testing.assert_close(x[-1], learner(stimuli), rtol=1e-5, atol=1e-6)
    assert torch.equal(x[::5], stimuli)
    # θ is carried from one presentation to the next, x is not.
    assert torch.equal(theta[4], theta[5]) and not torch.equal(x[4], x[5])


def test_one_pattern_is_recalled_without_error_and_the_oracle_never_errs():
    stimuli, target = episodes(Task(50, 1), 20, 0)
    assert bit_error(hebbian_rule(Task(50, 1), 0.02)(stimuli), target).max() == 0
    stimuli, target = episodes(Task(200, 5), 20, 0)
    assert torch.equal(NearestNeighbour()(stimuli), target)


def test_errors_are_the_crosstalk_that_theory_predicts():
    """Clamped and weak, the rule is one step of a Hopfield network: error Φ(-sqrt(n(1-p)/(m-1))) a bit."""
    task = Task(100, 10)
    stimuli, target = episodes(task, 400, 0)
    output = hebbian_rule(task, 1e-4, clamp=True)(stimuli)
    unknown = stimuli[-1] == 0
    measured = ((output * target)[unknown] <= 0).double().mean().item()
    predicted = 0.5 * math.erfc(math.sqrt(100 * 0.5 / 9) / math.sqrt(2))
    # 20,000 bits, correlated within an episode: a quarter either way is loose, a wrong formula is off by far more.
    assert measured == pytest.approx(predicted, rel=0.25)


@pytest.mark.parametrize("kind", BASELINES)
def test_baselines_are_as_large_as_asked_and_no_larger(kind):
    task = Task(100, 3)
    hidden = hidden_for(kind, task, 10_000)
    with torch.device("meta"):
        assert parameters(BASELINES[kind](task, hidden)) <= 10_000 < parameters(BASELINES[kind](task, hidden + 1))
