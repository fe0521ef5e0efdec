"""The training loop: exact resume, counting, and what happens when steps fail."""

import math

import pytest
import torch
from torch import nn

from ncode import MLP, NCODE, NeuralODE, OpenLoop, SolveError, Solver
from ncode.training import Batches, History, Plateaus, TrainingError, cosine, fit


def _flow(seed=0):
    torch.manual_seed(seed)
    field = MLP(2, (8,))
    return NCODE(field, gamma=OpenLoop(2, field.size(), hidden=(4,)))


def _noisy_loss(model, batch):
    """Uses the global random state, which a checkpoint must therefore hold."""
    (x,) = batch
    return (model(x) - x.flip(1) + 0.01 * torch.randn_like(x)).square().mean(), {"norm": x.norm().item()}


def _sawtooth(progress, history):
    return 0.2 + (7 * progress) % 1


def _train(model, iterations, checkpoint=None, optimiser=torch.optim.Adam, **options):
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(5))
    return fit(
        model,
        _noisy_loss,
        Batches(x, size=16, seed=3),
        iterations,
        optimiser(model.parameters(), lr=1e-2),
        checkpoint=checkpoint,
        **options,
    )


@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.SGD])
def test_an_interrupted_run_ends_in_the_same_bits(tmp_path, optimiser):
    whole = _flow()
    expected = _train(whole, 13, optimiser=optimiser, schedule=_sawtooth)
    first = _flow()
    # Stopped early, as an interruption would: the schedule knows how long the whole run is.
    _train(first, 13, tmp_path / "c.safetensors", optimiser, schedule=_sawtooth, until=lambda h: h.iterations == 6)
    # The continuation starts from another model and another random state: both must come from the file.
    second = _flow(seed=99)
    history = _train(second, 13, tmp_path / "c.safetensors", optimiser, schedule=_sawtooth)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert history.loss == expected.loss
    assert history.metrics == expected.metrics
    assert history.nfe_forward == expected.nfe_forward


def test_a_finished_checkpoint_trains_no_further(tmp_path):
    _train(_flow(), 4, tmp_path / "c.safetensors")
    model = _flow(seed=1)
    history = _train(model, 4, tmp_path / "c.safetensors")
    assert history.iterations == 4


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    _train(_flow(), 2, tmp_path / "c.safetensors")
    with pytest.raises(TrainingError, match="another model"):
        _train(NeuralODE(MLP(2, (8,))), 4, tmp_path / "c.safetensors")


def test_batches_are_a_function_of_seed_and_number():
    x = torch.arange(10.0)
    ahead, fresh = Batches(x, size=3, seed=1), Batches(x, size=3, seed=1)
    for k in range(9):
        ahead[k]
    assert torch.equal(ahead[2][0], fresh[2][0])
    assert not torch.equal(fresh[2][0], Batches(x, size=3, seed=2)[2][0])
    # One epoch shows no sample twice; the next is shuffled anew.
    epoch = torch.cat([fresh[k][0] for k in range(3)])
    assert len(epoch.unique()) == 9
    assert not torch.equal(epoch, torch.cat([fresh[k][0] for k in range(3, 6)]))


@pytest.mark.parametrize(("tensors", "size"), [((torch.ones(3), torch.ones(4)), 2), ((torch.ones(3),), 4)])
def test_batches_refuse_nonsense(tensors, size):
    with pytest.raises(ValueError, match=r"tensors|size"):
        Batches(*tensors, size=size)


class _FailsAt(nn.Module):
    def __init__(self, calls):
        super().__init__()
        self.weight, self.calls, self.count = nn.Parameter(torch.ones(1)), calls, -1

    def forward(self, x):
        self.count += 1
        if self.count in self.calls:
            raise SolveError("step size underflow", 3, 0.25, 100, 1.0)
        return self.weight * x


