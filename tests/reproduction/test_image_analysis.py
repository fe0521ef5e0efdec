"""What the pages on images ask of their runs: selections, intervals, curves."""

import dataclasses
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from ncode.reproduction.claims import claims
from ncode.reproduction.data.downloads import DataError
from ncode.reproduction.experiments import image_classification
from ncode.reproduction.experiments.image_classification import (
    analysis,
    curves,
    figures,
    hours,
    plans,
    rates,
    sets,
    tables,
    verdict,
)
from ncode.reproduction.experiments.image_classification.train import MODELS, RATE_SEED, WIDE, Config
from ncode.reproduction.experiments.image_regularisation import analysis as regularised
from ncode.reproduction.experiments.image_regularisation import figures as regularised_figures
from ncode.reproduction.experiments.image_regularisation import variations
from ncode.reproduction.metrics import comparison
from ncode.reproduction.plotting import style
from ncode.reproduction.profiles import Profile
from ncode.reproduction.runs.experiment import Experiment, Run
from ncode.reproduction.runs.recordings import RecordedRun
from ncode.training import History
from tests.written import typed

SETTINGS = {"dataset": "mnist", "variant": "", "size": 14, "filters": 16, "learning_rate": 3e-3, "epochs": 2,
            "images": 0, "cosine": False}  # fmt: skip


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
    config = Config(model, seed, **SETTINGS)
    return RecordedRun(f"{model}{seed}", "", config, {"test_accuracy": accuracy, **metrics}, history, {})


def alter(run, **fields):
    """Change a recorded run's configuration."""
    object.__setattr__(run, "config", dataclasses.replace(run.config, **fields))


@pytest.fixture
def pairs():
    """Two models over three seeds whose difference is 1, 2 and 3 points."""
    made = [recorded("anode", seed, 0.5 + 0.05 * seed) for seed in range(3)]
    made += [recorded("open", seed, 0.5 + 0.05 * seed + 0.01 * (seed + 1)) for seed in range(3)]
    return comparison.by_model(made)


def test_only_seeds_that_every_model_has_are_compared():
    made = [recorded("open", 1, 0.9), recorded("open", 0, 0.8), recorded("open", 2, 0.8)]
    made += [recorded("anode", 2, 0.6), recorded("anode", 1, 0.7)]
    found = comparison.by_model(made)
    assert list(found) == ["open", "anode"]
    assert [[run.config.seed for run in runs] for runs in found.values()] == [[1, 2], [1, 2]]
    assert comparison.by_model([]) == {}


def test_a_gain_is_students_interval_paired_by_seed(pairs):
    low, high = analysis.gain(pairs, "open", "anode")
    # Mean 2, standard deviation 1, and t(0.975, 2) = 4.3027.
    assert (low, high) == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-3)
    assert analysis.gain(pairs, "anode", "open") == pytest.approx((-high, -low))
    assert not analysis.above(pairs, "open", "anode")
    assert not analysis.below(pairs, "anode", "open")


def test_above_and_below_want_the_whole_interval():
    made = [recorded("anode", seed, 0.5) for seed in range(3)]
    runs = comparison.by_model(made + [recorded("open", seed, 0.6 + 0.001 * seed) for seed in range(3)])
    assert analysis.above(runs, "open", "anode")
    assert not analysis.below(runs, "open", "anode")
    assert analysis.below(runs, "anode", "open")


def test_one_seed_decides_nothing():
    runs = comparison.by_model([recorded("anode", 0, 0.5), recorded("open", 0, 0.9)])
    assert not analysis.above(runs, "open", "anode")
    assert not analysis.below(runs, "anode", "open")


def test_who_is_ahead_half_way_is_asked_on_every_seed(pairs):
    assert analysis.ahead(pairs, "open", ["anode"])
    assert analysis.ahead(pairs, "anode", ["open"]) is False
    slow = recorded("open", 2, 0.95)
    slow.history["evaluations"]["accuracy"][1] = 0.1
    assert analysis.ahead({**pairs, "open": [*pairs["open"][:2], slow]}, "open", ["anode"]) is None
    assert analysis.ahead({**pairs, "open": [*pairs["open"][:2], slow]}, "open", ["anode"], share=0.25)


