"""What the pages on images ask of their runs: selections, intervals, curves."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ncode.experiments import image_analysis as study
from ncode.results import Recorded

SETTINGS = {"dataset": "mnist", "variant": "", "size": 14, "filters": 16, "learning_rate": 3e-3, "epochs": 2}


def recorded(model, seed, accuracy, **metrics):
    """A recorded run of four looks, the validation accuracy rising to ``accuracy``, with twice as many losses."""
    history = {
        "iteration": [5, 10, 15, 20, 25, 30, 35, 40],
        "loss": [8.0, 6.0, 4.0, None, 2.0, 2.0, 1.0, 1.0],
        "accuracy": [0.1, 0.3, 0.5, 0.5, 0.6, 0.8, 0.9, 1.0],
        "evaluated": [10, 20, 30, 40],
        "evaluations": {
            "accuracy": [accuracy - 0.3, accuracy - 0.2, accuracy - 0.1, accuracy],
            "loss": [4.0, 3.0, 2.5, 2.0],
            "nfe_adaptive": [14.0, 14.0, 20.0, 26.0],
        },
    }
    if model == "resnet":
        del history["evaluations"]["nfe_adaptive"]
    config = {**SETTINGS, "model": model, "seed": seed}
    return Recorded(f"{model}{seed}", "", config, {"test_accuracy": accuracy, **metrics}, history, {})


@pytest.fixture
def pairs():
    """Two models over three seeds whose difference is 1, 2 and 3 points."""
    made = [recorded("anode", seed, 0.5 + 0.05 * seed) for seed in range(3)]
    made += [recorded("open", seed, 0.5 + 0.05 * seed + 0.01 * (seed + 1)) for seed in range(3)]
    return study.by_model(made)


def test_only_seeds_that_every_model_has_are_compared():
    made = [recorded("open", 1, 0.9), recorded("open", 0, 0.8), recorded("open", 2, 0.8)]
    made += [recorded("anode", 2, 0.6), recorded("anode", 1, 0.7)]
    found = study.by_model(made)
    assert list(found) == ["open", "anode"]
    assert [[run.config["seed"] for run in runs] for runs in found.values()] == [[1, 2], [1, 2]]
    assert study.by_model([]) == {}


def test_a_gain_is_students_interval_paired_by_seed(pairs):
    low, high = study.gain(pairs, "open", "anode")
    # Mean 2, standard deviation 1, and t(0.975, 2) = 4.3027.
    assert (low, high) == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-3)
    assert study.gain(pairs, "anode", "open") == pytest.approx((-high, -low))
    assert not study.above(pairs, "open", "anode")
    assert not study.below(pairs, "anode", "open")


def test_above_and_below_want_the_whole_interval():
    made = [recorded("anode", seed, 0.5) for seed in range(3)]
    runs = study.by_model(made + [recorded("open", seed, 0.6 + 0.001 * seed) for seed in range(3)])
    assert study.above(runs, "open", "anode")
    assert not study.below(runs, "open", "anode")
    assert study.below(runs, "anode", "open")


def test_one_seed_decides_nothing():
    runs = study.by_model([recorded("anode", 0, 0.5), recorded("open", 0, 0.9)])
    assert not study.above(runs, "open", "anode")
    assert not study.below(runs, "anode", "open")


def test_who_is_ahead_half_way_is_asked_on_every_seed(pairs):
    assert study.ahead(pairs, "open", ["anode"])
    assert not study.ahead(pairs, "anode", ["open"])
    slow = recorded("open", 2, 0.95)
    slow.history["evaluations"]["accuracy"][1] = 0.1
    assert not study.ahead({**pairs, "open": [*pairs["open"][:2], slow]}, "open", ["anode"])
    assert study.ahead({**pairs, "open": [*pairs["open"][:2], slow]}, "open", ["anode"], share=0.25)


def test_curves_stand_at_the_looks(pairs):
    made = study.curves(pairs["anode"])
    assert made["epoch"].tolist() == [0.5, 1.0, 1.5, 2.0]
    np.testing.assert_allclose(made["accuracy"][0], [20, 30, 40, 50])
    # Means since the look before; a failed step's gap is left out.
    np.testing.assert_allclose(made["train_loss"][0], [7, 4, 2, 1])
    np.testing.assert_allclose(made["train_accuracy"][0], [20, 50, 70, 95])
    np.testing.assert_allclose(made["accuracy_gap"][0], [0, 20, 30, 45])
    np.testing.assert_allclose(made["loss_gap"][0], [-3, -1, 0.5, 1])
    np.testing.assert_allclose(made["nfe_total"][0], [14, 28, 48, 74])
    assert made["step_loss"].shape == (3, 8)


def test_a_last_look_right_after_another_is_left_out():
    run = recorded("anode", 0, 0.5)
    run.history["evaluated"] = [13, 26, 39, 40]
    made = study.curves([run])
    np.testing.assert_allclose(made["epoch"], [0.65, 1.3, 2.0])
    np.testing.assert_allclose(made["accuracy"][0], [20, 30, 50])


@pytest.mark.parametrize(
    ("x", "y", "models"),
    [("epoch", "accuracy", 2), ("iteration", "step_loss", 2), ("epoch", "nfe", 1), ("nfe_total", "accuracy", 1),
     ("epoch", "accuracy_gap", 2), ("nfe", "loss", 1)],
)  # fmt: skip
def test_a_panel_draws_every_model_that_has_both_series(x, y, models):
    figure, axes = plt.subplots()
    runs = study.by_model([recorded(model, seed, 0.5) for model in ("anode", "resnet") for seed in (0, 1)])
    study.panel(axes, runs, x, y)
    assert len(axes.lines) == models
    assert (axes.get_xlabel(), axes.get_ylabel()) == (study.AXES[x], study.AXES[y])
    assert axes.get_yscale() == ("log" if "loss" in y else "linear")
    plt.close(figure)


def test_runs_are_described_by_data_and_budget():
    run = recorded("anode", 0, 0.5)
    assert study.described(run, "recorded") == "recorded, MNIST 14×14"
    assert study.budget([run, run]) == "k = 16, rate 0.003, 2 epochs, seeds: 2"
    run.config.update(dataset="cifar10", variant="JPEG copy", cosine=True)
    assert study.described(run, "this run") == "this run, CIFAR-10 (JPEG copy) 14×14"
    assert "rate 0.003, falling to 0, 2 epochs" in study.budget([run])
