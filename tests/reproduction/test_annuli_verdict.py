"""Which runs decide N10: those on seeds that no run had before the question, once there are any."""

import pytest

from ncode.reproduction.experiments import annuli
from ncode.reproduction.experiments.annuli import steering, verdict
from ncode.reproduction.runs import recordings


def of_seeds(seeds):
    return [
        recordings.RecordedRun(
            f"{steer}{seed}",
            "",
            annuli.Config("open", seed, steer=steer),
            {"in_gap": 0.5 + 0.01 * (seed % 3), "changes": 1.0},
            {},
            {"started": "2026-11-27"},
        )
        for seed in seeds
        for steer in steering.STEERED
    ]


def test_fresh_seeds_decide_alone(monkeypatch):
    made = {"annuli_steering": of_seeds(range(5))}
    monkeypatch.setattr(recordings, "find", lambda name: made.get(name, []))
    assert {run.config.seed for run in verdict.n10_runs()} == {0, 1, 2, 3, 4}
    assert verdict.n10_asked_again(verdict.n10_runs()) == ""
    made["annuli_steering_again"] = of_seeds(range(5, 25))
    assert {run.config.seed for run in verdict.n10_runs()} == set(range(5, 25))
    assert "first 5 seeds left the question undecided" in verdict.n10_asked_again(verdict.n10_runs())
    found = verdict.n10(verdict.n10_runs(), "paper")
    assert [one.seeds for one in found] == [20] * 2 * len(steering.STEERED)
    assert all(one.exact for one in found if one.part == "a")
    assert found[1].estimate == pytest.approx(0.5 + 0.01 * sum(s % 3 for s in range(5, 25)) / 20 - steering.GAP_SHARE)


def test_a_seed_without_a_change_speaks_against_a_change_and_not_of_its_place():
    runs = of_seeds(range(6))
    still = next(run for run in runs if run.config.steer == "*.bias" and run.config.seed == 3)
    told = verdict.n10_told(runs)
    assert "Every seed that decides has a change" in told and "true of: biases, weights" in told
    still.metrics.update(in_gap=0.0, changes=0.0)
    answers = {(one.part, one.of): one for one in verdict.n10(runs, "paper")}
    assert answers["a", "biases"].exact is False and answers["a", "weights"].exact is True
    assert answers["b", "biases"].seeds == 5 and answers["b", "biases"].interval[0] > 0.1
    told = verdict.n10_told(runs)
    assert "biases 1 of 6 (then [" in told and "true of: weights, first layer, last layer, everything." in told


def test_the_fresh_seeds_are_fresh():
    planned = annuli.steering.experiment.planned()
    first = {(one.seed, one.steer) for one in planned["annuli_steering"].configs()}
    again = [(one.seed, one.steer) for one in planned["annuli_steering_again"].configs()]
    assert len(again) == len(set(again)) == 100
    assert not first & set(again)