def test_curves_stand_at_the_looks(pairs):
    made = curves.curves(pairs["anode"])
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
    made = curves.curves([run])
    np.testing.assert_allclose(made["epoch"], [0.65, 1.3, 2.0])
    np.testing.assert_allclose(made["accuracy"][0], [20, 30, 50])


@pytest.mark.parametrize(
    ("x", "y", "models"),
    [("epoch", "accuracy", 2), ("iteration", "step_loss", 2), ("epoch", "nfe", 1), ("nfe_total", "accuracy", 1),
     ("epoch", "accuracy_gap", 2), ("nfe", "loss", 1)],
)  # fmt: skip
def test_a_panel_draws_every_model_that_has_both_series(x, y, models):
    figure, axes = plt.subplots()
    runs = comparison.by_model([recorded(model, seed, 0.5) for model in ("anode", "resnet") for seed in (0, 1)])
    curves.panel(axes, runs, x, y)
    assert len(axes.lines) == models
    assert (axes.get_xlabel(), axes.get_ylabel()) == (curves.AXES[x], curves.AXES[y])
    assert axes.get_yscale() == ("log" if "loss" in y else "linear")
    plt.close(figure)


def test_runs_are_described_by_data_and_budget():
    run = recorded("anode", 0, 0.5)
    assert sets.described(run.config) == "MNIST 14×14, 2 epochs"
    assert sets.budget({"anode": [run, run]}) == "k = 16, learning rate 0.003, 2 seeds; ANODE alone"
    alter(run, dataset="cifar10", variant="JPEG copy", images=100, cosine=True, learning_rate=1e-2 / 3)
    assert sets.described(run.config, "this run") == "this run, CIFAR-10 (JPEG copy) 14×14, 100 images, 2 epochs"
    assert sets.budget({"anode": [run]}) == "k = 16, learning rate 0.00333, falling to 0, 1 seed; ANODE alone"
    alter(run, method="dopri5", cosine=False, learning_rate=1e-3)
    assert sets.budget({"anode": [run]}) == "k = 16, dopri5 at 0.001, learning rate 0.001, 1 seed; ANODE alone"
    assert sets.described(run.config) == "CIFAR-10 (JPEG copy) 14×14, 100 images, dopri5, 2 epochs"
    made = {"anode": [run], "open": [recorded("open", 0, 0.5)], "data": [recorded("data", 0, 0.5)]}
    assert "learning rate 0.001 (ANODE); 0.003 (N-CODE, open loop · data control), 1 seed" in sets.budget(made)


def test_every_data_set_gets_its_own_rate_for_all_models(monkeypatch):
    best = {"digits": 1e-2, "mnist": 1e-3}

    class Fake(Experiment):
        def run(self, config, folder=None):
            metrics = {"validation_loss": abs(config.learning_rate - best[config.dataset])}
            return Run("id", self, config, metrics, History(), {}, Path())

    fake = Fake("fake", Config, None, image_classification.experiment.train)
    monkeypatch.setattr(analysis, "experiment", fake)
    sets = {name: {"dataset": name, "size": 7} for name in best}
    trials, fixed = analysis.tuned({"epochs": 2}, sets, [1e-3, 1e-2])
    assert {run.config.seed for tried in trials.values() for run in tried} == {RATE_SEED}
    assert {name: settings["learning_rate"] for name, settings in fixed.items()} == best
    assert fixed["mnist"] | {"learning_rate": 0} == {"epochs": 2, "dataset": "mnist", "size": 7, "learning_rate": 0}


def test_the_best_rate_has_the_lowest_validation_loss():
    runs = [recorded("anode", 100, 0.5, validation_loss=loss) for loss in (0.3, 0.1, 0.2)]
    for run, rate in zip(runs, (1e-3, 3e-3, 1e-2), strict=True):
        alter(run, learning_rate=rate)
    assert analysis.best_rate(runs) == 3e-3


