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
            {"in_gap": 0.5 + 0.01 * (seed % 3)},
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
    assert [one.seeds for one in found] == [20] * len(steering.STEERED)
    assert found[0].estimate == pytest.approx(0.5 + 0.01 * sum(s % 3 for s in range(5, 25)) / 20 - steering.GAP_SHARE)


def test_the_fresh_seeds_are_fresh():
    planned = annuli.steering.experiment.planned()
    first = {(one.seed, one.steer) for one in planned["annuli_steering"].configs()}
    again = [(one.seed, one.steer) for one in planned["annuli_steering_again"].configs()]
    assert len(again) == len(set(again)) == 100
    assert not first & set(again)
