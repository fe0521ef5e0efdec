"""Recordings: written small, read back, and a clear answer where there is none."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from ncode.reproduction.experiments import pattern_memorisation
from ncode.reproduction.experiments.pattern_memorisation import plans
from ncode.reproduction.publishing import execute
from ncode.reproduction.runs import cli, recordings, verify
from ncode.reproduction.runs.configs import typed
from ncode.reproduction.runs.experiment import Experiment, Plan, Run
from ncode.reproduction.runs.output import RunOutput
from ncode.training import History


@dataclass(frozen=True)
class Plain:
    seed: int = 0


def noisy(config, checkpoint):
    history = History(loss=[float(k) for k in range(1000)], metrics={"error": [float("nan")] * 10 + [0.5] * 990})
    return RunOutput({"x": 1.0}, history)


NOISY = Experiment("noisy", Plain, None, noisy)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    known = {"noisy": NOISY, "pattern_memorisation": pattern_memorisation.experiment}
    monkeypatch.setattr(recordings, "named", known.__getitem__)
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path)
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    return tmp_path


def test_a_recording_is_thin_and_comes_back(folder):
    made = NOISY.run(Plain())
    recordings.save("noisy", [made], points=100)
    (read,) = recordings.load("noisy")
    assert (read.id, read.config, read.metrics) == (made.id, Plain(0), {"x": 1.0})
    assert read.provenance["commit"] and read.provenance["threads"]
    assert read.history["iteration"][-1] == 1000 and len(read.history["loss"]) == 100
    assert read.history["loss"][0] == 4.5 and read.history["error"][:2] == [None, 0.5]


def test_too_large_a_recording_is_refused(folder, monkeypatch):
    monkeypatch.setattr(recordings, "LIMIT", 100)
    with pytest.raises(ValueError, match="too many runs"):
        recordings.save("large", [NOISY.run(Plain())])
    assert not (folder / "large.json").exists()


def test_one_run_more_thins_the_histories_that_lie_there(folder, monkeypatch):
    """Each mean is of the iterations that it stands for, gaps left out, so the whole keeps its mean."""
    runs = [NOISY.run(Plain(k)) for k in range(4)]
    for run in runs[:3]:
        recordings.add("noisy", run, lambda config: config.seed)
    monkeypatch.setattr(recordings, "LIMIT", (folder / "noisy.json").stat().st_size)
    recordings.add("noisy", runs[3], lambda config: config.seed)
    found = recordings.load("noisy")
    assert [one.id for one in found] == [run.id for run in runs]
    for one in found:
        assert len(one.history["loss"]) == len(one.history["error"]) == len(one.history["iteration"]) == 50
        assert one.history["iteration"][:2] == [20, 40] and one.history["iteration"][-1] == 1000
        assert np.mean(one.history["loss"]) == pytest.approx(499.5, rel=1e-3)
        assert set(one.history["error"]) == {0.5}
    monkeypatch.setattr(recordings, "LIMIT", 100)
    with pytest.raises(ValueError, match="too many runs"):
        recordings.add("noisy", runs[0], lambda config: config.seed)


def test_a_missing_recording_is_named_with_those_there_are(folder):
    recordings.save("one", [])
    with pytest.raises(FileNotFoundError, match=r"'two'.*one"):
        recordings.load("two")


def test_recording_an_experiment_goes_on_where_it_stopped(folder, monkeypatch):
    small = {"bits": 20, "iterations": 3, "test_episodes": 5}
    configs = [pattern_memorisation.Config(learner, 0, **small) for learner in ("hebb", "ncode")]
    monkeypatch.setattr(plans, "plans", lambda: [Plan("small", lambda: configs)])
    cli.main(["record", "pattern_memorisation"])
    first = recordings.load("small")
    assert [run.config.learner for run in first] == ["hebb", "ncode"]
    cli.main(["record", "pattern_memorisation", "small"])
    # Equal down to the seconds and the time of day: nothing was computed again.
    assert recordings.load("small") == first


def test_what_is_not_finite_is_strict_json_and_comes_back(folder):
    metrics = {"a": float("inf"), "b": float("-inf"), "c": float("nan"), "d": 0.5}
    provenance = {"commit": "abc"}
    recordings.save("limits", [Run("id", NOISY, Plain(), metrics, History(), provenance, folder)])
    (found,) = recordings.load("limits")
    assert (found.metrics["a"], found.metrics["b"], found.metrics["d"]) == (float("inf"), float("-inf"), 0.5)
    assert np.isnan(found.metrics["c"])

    def refuse(constant):
        raise AssertionError(constant)

    json.loads((folder / "limits.json").read_text(), parse_constant=refuse)


def test_every_committed_recording_is_readable_and_small():
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    found = sorted(recordings.folder().glob("*.json"))
    assert found
    for path in found:
        json.loads(path.read_text(), parse_constant=refuse)
        assert path.stat().st_size <= recordings.LIMIT
        for run in recordings.load(path.stem):
            assert run.provenance["commit"] and not run.provenance["commit"].endswith("-dirty")


def test_a_picture_comes_back_with_what_is_known_of_it(folder):
    rng = np.random.default_rng(0)
    run = Run("id", NOISY, Plain(), {}, History(), {"commit": "abc"}, folder)
    for channels in (1, 3):
        images = rng.integers(0, 256, (2, 3, channels, 4, 5)) / 255
        recordings.save_picture("shown", images, [run], times=[0.0, 1.0])
        found = recordings.find_picture("shown")
        np.testing.assert_array_equal(found.images, images)
        of = {"id": "id", "config": {"seed": 0}, "provenance": run.provenance}
        assert found.facts == {"runs": [of], "times": [0.0, 1.0]}
    assert recordings.find_picture("other") is None
    with pytest.raises(ValueError, match="show fewer"):
        recordings.save_picture("large", rng.random((40, 40, 3, 10, 10)), [run])


def test_every_committed_picture_is_of_committed_runs():
    found = sorted(recordings.folder().glob("*.png"))
    assert found
    for path in found:
        assert path.stat().st_size <= recordings.LIMIT
        facts = recordings.find_picture(path.stem).facts
        recorded = recordings.load(path.stem.rpartition("_")[0])
        assert facts["runs"]
        of = {run.id: run for run in recorded}
        for run in facts["runs"]:
            known = of[run["id"]]
            assert typed(type(known.config), run["config"]) == known.config
            assert run["provenance"] == known.provenance


def test_recordings_are_those_that_the_list_of_checksums_names():
    assert list(map(str, verify.of_recordings(recordings.folder()))) == []


def test_recordings_are_made_with_as_many_threads_as_notebooks_run_with():
    assert str(cli.THREADS) == execute.ENVIRONMENT["OMP_NUM_THREADS"]