def test_the_table_of_rates_marks_what_is_used():
    live = [recorded("anode", 100, 0.5, validation_loss=loss, validation_accuracy=0.5) for loss in (0.3, 0.1)]
    alter(live[1], learning_rate=1e-2)
    metrics = {"validation_loss": 0.1, "validation_accuracy": 0.5}
    made = [RecordedRun("", "", config, metrics, {}, {}) for config in plans.tried()]
    rows = tables.rate_table({"mnist": live}, made)
    assert [row[-1] for row in rows[:2]] == ["", "✓"]
    # Of a recorded plan those rates are used that a comparison has, whatever the losses.
    used = {row[0]: [other[1] for other in rows[2:] if other[0] == row[0] and other[-1]] for row in rows[2:]}
    assert list(used.values()) == [["0.003"], ["0.003", "0.01"]]


def test_a_comparison_is_whole_when_every_model_that_its_plan_names_first_has_a_run():
    made = [recorded(model, 0, 0.5) for model in MODELS]
    assert set(sets.whole(made, MODELS)) == set(MODELS)
    assert sets.whole(made[1:], MODELS) == {}
    assert sets.whole([], MODELS) == {}
    # Of a recording that has begun a second seed, the first counts.
    assert [run.config.seed for run in sets.whole([*made, recorded("node", 1, 0.5)], MODELS)["node"]] == [0]


def test_a_model_that_comes_afterwards_shortens_no_comparison():
    first = ("anode", "data", "open")
    made = [recorded(model, seed, 0.5) for seed in range(3) for model in first]
    begun = [*made, *(recorded("mix", seed, 0.5) for seed in range(2))]
    assert {model: len(runs) for model, runs in sets.whole(begun, first).items()} == dict.fromkeys(first, 3)
    done = [*begun, recorded("mix", 2, 0.5)]
    assert {model: len(runs) for model, runs in sets.whole(done, first).items()} == dict.fromkeys((*first, "mix"), 3)


PAPER_FIELD = "image_classification_cifar10_32_paper_field"
FIRST = ("anode", "data", "open")


def paper_field(models):
    """Runs of Table 1's setting: data control a point above ANODE, the open loop and the 3×3 kernels three."""
    settings = plans.tables()[PAPER_FIELD].settings
    made = []
    for seed in range(3):
        for model in models:
            accuracy = {"anode": 0.6, "data": 0.61, "open": 0.63, "mix": 0.63}[model] + 0.001 * seed
            accuracy += 0.0001 * (model == "data" and seed) - 0.0001 * (model == "open" and seed)
            numbers = {"train_loss": 1.0, "test_loss": 1.0, "nfe_adaptive": 20.0, "solver_error": 0.1}
            run = recorded(model, seed, accuracy, **numbers, body_parameters=10.0, parameters=20.0)
            rate = 1e-3 if model == "open" else 3e-3
            object.__setattr__(run, "config", Config(model, seed, **settings, learning_rate=rate))
            run.provenance["started"] = "2026-11-01T00:00:00"
            made.append(run)
    return made


def test_table_1s_setting_with_three_models_answers_its_part_of_the_claims(monkeypatch):
    """ANODE, data control and the open loop alone: parts c and d of N11, N12 whole, and nothing of N13."""
    found = {PAPER_FIELD: paper_field(FIRST)}
    monkeypatch.setattr(sets.recordings, "find", lambda name: found.get(name, []))
    monkeypatch.setattr(sets, "comparisons", lambda: {PAPER_FIELD: [run.config for run in found[PAPER_FIELD]]})
    assert list(sets.whole_recordings()) == [PAPER_FIELD]
    named = comparison.several(sets.beside(sets.whole_recordings(), {}))
    epochs = plans.tables()[PAPER_FIELD].settings["epochs"]
    assert list(named) == [f"recorded, CIFAR-10 (JPEG copy) 32×32, dopri5, {epochs} epochs, own rates"]
    answers = {(one.part, one.nearness): one.estimate for one in verdict.n11(named)}
    assert answers == {("c", "reduced"): pytest.approx(1.98), ("d", "reduced"): pytest.approx(1.01)}
    assert [one.part for one in verdict.n12(named)] == ["a", "b", "c"]
    assert verdict.n13(named) == [] and verdict.n13_context(named) == {}
    assert list(verdict.n11_context(named).values()) == [True, True]
    assert len(verdict.n12_context(named)) == 3
    found[PAPER_FIELD] += paper_field(["mix"])
    both = verdict.n13(comparison.several(sets.beside(sets.whole_recordings(), {})))
    accuracies = [run.metrics["test_accuracy"] for run in found[PAPER_FIELD] if run.config.model == "mix"]
    assert [(one.part, one.nearness, one.estimate) for one in both] == [
        ("a", "reduced", pytest.approx(3.0)),
        ("b", "reduced", pytest.approx(1.99)),
        ("c", "reduced", pytest.approx(100 * np.mean(accuracies))),
    ]