def _plain(model, iterations, loss=None, **options):
    batches = Batches(torch.ones(4, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    return fit(model, loss or (lambda m, b: (m(b[0]).mean(), {"one": 1.0})), batches, iterations, optimiser, **options)


def test_failed_solves_are_counted_and_cost_their_step():
    model = _FailsAt({0, 2})
    history = _plain(model, 4)
    assert [f["iteration"] for f in history.failures] == [0, 2]
    assert history.failures[0] == {"iteration": 0, "reason": "step size underflow", "sample": 3, "t": 0.25}
    assert [math.isnan(value) for value in history.loss] == [True, False, True, False]
    assert [math.isnan(value) for value in history.metrics["one"]] == [True, False, True, False]
    # Two steps of 0.1 down the slope 1, not four.
    assert model.weight.item() == pytest.approx(0.8)


def test_a_loss_that_is_not_finite_does_not_poison_the_weights():
    model = _FailsAt(set())
    values = iter([1.0, math.nan, 1.0])
    history = _plain(model, 3, lambda m, b: (m(b[0]).mean() * next(values), {}))
    assert [f["reason"] for f in history.failures] == ["non-finite loss"]
    assert torch.isfinite(model.weight).all()


def test_training_gives_up_after_patience():
    with pytest.raises(TrainingError, match="3 steps in a row"):
        _plain(_FailsAt({1, 2, 3}), 10, patience=3)


def test_early_stop_and_evaluation():
    history = _plain(
        _FailsAt(set()),
        100,
        evaluate=lambda m: {"weight": m.weight.item()},
        evaluate_every=2,
        until=lambda h: h.loss[-1] < 0.55,
    )
    assert history.iterations == 6
    assert history.evaluated == [2, 4, 6]
    assert history.evaluations["weight"] == pytest.approx([0.8, 0.6, 0.4])


def test_nfe_is_counted_forward_and_backward():
    field = MLP(2, (4,))
    model = NeuralODE(field, solver=Solver(method="rk4", steps=5, gradients="adjoint"))
    history = _train(model, 2)
    assert history.nfe_forward == [20, 20]
    assert history.nfe_backward == [20, 20]


def test_clipping_bounds_the_step():
    model = _FailsAt(set())
    _plain(model, 1, lambda m, b: (1000 * m(b[0]).mean(), {}), clip=1.0)
    assert model.weight.item() == pytest.approx(0.9)


def test_the_schedule_scales_the_learning_rate():
    model = _FailsAt(set())
    _plain(model, 4, schedule=lambda progress, _: 1 - progress)
    assert model.weight.item() == pytest.approx(1 - 0.1 * (1 + 0.75 + 0.5 + 0.25))
    assert cosine(0.0) == 1
    assert cosine(0.5) == pytest.approx(0.5)


def test_the_rate_is_halved_at_every_plateau():
    schedule = Plateaus("nats", 2)

    def factor(*losses):
        return schedule(0.0, History(evaluations={"nats": list(losses)}))

    assert schedule(0.0, History()) == factor(3.0) == factor(3.0, 3.0) == 1
    assert factor(3.0, 3.0, 3.0) == 0.5
    assert factor(3.0, 3.0, 2.0, 2.0) == 1
    assert factor(3.0, 3.0, 3.0, 3.0) == 0.5
    assert factor(3.0, 3.0, 3.0, 3.0, 3.0) == 0.25
    assert factor(3.0, 3.0, 3.0, 2.0, 2.0) == 0.5
    # Better by less than the threshold is no better; what failed is no better either; a loss may be negative.
    assert factor(3.0, 2.9999, 2.9998) == 0.5
    assert factor(math.nan, math.inf, 3.0) == 0.5
    assert factor(-1.0, -1.1, -1.1) == 1
    assert factor(-1.0, -1.0, -1.0) == 0.5


def test_a_training_that_halves_at_plateaus_resumes_in_the_same_bits(tmp_path):
    schedule = Plateaus("loss", 1)

    def trained(model, checkpoint=None, until=None):
        batches = Batches(torch.randn(8, 2, generator=torch.Generator().manual_seed(3)), size=4)
        return fit(
            model,
            lambda m, b: (m(b[0]).square().mean(), {}),
            batches,
            12,
            torch.optim.Adam(model.parameters(), lr=0.1),
            schedule=schedule,
            # A loss that never improves: the rate is halved at every look.
            evaluate=lambda m: {"loss": 1.0},
            evaluate_every=2,
            checkpoint=checkpoint,
            until=until,
        )

    torch.manual_seed(0)
    whole, part, rest = nn.Linear(2, 1), nn.Linear(2, 1), nn.Linear(2, 1)
    part.load_state_dict(whole.state_dict())
    history = trained(whole)
    assert schedule(1.0, history) == 0.5**5
    trained(part, tmp_path / "c", until=lambda h: h.iterations == 7)
    resumed = trained(rest, tmp_path / "c")
    assert torch.equal(whole.weight, rest.weight)
    assert resumed.loss == history.loss


def test_a_gradient_that_is_not_finite_costs_its_step():
    torch.manual_seed(0)
    model = nn.Linear(2, 1, bias=False)
    batches = [(torch.zeros(1, 2) if k == 1 else torch.ones(1, 2),) for k in range(4)]
    for clip in (None, 1.0):
        history = fit(
            model,
            # The square root's slope at 0 is infinite.
            lambda model, batch: (model(batch[0]).abs().sqrt().mean(), {}),
            batches,
            4,
            torch.optim.SGD(model.parameters(), lr=0.01),
            clip=clip,
        )
        assert [failure["iteration"] for failure in history.failures] == [1]
        assert history.failures[0]["reason"] == "non-finite gradient"
        assert torch.isfinite(model.weight).all()


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    lengths, weights = [], []
    for _ in range(3):
        model = nn.Linear(2, 1)
        history = fit(
            model,
            lambda model, batch: (model(batch[0]).square().mean(), {}),
            Batches(torch.ones(4, 2)),
            20,
            torch.optim.SGD(model.parameters(), lr=0.1),
            until=lambda history: history.iterations >= 5,
            checkpoint=tmp_path / "c",
        )
        lengths.append(history.iterations)
        weights.append(model.weight.detach().clone())
    assert lengths == [5, 5, 5]
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[1], weights[2])


def test_a_continuation_is_as_patient_as_what_it_continues(tmp_path):
    def loss(model, batch):
        return model(batch[0]).mean() * math.nan, {}

    def run(iterations):
        model = nn.Linear(2, 1)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        options = {"patience": 5, "checkpoint": tmp_path / "c"}
        return fit(model, loss, Batches(torch.ones(4, 2)), iterations, optimiser, **options)

    assert run(3).iterations == 3
    with pytest.raises(TrainingError, match="5 steps"):
        run(5)


def test_an_evaluation_that_fails_is_recorded_and_training_goes_on():
    def evaluate(model):
        evaluate.calls += 1
        if evaluate.calls == 2:
            raise SolveError("non-finite values", 0, 0.5, 10, math.inf)
        return {"score": float(evaluate.calls)}

    evaluate.calls = 0
    model = nn.Linear(2, 1)
    history = fit(
        model,
        lambda model, batch: (model(batch[0]).square().mean(), {}),
        Batches(torch.ones(4, 2)),
        6,
        torch.optim.SGD(model.parameters(), lr=0.1),
        evaluate=evaluate,
        evaluate_every=2,
    )
    assert history.evaluated == [2, 4, 6]
    assert history.evaluations["score"][0::2] == [1.0, 3.0] and math.isnan(history.evaluations["score"][1])
    assert [failure["evaluation"] for failure in history.failures] == [True]
    assert history.iterations == 6


@pytest.mark.parametrize("frozen", [True, False])
def test_a_module_that_is_frozen_stays_so_in_training_and_around_evaluations(frozen):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    norm, seen = model[1], []
    norm.train(not frozen)

    def loss(model, batch):
        seen.append(tuple(module.training for module in model))
        return model(batch[0]).square().mean(), {}

    def evaluate(model):
        assert not any(module.training for module in model.modules())
        # What an evaluation does to modes is undone, too.
        model.train()
        return {"a": 1.0}

    optimiser = torch.optim.Adam(model.parameters())
    fit(model, loss, Batches(torch.randn(8, 2), size=4), 4, optimiser, evaluate=evaluate, evaluate_every=2)
    assert seen == 4 * [(True, not frozen, True)]
    assert model.training and norm.training == (not frozen)
    assert int(norm.num_batches_tracked) == (0 if frozen else 4)


def test_a_model_in_evaluation_mode_is_trained_in_training_mode():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    optimiser = torch.optim.Adam(model.parameters())
    fit(model, lambda m, b: (m(b[0]).square().mean(), {}), Batches(torch.randn(8, 2), size=4), 4, optimiser)
    assert int(model[1].num_batches_tracked) == 4
