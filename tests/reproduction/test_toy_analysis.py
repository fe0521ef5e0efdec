"""What the pages on toy problems ask of their runs, on runs whose answers are known."""

import math
from types import SimpleNamespace

import pytest
import torch

from ncode.reproduction.experiments.annuli import analysis as annuli
from ncode.reproduction.experiments.annuli.train import experiment as annuli_experiment
from ncode.reproduction.experiments.reflection import analysis as reflection
from ncode.reproduction.experiments.reflection import verdict as reflection_verdict
from ncode.reproduction.experiments.reflection.train import experiment as reflection_experiment


def run(looks=(), every=10, **metrics):
    """A run that was looked at ``every`` so many iterations."""
    evaluated = [every * (k + 1) for k in range(len(looks))]
    history = SimpleNamespace(evaluated=evaluated, evaluations={"cross_entropy": list(looks)})
    return SimpleNamespace(metrics=metrics, history=history)


def test_a_level_is_reached_at_the_first_look_that_shows_it():
    falling = run([0.7, 0.3, 0.5, 0.1])
    assert annuli.reached(falling, 0.3) == 20
    assert annuli.reached(falling, 0.05) == math.inf


def test_earlier_compares_with_where_node_ends():
    node = run([0.7, 0.5, 0.4], cross_entropy=0.4)
    assert annuli.earlier(node, run([0.7, 0.4]))
    assert not annuli.earlier(node, run([0.7, 0.5, 0.4]))
    assert not annuli.earlier(node, run([0.7, 0.6, 0.5]))


def separated(**changed):
    values = {"grid_error": 0.0, "accuracy": 1.0, "cross_entropy": 0.1, "detour": 1.0} | changed
    return run([0.5, 0.1], **values)


def test_the_annuli_hold_when_every_seed_does_and_not_when_one_does_not():
    node = separated(grid_error=0.1, cross_entropy=0.3, detour=2.0)
    node.history.evaluations["cross_entropy"] = [0.5, 0.3]
    node.history.evaluated = [10, 20]
    fast = {"history": SimpleNamespace(evaluated=[10, 20], evaluations={"cross_entropy": [0.2, 0.1]})}
    good = SimpleNamespace(metrics=separated().metrics, **fast)
    records = {"node": [node, node], "open": [good, good], "closed": [good, good]}
    assert set(annuli.separates(records).values()) == {True}
    slip = SimpleNamespace(metrics=separated(grid_error=1e-4).metrics, **fast)
    answers = annuli.separates({**records, "closed": [good, slip]})
    assert [name for name, held in answers.items() if not held] == [
        "open and closed loop: no point of the dense grid wrong"
    ]


@pytest.mark.parametrize("model", ["node", "closed"])
def test_a_field_on_a_grid_is_the_field_at_its_points(model):
    flow = annuli_experiment.build(annuli_experiment.Config(model, seed=0, hidden=(4,), control_hidden=(4,)))[0]
    side, x0 = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([[0.3, 0.1]])
    velocity = annuli.field_seen_by(flow, x0, 0.5, side)
    with torch.no_grad():
        theta = flow.trajectory(x0, [0.0, 0.5]).theta
        values = {} if theta is None else flow.field.unpack(theta[-1])
        # Row 0 is x₂ = -1, column 2 is x₁ = 2.
        expected = flow.field(torch.tensor(0.0), torch.tensor([[2.0, -1.0]]), values)[0]
    torch.testing.assert_close(velocity[0, 2], expected)


def test_the_reflections_floor_is_a_third():
    assert reflection.floor() == pytest.approx(1 / 3, rel=0.02)


def test_one_open_loop_controls_a_single_number_and_it_decides_about_the_open_loop():
    model = reflection_experiment.build(reflection_experiment.Config("single", seed=0))
    assert list(model.field.steered) == ["layers.1.bias"]
    assert model.initial_control(reflection.FEW).shape == (len(reflection.FEW), 1)
    made = {"node": 0.34, "single": 1e-4, "open": 0.2, "closed": 1e-5}
    runs = {name: [decided(mse) for _ in range(5)] for name, mse in made.items()}
    assert [one.estimate for one in reflection_verdict.n8(runs, "paper")] == pytest.approx([0.34, 1e-4, 1e-5])


def decided(mse):
    return SimpleNamespace(id="", metrics={"mse": mse}, provenance={"started": "2026-11-27"})


def test_the_closed_loops_samples_share_a_field_at_first_and_the_open_loops_do_not():
    x = torch.linspace(-1, 1, 5).unsqueeze(1)
    models = {
        model: reflection_experiment.build(reflection_experiment.Config(model, seed=0)) for model in ("open", "closed")
    }
    first = {model: reflection.field_at(flow, reflection.FEW, 0.0, x) for model, flow in models.items()}
    assert first["open"].shape == (7, 5)
    assert first["closed"].std(0).max() < 1e-5 < first["open"].std(0).max()