@pytest.mark.parametrize(
    ("reached", "expected", "told"),
    [(0, False, "none of its open loops gets there"), (1, None, ""), (3, False, "")],
    ids=["never", "once", "always"],
)
def test_an_open_loop_that_never_gets_to_anodes_accuracy_is_no_faster(reached, expected, told):
    made = {model: [] for model in ("anode", "open")}
    for seed in range(3):
        for model, last in (("anode", 0.6), ("open", 0.7 if seed < reached else 0.5)):
            run = recorded(model, seed, last, train_loss=1.0, nfe_adaptive=20.0)
            alter(run, dataset="cifar10")
            run.history["evaluations"]["accuracy"] = [0.1, 0.2, 0.6, 0.6] if model == "anode" else [0.1, 0.2, 0.3, last]
            run.provenance["started"] = "2026-11-27T00:00:00"
            made[model].append(run)
    (one,) = [one for one in verdict.n12({"x": made}) if one.part == "a"]
    (question,) = [q for q in claims.get("N12").questions if q.part == "a"]
    assert one.answer(question) is expected
    assert told in one.setting


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "paper"),
        ({"variant": "JPEG copy"}, "reduced"),
        ({"epochs": 4}, "reduced"),
        ({"tf32": True}, "reduced"),
        ({"filters": 32}, "reduced"),
        ({"method": "rk4"}, "reduced"),
        ({"size": 16}, "reduced"),
        ({"dataset": "digits"}, "toy"),
    ],
)
def test_only_the_papers_data_block_and_training_are_the_papers_setting(changed, expected):
    printed = {"dataset": "cifar10", "size": 32, "filters": 50, "method": "dopri5", "epochs": 30}
    assert verdict.nearness(Config("open", 0, **{**printed, **changed})) == expected


def test_tables_and_figures_take_sets_with_some_of_the_models():
    made = sets.whole(paper_field(FIRST), FIRST)
    shown = {"recorded": made}
    rows = {row[0]: row[1:] for row in tables.accuracies(shown)["rows"]}
    assert rows[style.LABELS["node"]][-1] == "–" and rows[style.LABELS["open"]][-1].startswith("63")
    dashes = [row[0] for row in tables.differences(shown)["rows"] if row[1] == "–"]
    assert len(dashes) == len(tables.PAIRS) - 3
    assert [row[1] for row in tables.flows(shown)["rows"]] == [style.LABELS[model] for model in made]
    measured = tables.ours(shown)
    assert set(measured["rows"]["N-CODE, open loop"]) == {"CIFAR-10"} and "TF32" in measured["setting"]
    assert sets.nearest(sets.as_printed(shown), "cifar10") is made and sets.nearest(shown, "mnist") is None
    assert sets.budget(made).endswith("alone")
    for drawn in (figures.course(made, "fig-a", "recorded"), figures.augmentation(made, "fig-b", "recorded")):
        assert "each of 3 models" in drawn["alt"]
        plt.close(drawn["drawing"])
    plt.close(figures.gaps(shown)["drawing"])
    assert style.LABELS["mix"] not in analysis.exactness_in_words(shown, "dopri5")


def whole(size, seeds, accuracy=0.5):
    """Runs of all models on images of that size."""
    made = [recorded(model, seed, accuracy + 0.01 * seed) for seed in range(seeds) for model in MODELS]
    for run in made:
        alter(run, size=size)
    return made


