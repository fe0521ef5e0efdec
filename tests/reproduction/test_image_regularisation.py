"""Variations of γ: what is compared is chosen by validation alone."""

from dataclasses import asdict

import pytest

from ncode.reproduction.experiments.image_classification import build, experiment
from ncode.reproduction.experiments.image_regularisation import variations
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.recordings import RecordedRun

SETTINGS = {"dataset": "digits", "size": 5, "filters": 3, "epochs": 2, "learning_rate": 3e-3, "cosine": True}


def tuned(**changed):
    """A tuning's runs: validation loss 1, accuracy 0.9, 20 evaluations but where ``changed`` says otherwise.

    The test metrics say the opposite of validation's, so that a choice by them would show.
    """
    made = []
    for config in variations.tuning(SETTINGS):
        (name,) = (
            n
            for n in variations.VARIATIONS[config.model]
            if variations.variation(config.model, n, 100, SETTINGS) == config
        )
        metrics = {"validation_loss": 1.0, "validation_accuracy": 0.9, "nfe_adaptive": 20.0}
        metrics |= changed.get(config.model, {}).get(name, {})
        metrics |= {"test_loss": -metrics["validation_loss"], "test_accuracy": 1 - metrics["validation_accuracy"]}
        made.append(RecordedRun("", "", config, metrics, {}, {}))
    return made


def test_every_variation_changes_the_fixed_configuration_in_one_field():
    for model, names in variations.VARIATIONS.items():
        fixed = asdict(variations.variation(model, variations.FIXED, 0, SETTINGS))
        for name in names:
            made = asdict(variations.variation(model, name, 0, SETTINGS))
            changed = {field for field in fixed if fixed[field] != made[field]}
            assert len(changed) == (name != variations.FIXED), name
    assert variations.variation("open", "rate × 3", 0, SETTINGS).learning_rate == pytest.approx(9e-3)


def test_both_models_are_tuned_by_the_same_and_the_open_loop_by_more():
    assert set(variations.VARIATIONS["anode"]) < set(variations.VARIATIONS["open"])


def test_runs_are_named_by_their_configuration():
    found = variations.named(tuned(), SETTINGS)
    assert list(found) == [(model, name) for model, names in variations.VARIATIONS.items() for name in names]
    assert all(len(made) == 1 for made in found.values())


def test_variations_run_on_the_seeds_of_what_they_are_compared_with(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    settings = SETTINGS | {"images": 64, "epochs": 1, "looks": 1}
    fixed = {
        model: [experiment.run(variations.variation(model, variations.FIXED, seed, settings)) for seed in (3, 5)]
        for model in ("anode", "open")
    }
    made = variations.beside(fixed, ["dropout 0.3"], settings)
    assert [of for of, _ in made.values()] == [
        ("anode", variations.FIXED), ("open", variations.FIXED), ("open", "dropout 0.3")
    ]  # fmt: skip
    assert all([run.config.seed for run in records] == [3, 5] for _, records in made.values())
    every = [run for _, records in made.values() for run in records]
    assert variations.named(every, settings) == dict(made.values())


def test_the_best_has_the_lowest_validation_loss():
    made = tuned(anode={"decay 3": {"validation_loss": 0.8}}, open={"dropout 0.1": {"validation_loss": 0.7}})
    roles = variations.chosen(variations.named(made, SETTINGS))
    assert roles["ANODE, tuned"] == ("anode", "decay 3")
    assert roles["open loop, tuned"] == ("open", "dropout 0.1")
    # The flow's regularisers have a table of their own and tune nobody.
    made = tuned(open={"kinetic 1": {"validation_loss": 0.1}})
    assert variations.chosen(variations.named(made, SETTINGS))["open loop, tuned"] == ("open", variations.FIXED)


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        # Fewest evaluations of those that are accurate enough.
        ({"kinetic 1": {"nfe_adaptive": 18.0}, "kinetic 10": {"nfe_adaptive": 14.0}}, "kinetic 10"),
        ({"kinetic 10": {"nfe_adaptive": 14.0, "validation_accuracy": 0.88}}, "kinetic 1"),
        # None is: the most accurate.
        ({"kinetic 1": {"validation_accuracy": 0.5}, "kinetic 10": {"validation_accuracy": 0.6}}, "kinetic 10"),
        # Equal evaluations: the more accurate.
        ({"kinetic 1": {"validation_accuracy": 0.91}}, "kinetic 1"),
    ],
)
def test_the_calmest_flow_is_chosen_at_equal_accuracy(changed, wanted):
    assert variations.calmest(variations.named(tuned(open=changed), SETTINGS), list(variations.KINETIC)) == wanted


def test_the_comparison_runs_each_choice_once_a_seed_whole_seeds_first():
    configs = variations.comparison(SETTINGS, tuned(anode={"decay 3": {"validation_loss": 0.8}}), seeds=2)
    assert len(configs) == len(set(configs))
    assert [config.seed for config in configs] == sorted(config.seed for config in configs)
    # ANODE twice; the open loop fixed, which is its best too, with both readings, and with two calm flows.
    assert len(configs) == 2 * 7
    assert variations.SEED not in {config.seed for config in configs}


def test_the_recorded_comparison_reads_its_tuning(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path)
    planned = {plan.name: plan for plan in variations.plans()}
    for name in variations.tables():
        configs = planned[f"{name}_tuning"].configs()
        assert {config.seed for config in configs} == {variations.SEED}
        assert build(configs[0]) is not None
        with pytest.raises(FileNotFoundError):
            planned[name].configs()
