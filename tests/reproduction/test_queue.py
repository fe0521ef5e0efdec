"""The queue and its workers: order, estimates, resume in the same bits, one run one process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ncode.reproduction import profiles
from ncode.reproduction.claims import claims
from ncode.reproduction.experiments import reflection
from ncode.reproduction.runs import cli, provenance, queue, recordings, verify, work
from ncode.reproduction.runs.experiment import Plan, named
from ncode.reproduction.runs.queue import FINISHED, PARTIAL, PLANNED, Entry, Worth

SMALL = reflection.Config("node", 0, iterations=4, points=16, hidden=(4,))


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path / "results")
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "results"


def entry(index=0, config=SMALL, state=PLANNED, **worth) -> Entry:
    measured = worth.pop("measured", {})
    return Entry(reflection.experiment, "reflection_small", index, config, Worth(**worth), state, measured)


class Planned:
    """The reflection with a plan of a few small runs."""

    def __init__(self, monkeypatch, configs):
        self.name, self.configs = "reflection_small", configs
        # An experiment is frozen; its class is what can be told of plans.
        monkeypatch.setattr(
            type(reflection.experiment), "planned", lambda _: {self.name: Plan(self.name, lambda: list(configs))}
        )

    def entries(self):
        return queue.entries([reflection.experiment])


@pytest.fixture
def planned(monkeypatch, results):
    return Planned(monkeypatch, [reflection.Config(m, s, 4, 16, (4,), (4,)) for s in (0, 1) for m in ("node", "open")])


def test_every_recording_in_the_queues_file_is_planned_and_every_claim_is_one():
    known = {name for one in map(named, queue.RECORDING_EXPERIMENTS) for name in one.planned()}
    assert queue.worths().keys() <= known
    assert {claim for worth in queue.worths().values() for claim in worth.decides} <= claims.load().keys()


def claims_named(text: str) -> set[str]:
    """The claims in a sentence such as ``N16 to N18 and N24, as claims.toml asks them``."""
    spans = re.findall(r"N(\d+)(?:[a-z]\b)?(?: to N(\d+))?", text)
    return {f"N{k}" for first, last in spans for k in range(int(first), int(last or first) + 1)}


def test_what_was_asked_of_a_recording_is_what_the_queue_says_that_it_decides():
    worths = queue.worths()
    for section in ("autoencoding", "pattern_memorisation", "annuli"):
        for name, table in profiles.recorded(section).items():
            # What was declared as context decides nothing, and stands behind the last semicolon or is all there is.
            asked = table.options.get("asked", "").split("; N")[0]
            wanted = set() if asked.endswith("context.") or "claims.toml" not in asked else claims_named(asked)
            # A recording's evaluations have its name behind their own experiment's.
            of_name = [worth for key, worth in worths.items() if key.partition("_")[2].endswith(name)]
            assert wanted <= {claim for worth in of_name for claim in worth.decides}, (section, name)


def test_the_most_valuable_comes_first_and_plans_keep_their_order(planned, monkeypatch):
    assert [one.index for one in planned.entries()] == [0, 1, 2, 3]
    monkeypatch.setattr(queue, "worths", lambda: {"reflection_small": Worth(2, ("N8",), {"cpu": 7200})})
    ((priority, name, decides, runs, cpu, cuda),) = queue.table(planned.entries())
    assert (priority, name, decides, runs, cpu, cuda) == ("2", "reflection_small", "N8", "4 of 4", "~8.0", "?")


def test_states_are_seen_on_disk_and_in_recordings(planned, tmp_path):
    run = reflection.experiment.run(planned.configs[0])
    assert [one.state for one in planned.entries()] == [FINISHED, PLANNED, PLANNED, PLANNED]
    (tmp_path / "runs" / "reflection" / reflection.experiment.identity(planned.configs[1])).mkdir(parents=True)
    checkpoint = tmp_path / "runs" / "reflection" / reflection.experiment.identity(planned.configs[1]) / "checkpoint.pt"
    checkpoint.touch()
    assert planned.entries()[1].state == PARTIAL
    recordings.save("reflection_small", [run])
    first = planned.entries()[0]
    assert first.measured == {"cpu": run.provenance["seconds"]}
    assert first.seconds("cpu") == run.provenance["seconds"] and first.seconds("cuda") is None


def test_a_recording_grows_run_by_run_in_the_plans_order(planned, results):
    for k in (2, 0, 3, 2):
        path = work.keep(planned.entries()[k])
    made = recordings.load("reflection_small")
    assert [(run.config.model, run.config.seed) for run in made] == [("node", 0), ("node", 1), ("open", 1)]
    assert path == results / "reflection_small.json"


def test_what_is_recorded_is_sealed_and_no_other_edit_with_it(planned, results):
    work.keep(planned.entries()[0])
    assert not list(verify.of_recordings(results))
    other = results / "other.json"
    other.write_text("[]")
    work.keep(planned.entries()[1])
    (finding,) = verify.of_recordings(results)
    assert finding.path == other


def test_recording_the_first_runs_again_takes_no_other_away(planned, monkeypatch):
    for k in range(3):
        work.keep(planned.entries()[k])
    monkeypatch.setattr(cli, "named", lambda name: reflection.experiment)
    cli.record("reflection", first=1)
    assert len(recordings.load("reflection_small")) == 3


def test_an_entry_starts_only_where_it_reaches_a_checkpoint():
    hour = entry(seconds={"cpu": 3600.0})
    assert work.fits(hour, "cpu", 1000) and not work.fits(hour, "cpu", 800)
    assert work.fits(entry(state=PARTIAL, seconds={"cpu": 3600.0}), "cpu", 1)
    assert work.fits(entry(), "cpu", 1), "of which nothing is known"
    assert work.fits(entry(measured={"cpu": 4.0}, seconds={"cpu": 3600.0}), "cpu", 2), "what was measured counts"


def sleeper(seconds):
    def begin(one, device):
        return subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])

    return begin


def test_when_the_time_is_over_what_runs_is_stopped(results):
    outcome = work.work([entry(k) for k in range(3)], 0.5, jobs=2, tell=lambda line: None, begin=sleeper(60))
    assert outcome.stopped == ["reflection_small:0", "reflection_small:1"] and not outcome.finished


def test_a_worker_that_is_asked_to_end_leaves_no_run_behind(results):
    begun, before = [], signal.getsignal(signal.SIGTERM)

    def begin(one, device):
        begun.append(sleeper(600)(one, device))
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return begun[-1]

    outcome = work.work([entry(k) for k in range(3)], 600, jobs=2, tell=lambda line: None, begin=begin)
    assert outcome.stopped == ["reflection_small:0", "reflection_small:1"]
    assert all(process.poll() is not None for process in begun)
    assert signal.getsignal(signal.SIGTERM) is before


def test_looking_through_the_queue_counts_as_work(planned, monkeypatch, capsys):
    def slow(*_, **__):
        time.sleep(0.2)
        return planned.entries()

    monkeypatch.setattr(cli, "entries", slow)
    monkeypatch.setattr(work, "start", lambda *_: pytest.fail("the time was over"))
    cli.take(0.1 / 60, "cpu", 1, None)
    assert "finished 0, stopped 0, failed 0" in capsys.readouterr().out


def test_only_what_was_asked_for_is_looked_through(planned, monkeypatch):
    monkeypatch.setattr(queue, "_state", lambda *_: pytest.fail("nobody asked for it"))
    assert queue.entries([reflection.experiment], only=["another"]) == []


def test_a_process_reads_the_code_of_an_experiment_once(monkeypatch):
    provenance.code_fingerprint.cache_clear()
    read = []
    monkeypatch.setattr(provenance, "fingerprint_of", lambda _, module: read.append(module) or "one")
    assert [provenance.code_fingerprint("ncode.models") for _ in range(3)] == ["one"] * 3
    assert read == ["ncode.models"]
    provenance.code_fingerprint.cache_clear()


def test_a_failed_run_is_named_and_the_rest_goes_on(planned):
    def begin(one, device):
        return subprocess.Popen([sys.executable, "-c", f"import sys; sys.exit({int(one.index == 0)})"])

    lines = []
    outcome = work.work(planned.entries()[:2], 60, tell=lines.append, begin=begin)
    assert outcome.failed == ["reflection_small:0"] and outcome.finished == ["reflection_small:1"]
    assert any(line.startswith("failed reflection_small:0: see ") for line in lines)


def test_a_run_that_cannot_be_recorded_ends_no_worker(planned, monkeypatch):
    def begin(one, device):
        return subprocess.Popen([sys.executable, "-c", ""])

    def full(entry):
        raise ValueError("run: too many runs")

    monkeypatch.setattr(work, "keep", full)
    lines = []
    outcome = work.work(planned.entries()[:2], 60, tell=lines.append, begin=begin)
    assert outcome.finished == ["reflection_small:0", "reflection_small:1"]
    assert sum(line.endswith("not recorded: run: too many runs") for line in lines) == 2


def test_a_worker_sees_no_gpu_unless_it_asked_for_one():
    assert work.environment("cpu")["CUDA_VISIBLE_DEVICES"] == ""
    assert work.environment("cuda").get("CUDA_VISIBLE_DEVICES") != ""
    assert work.environment("cpu")["OMP_NUM_THREADS"] == "1"


@pytest.mark.slow
def test_a_stopped_run_ends_in_the_bits_of_one_that_was_not(monkeypatch, tmp_path):
    """Two workers, one after the other, against a run in one go: weights and metrics are equal."""
    code = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "import dying\n"
        "from ncode.reproduction.experiments import annuli\n"
        "config = annuli.Config('node', 0, iterations=500, points=64, batch=32, hidden=(8,))\n"
        "dying.after(int(sys.argv[2]), of='loss')\n"
        "run = annuli.experiment.run(config, Path(sys.argv[1]))\n"
        "calls = dying.end()\n"
        "weights = [float(p.detach().double().sum()) for p in run.model().parameters()]\n"
        "print(json.dumps([run.metrics, weights, calls]))\n"
    )

    def run(folder, dies_at=0):
        told = work.environment("cpu")
        told["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, [told.get("PYTHONPATH")])])
        command = [sys.executable, "-c", code, str(folder), str(dies_at)]
        return subprocess.run(command, capture_output=True, text=True, env=told)

    *whole, calls = json.loads(run(tmp_path / "whole").stdout.splitlines()[-1])
    assert calls == 500
    assert run(tmp_path / "parts", dies_at=300).returncode == -signal.SIGKILL
    *parts, left = json.loads(run(tmp_path / "parts").stdout.splitlines()[-1])
    assert left == 300, "it went on from the checkpoint at 200"
    for metrics in (whole[0], parts[0]):
        metrics.pop("seconds", None)
    assert parts == whole