@pytest.fixture
def recordings(monkeypatch):
    """Two recordings, of sizes 8 (three seeds) and 14 (three and one cut short), and the wide NODE of the first."""
    small, large, *_ = plans.comparisons()
    wide = [recorded(WIDE, seed, 0.4) for seed in range(3)]
    found = {
        small: whole(8, seeds=3),
        large: [*whole(14, seeds=3, accuracy=0.6), recorded("node", 3, 0.9)],
        f"{small}_wide": wide,
        f"{large}_wide": wide[:2],
    }
    monkeypatch.setattr(sets.recordings, "find", lambda name: found.get(name, []))
    return small, large


def test_recordings_stand_data_set_by_data_set_and_from_small_to_large(monkeypatch):
    names = list(plans.comparisons())[:3]
    found = {name: whole(size, seeds=1) for name, size in zip(names, (28, 14, 14), strict=True)}
    for run in found[names[1]]:
        alter(run, dataset="cifar10")
    monkeypatch.setattr(sets.recordings, "find", lambda name: found.get(name, []))
    assert list(sets.whole_recordings()) == [names[2], names[0], names[1]]


def test_evaluations_grow_from_the_first_look_to_the_last():
    runs = [recorded("node", seed, 0.5) for seed in range(3)]
    assert analysis.evaluations_growth(runs) == pytest.approx((26 / 14, 26 / 14))
    runs[0].history["evaluations"]["nfe_adaptive"] = [14.0, 14.0]
    low, high = analysis.evaluations_growth(runs)
    assert low * high == pytest.approx((26 / 14) ** (4 / 3))
    assert low < 1 < high


def test_recordings_are_gathered_where_every_model_has_a_seed(recordings):
    found = sets.whole_recordings()
    assert list(found) == list(recordings)
    assert {len(runs) for made in found.values() for runs in made.values()} == {3}
    assert WIDE not in found[recordings[0]]
    named = sets.beside(found, {"mnist": {"anode": found[recordings[0]]["anode"][:1]}})
    assert list(named) == ["recorded, MNIST 8×8, 2 epochs", "recorded, MNIST 14×14, 2 epochs",
                           "this run, MNIST 8×8, 2 epochs"]  # fmt: skip
    assert len(comparison.several(named)) == 2, "one seed decides nothing"
    # Two of the same data and length are told apart.
    slower = whole(8, seeds=1)
    for run in slower:
        alter(run, learning_rate=1e-3)
    again = sets.beside({"one": found[recordings[0]], "other": comparison.by_model(slower)}, {})
    assert list(again) == ["recorded, MNIST 8×8, 2 epochs", "recorded, MNIST 8×8, 2 epochs, rate 0.001"]
    assert [line[2:].split(": ")[0] for line in sets.budgets(named).splitlines()] == list(named)


def test_the_wide_node_stands_beside_the_others_where_it_has_their_seeds(recordings):
    small, large = sets.whole_recordings(wide=True).values()
    assert [run.config.seed for run in small[WIDE]] == [0, 1, 2]
    assert WIDE not in large


def test_the_main_recording_has_the_most_models_then_seeds_then_the_largest_images(recordings):
    small, large = recordings
    # Only the smaller images have the wide NODE's runs.
    assert WIDE in sets.fullest(sets.whole_recordings(wide=True), "mnist")
    found = sets.whole_recordings()
    assert sets.fullest(found, "mnist") is found[large]
    found[large] = {model: runs[:2] for model, runs in found[large].items()}
    assert sets.fullest(found, "mnist") is found[small]
    assert sets.fullest(found, "cifar10") is None


def test_accuracies_by_size_are_of_the_seeds_that_all_sizes_have(recordings):
    found = sets.whole_recordings()
    found[recordings[0]] = {model: [runs[0], runs[2]] for model, runs in found[recordings[0]].items()}
    sizes, by_model = sets.by_size(found, "mnist")
    assert sizes == [8, 14]
    np.testing.assert_allclose(by_model["anode"], [[50, 60], [52, 62]])
    assert sets.by_size(found, "cifar10") == ([], {})
    # Another rate is another comparison, not another size.
    faster = whole(14, seeds=3)
    for run in faster:
        alter(run, learning_rate=1e-2)
    again = sets.by_size({**found, "faster": comparison.by_model(faster)}, "mnist")
    np.testing.assert_allclose(again[1]["anode"], by_model["anode"])


def test_a_size_is_harder_where_accuracy_falls_on_every_seed():
    reached = {
        "anode": np.array([[90.0, 95.0, 94.0], [91.0, 96.0, 95.5]]),
        "open": np.array([[90.0, 95.0, 96.0], [91.0, 96.0, 95.5]]),
    }
    assert sets.harder([8, 14, 28], reached) == [(14, 28, ["anode"])]
    assert sets.harder([8, 14], {model: values[:, :2] for model, values in reached.items()}) == []
    assert sets.harder([], {}) == []


@pytest.fixture
def own_rates(monkeypatch):
    """Recordings of one plan: every model's rates, the best 1e-3 for all but ANODE and γ, 1e-2 for them; then runs."""
    name, best = "image_classification_plan", dict.fromkeys(MODELS, 1e-3) | {"anode": 1e-2, "gamma": 1e-2}
    settings = {"dataset": "mnist", "size": 14, "filters": 16, "learning_rate": 1e-2}

    def run(config, loss=0.0):
        return RecordedRun("id", "", config, {"validation_loss": loss, "test_accuracy": 0.5}, {}, {})

    compared = [Config(m, s, **settings) for s in (0, 1) for m in MODELS]
    tables = {name: Profile(settings, {"own_rates": [1e-3, 1e-2]}), "image_classification_other": Profile(settings, {})}
    monkeypatch.setattr(sets, "comparisons", lambda: {name: compared})
    monkeypatch.setattr(sets, "first", lambda name: MODELS)
    monkeypatch.setattr(rates, "comparisons", lambda: {name: compared})
    monkeypatch.setattr(rates, "tables", lambda: tables)
    found = {
        f"{name}_model_rates": [run(c, abs(c.learning_rate - best[c.model])) for c in rates.trials(name)],
        # As often looked at as an older plan wanted.
        name: [run(dataclasses.replace(c, looks=20)) for c in compared],
    }
    monkeypatch.setattr(sets.recordings, "find", lambda name: found.get(name, []))
    return name, found, run


def test_at_its_own_rate_every_model_has_its_best(own_rates):
    name, found, run = own_rates
    assert [plan.name for plan in rates.plans()] == [f"{name}_model_rates", f"{name}_own_rate"]
    needed = rates.comparison(name)
    assert [(c.model, c.seed, c.learning_rate) for c in needed] == [
        (model, seed, 1e-3) for seed in (0, 1) for model in MODELS if model not in ("anode", "gamma")
    ]
    assert sets.at_own_rates() == {}, "one model lacks its runs"
    found[f"{name}_own_rate"] = list(map(run, needed[: len(needed) // 2]))
    (made,) = sets.at_own_rates().values()
    assert {len(runs) for runs in made.values()} == {1}, "the seed that all models have"
    assert sets.learning_rates(made) == dict.fromkeys(MODELS, 1e-3) | {"anode": 1e-2, "gamma": 1e-2}
    assert list(sets.beside({"own": made}, {})) == ["recorded, MNIST 14×14, 5 epochs, own rates"]


def test_rates_are_chosen_when_all_models_had_all_trials(own_rates):
    name, found, run = own_rates
    columns, rows = tables.model_rates_table(name)
    assert columns == ["model", "0.001", "0.01"]
    assert [row[0] for row in rows] == [style.LABELS[model] for model in MODELS]
    assert rows[1] == [style.LABELS["anode"], "0.009", "**0.000**"]
    assert tables.close_call(name).startswith("ANODE's two best rates, 0.01 and 0.001, differ by 0.0090")
    # A trial that is not planned takes no other's place.
    last = found[f"{name}_model_rates"].pop()
    found[f"{name}_model_rates"].append(run(dataclasses.replace(last.config, learning_rate=1.0)))
    assert rates.best(name) == {}
    assert (tables.model_rates_table(name)[1], sets.at_own_rates(), tables.close_call(name)) == ([], {}, "")
    with pytest.raises(ValueError, match="not every run"):
        rates.comparison(name)


def test_of_rates_that_serve_equally_well_the_lower_is_carried_to_another_setting(own_rates):
    name, found, _ = own_rates
    for run in found[f"{name}_model_rates"]:
        if run.config.model == "anode":
            run.metrics["validation_loss"] = 1.0 if run.config.learning_rate == 1e-2 else 1.0 + 0.9 * rates.NEAR
        if run.config.model == "open":
            run.metrics["validation_loss"] = 1.0 if run.config.learning_rate == 1e-2 else 1.0 + 1.1 * rates.NEAR
    carried = rates.carried(name)
    assert (rates.best(name)["anode"], carried["anode"], carried["open"]) == (1e-2, 1e-3, 1e-2)
    found[f"{name}_model_rates"].pop()
    assert rates.carried(name) == {}, "one trial is missing"


def test_a_rate_at_which_validation_failed_is_not_chosen(own_rates):
    name, found, _ = own_rates
    for run in found[f"{name}_model_rates"]:
        if (run.config.model, run.config.learning_rate) == ("open", 1e-3):
            run.metrics["validation_loss"] = math.nan
    assert rates.best(name)["open"] == 1e-2


def test_two_comparisons_of_one_name_are_refused(recordings):
    found = sets.whole_recordings()[recordings[0]]
    with pytest.raises(ValueError, match="would be called"):
        sets.beside({"one": found, "two": found, "three": found}, {})


def test_how_two_models_stand_says_how_many_seeds_are_missing(pairs):
    # Mean 2, standard deviation 1: t(0.975, 3)/2 = 1.59 < 2, so four seeds would do.
    assert typed(analysis.standing(pairs["open"], pairs["anode"])) == "[-0.48, 4.5] (4)"
    assert analysis.standing(pairs["anode"], pairs["anode"]) == "[0, 0] (> 1000)"
    apart = [recorded("open", seed, run.metrics["test_accuracy"] + 0.1) for seed, run in enumerate(pairs["anode"])]
    assert analysis.standing(apart, pairs["anode"]) == "[10, 10]"
    assert analysis.standing(apart[:1], pairs["anode"][:1]) == "–"


def test_data_that_cannot_be_had_are_left_out(monkeypatch):
    def prepare(dataset, variant, images, size):
        if dataset != "digits":
            raise DataError(f"no {dataset}")

    monkeypatch.setattr(sets, "prepare", prepare)
    digits = {"dataset": "digits", "size": 7}
    found, missing = sets.at_hand({"digits": digits, "mnist": {"dataset": "mnist", "size": 28}})
    assert (found, missing) == ({"digits": digits}, ["no mnist"])
    found, missing = sets.at_hand({"mnist": {"dataset": "mnist", "size": 28}})
    assert list(found) == ["digits"]
    assert missing == ["no mnist"]


def test_default_heads_explode_and_ours_do_not():
    assert analysis.first_loss("ours", filters=20, size=14) < 10 < analysis.first_loss("default", filters=20, size=14)


def test_a_mosaic_lays_out_outputs_down_and_inputs_across():
    kernels = torch.arange(2 * 3 * 9.0).reshape(2, 3, 3, 3)
    picture = figures.mosaic(kernels)
    assert picture.shape == (8, 12)
    torch.testing.assert_close(picture[4:7, 8:11], kernels[1, 2])
    assert picture[3].isnan().all()
    assert picture[:, 11].isnan().all()


def test_kernels_are_shown_for_one_image_a_class(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    config = Config("open", 0, size=7, filters=4, images=64, epochs=1, looks=1)
    x, y, own = analysis.own_kernels(image_classification.experiment.run(config), channels=3)
    assert y.tolist() == list(range(10))
    assert (x.shape, own.shape) == ((10, 1, 7, 7), (10, 3, 3, 3, 3))
    assert own.abs().max() > 1e-3
    assert figures.picture(x[0]).shape == (7, 7, 1)
    assert (figures.picture(x[0]).min(), figures.picture(x[0]).max()) == (0, 1)


def varied(configs):
    """Recorded runs of some variations, those with a decay of 3 the best by validation."""
    made = []
    for config in configs:
        best = config.decay == 3.0
        metrics = {
            "validation_loss": 0.5 if best else 1.0, "validation_accuracy": 0.9, "nfe_adaptive": 20.0,
            "test_accuracy": 0.8 + 0.1 * best + 0.01 * config.seed % 0.05, "fitted_accuracy": 0.95, "solver_error": 0.1,
        }  # fmt: skip
        made.append(RecordedRun("", "", config, metrics, {}, {}))
    return made


def test_recorded_variations_are_read_by_role(monkeypatch):
    (name, table), *_ = variations.tables().items()
    tuning = varied(variations.tuning(table.settings))
    made = varied(variations.comparison(table.settings, tuning, seeds=3))
    found = {f"{name}_tuning": tuning, name: made[:-1]}
    monkeypatch.setattr(regularised.recordings, "find", lambda wanted: found.get(wanted, []))
    tuned, chosen = regularised.regularised()
    (title,) = tuned
    roles = chosen[title]
    assert roles["ANODE, tuned"][0] == ("anode", "decay 3")
    # The third seed is not whole.
    assert {len(runs_) for _, runs_ in roles.values()} == {2}
    assert "not told apart" in regularised.generalises(title, roles)
    assert regularised.scores(roles["ANODE"][1], roles["ANODE"][1])[-1] == "–"
    assert typed(regularised.calm(roles["open loop, kinetic"][1], roles["open loop"][1])[2]) == "20 ± 0"
    lines = regularised.saves(title, roles).splitlines()
    assert len(lines) == 2
    assert all("evaluations not told apart" in line and "accuracy not told apart" in line for line in lines)
    calmed = roles["open loop, kinetic"][1]
    for k, run in enumerate(calmed):
        run.metrics["nfe_adaptive"] = 10.0 + 0.01 * k
        run.metrics["test_accuracy"] -= 0.1 + 0.001 * k
    assert "**fewer evaluations**" in regularised.saves(title, roles)
    assert "**lower accuracy**" in regularised.saves(title, roles)
    figure, axes = plt.subplots()
    regularised_figures.tuning_panel(axes, tuned[title], title)
    assert len(axes.lines) == len(tuning) + 1
    plt.close(figure)
    # A tuning that was cut short chooses nothing.
    found[f"{name}_tuning"] = tuning[:-1]
    assert regularised.regularised() == ({}, {})


def test_full_size_is_planned_for_both_data_sets():
    words = hours.plan_in_words()
    for name in ("`paper` profile, MNIST", "`paper` profile, CIFAR-10", "mnist_28", "cifar10_32"):
        assert name in words


def test_what_a_gpu_took_is_said_of_the_flows_that_it_trained(monkeypatch):
    made = [recorded(model, 0, 0.5) for model in ("gamma", "anode", "open")]
    made.insert(1, recorded("anode", 1, 0.5))
    made[1].provenance.update(seconds=1.0, device="a processor, 1 of 2 cores", device_type="cpu")
    for run, seconds in zip((made[0], *made[2:]), (1.0, 20.0, 70.0), strict=True):
        run.provenance.update(seconds=seconds, device="a GPU", device_type="cuda")
    made[-1].provenance.update(device="a GPU, then another")
    name = next(iter(plans.comparisons()))
    monkeypatch.setattr(hours.recordings, "find", lambda asked: made if asked == name else [])
    (line,) = hours.measured()
    words = "20 to 70 seconds a run of 2 epochs on a GPU and another, which many runs shared."
    assert line == f"- `{name}`, as it was recorded: {words}"
    for run in made:
        run.provenance.update(device="a processor, 1 of 2 cores", device_type="cpu")
    assert hours.measured() == []


def test_the_gap_is_of_the_trained_model_and_is_asked_where_it_was_measured():
    older = recorded("anode", 0, 0.9, test_loss=0.5, train_loss=0.2)
    newer = recorded("anode", 1, 0.9, test_loss=0.5, train_loss=0.2, fitted_loss=0.1)
    assert analysis.generalisation_gap([newer]) == pytest.approx([0.4])
    assert analysis.fitted([newer]) and not analysis.fitted([newer, older])


def test_the_ratio_of_evaluations_is_paired_by_seed():
    nfe = {"node": (20.0, 40.0, 80.0), "anode": (10.0, 20.0, 40.0)}
    made = [recorded(m, k, 0.9, nfe_adaptive=n) for m, of in nfe.items() for k, n in enumerate(of)]
    assert analysis.evaluations_ratio(comparison.by_model(made), "node", "anode") == pytest.approx((2.0, 2.0))
