"""A worker's copies elsewhere: whole, in order, and enough to end in the same bits when the machine is gone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ncode.reproduction.experiments import reflection
from ncode.reproduction.runs import cli, recordings, work
from ncode.reproduction.runs.copies import Copies
from ncode.reproduction.runs.experiment import root
from ncode.reproduction.runs.queue import PARTIAL, PLANNED, Entry, Speed, Worth

ROOT = Path(__file__).resolve().parents[2]
SMALL = reflection.Config("node", 0, iterations=4, points=16, hidden=(4,))


@pytest.fixture
def runs(monkeypatch, tmp_path):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_finished_run_is_copied_at_once_and_is_the_same_elsewhere(runs, tmp_path, monkeypatch):
    copies = Copies(tmp_path / "elsewhere", every=3600)
    run = reflection.experiment.run(SMALL)
    copies.look()
    assert names(tmp_path / "elsewhere") == ["record.json", "weights.safetensors"]
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "another"))
    assert Copies(tmp_path / "elsewhere").take_up() == 1
    again = reflection.experiment.finished(run.id)
    assert again.metrics == run.metrics and again.weights == run.weights
    assert Copies(tmp_path / "elsewhere").take_up() == 0, "what is finished here is not brought again"


def test_checkpoints_are_copied_only_so_often_and_the_last_one_always(runs, tmp_path):
    copies = Copies(tmp_path / "elsewhere", every=3600)
    here, there = runs / "reflection" / "one", tmp_path / "elsewhere" / "runs" / "reflection" / "one"
    here.mkdir(parents=True)
    for k, looked in enumerate(("0", "0", "2")):
        (here / "checkpoint").write_text(str(k))
        os.utime(here / "checkpoint", (time.time() + k, time.time() + k))
        copies._looked = 0.0
        copies.look(last=k == 2)
        assert (there / "checkpoint").read_text() == looked


def test_a_finished_runs_checkpoint_goes_and_old_runs_are_left_alone(runs, tmp_path):
    old = runs / "reflection" / "old"
    old.mkdir(parents=True)
    (old / "record.json").touch()
    os.utime(old, (time.time() - 1000,) * 2)
    copies = Copies(tmp_path / "elsewhere", every=0)
    here = runs / "reflection" / "new"
    here.mkdir()
    (here / "checkpoint").touch()
    copies.look(last=True)
    (here / "record.json").touch()
    (here / ".checkpoint.0123").touch()
    copies.look(last=True)
    assert names(tmp_path / "elsewhere") == ["record.json"]


def test_what_is_further_here_is_not_overwritten(runs, tmp_path):
    for folder, text, when in ((tmp_path / "elsewhere" / "runs", "old", 100), (runs, "new", 200)):
        (folder / "reflection" / "one").mkdir(parents=True)
        (folder / "reflection" / "one" / "checkpoint").write_text(text)
        os.utime(folder / "reflection" / "one" / "checkpoint", (when, when))
    assert Copies(tmp_path / "elsewhere").take_up() == 0
    assert (runs / "reflection" / "one" / "checkpoint").read_text() == "new"


def test_a_folder_that_would_be_lost_with_the_runs_is_refused_and_one_that_fails_stops_nobody(runs, tmp_path):
    with pytest.raises(ValueError, match=r"^keep: .*lies in the folder of runs"):
        Copies(runs / "copies")
    (tmp_path / "file").touch()
    lines = []
    copies = Copies(tmp_path / "file", tell=lines.append)
    reflection.experiment.run(SMALL)
    copies.look()
    assert lines and lines[0].startswith("could not be kept: ")


WORKER = """
import sys
from pathlib import Path
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.copies import Copies
from ncode.reproduction.runs.experiment import named
from ncode.reproduction.runs.queue import PLANNED, Entry, Worth
from ncode.reproduction.runs.work import work

elsewhere, results = map(Path, sys.argv[1:])
recordings.folder = lambda: results
experiment = named("annuli.steering")
config = experiment.planned()["annuli_steering"].configs()[0]
copies = Copies(elsewhere, every=0)
print("took up", copies.take_up(), flush=True)
entry = Entry(experiment, "annuli_steering", 0, config, Worth(), PLANNED)
print(work([entry], 300, copies=copies), flush=True)
"""


def made(folder: Path) -> dict[str, dict]:
    """The records below a folder, without what no two runs share."""
    found = {}
    for path in sorted(folder.rglob("record.json")):
        raw = json.loads(path.read_text())
        raw.pop("sha256"), raw["history"].pop("seconds")
        for name in ("seconds", "started"):
            raw["provenance"].pop(name)
        found[str(path.relative_to(folder))] = raw
    return found


@pytest.mark.slow
def test_a_run_whose_machine_is_taken_away_ends_elsewhere_in_the_same_bits(tmp_path):
    """kill -9 to the worker and its run, and their folder is gone: what is left are the copies."""
    elsewhere = tmp_path / "elsewhere"

    def worker(runs: str, **how) -> subprocess.Popen:
        told = {**work.environment("cpu"), "NCODE_RUNS": str(tmp_path / runs)}
        command = [sys.executable, "-c", WORKER, str(elsewhere), str(tmp_path / "results")]
        return subprocess.Popen(command, env=told, cwd=ROOT, stdout=subprocess.PIPE, text=True, **how)

    lost = worker("lost", start_new_session=True)
    end = time.monotonic() + 120
    while not list(elsewhere.rglob("checkpoint")):
        assert lost.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    os.killpg(lost.pid, signal.SIGKILL)
    lost.wait()
    shutil.rmtree(tmp_path / "lost")
    assert not list(elsewhere.rglob("record.json")), "it was in the middle"

    said = worker("another").communicate(timeout=600)[0]
    assert "took up 1" in said and "finished=['annuli_steering:0']" in said
    one = [sys.executable, "-m", "ncode.reproduction.runs", "one", "annuli.steering", "annuli_steering", "0"]
    subprocess.run(one, env={**work.environment("cpu"), "NCODE_RUNS": str(tmp_path / "whole")}, cwd=ROOT, check=True)
    assert made(tmp_path / "another") == made(tmp_path / "whole") == made(elsewhere / "runs")
    assert (elsewhere / "results" / "annuli_steering.json").exists()


def entry(index=0, state=PLANNED, **worth) -> Entry:
    return Entry(reflection.experiment, "reflection_small", index, SMALL, Worth(**worth), state)


def test_runs_that_share_a_device_take_what_its_speed_says():
    shared = entry(evaluations=1000, speed={"cuda": Speed(alone=10, together=40, start=5)})
    assert shared.seconds("cuda") == 105 and shared.seconds("cuda", 4) == 105, "four fill it"
    assert shared.seconds("cuda", 8) == 205 and shared.seconds("cpu", 8) is None


def test_a_rehearsal_says_what_starts_and_how_far_it_comes():
    queue = [entry(k, seconds={"cpu": 100}) for k in range(3)] + [entry(3, seconds={"cpu": 10_000})]
    found = work.rehearse(queue, 160, jobs=2)
    assert [(one.entry.index, one.start, one.share) for one in found] == [(0, 0, 1), (1, 0, 1), (2, 100, 0.6)]
    assert [one.share for one in work.rehearse([entry()], 60)] == [None]
    partial = work.rehearse([entry(state=PARTIAL, seconds={"cpu": 1000})], 10)
    assert [one.share for one in partial] == [0.01], "a partial run reaches its next checkpoint, or may"
    assert work.rehearse(queue, 0) == []


def test_dry_run_makes_nothing(runs, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_queue", lambda only: [entry(0, seconds={"cpu": 30})])
    monkeypatch.setattr(work, "start", lambda *_: pytest.fail("a rehearsal starts nothing"))
    cli.main(["work", "--minutes", "1", "--dry-run"])
    told = capsys.readouterr().out
    assert "reflection_small:0: starts after 0 s, takes 30 s, finishes" in told
    assert "1 would start, 1 of them finish in 1 minutes" in told
    assert not root().exists()


def test_a_worker_takes_up_records_and_keeps(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path / "results")
    monkeypatch.setattr(cli, "_queue", lambda only: [])
    (tmp_path / "elsewhere" / "runs" / "reflection" / "one").mkdir(parents=True)
    (tmp_path / "elsewhere" / "runs" / "reflection" / "one" / "checkpoint").touch()
    cli.main(["work", "--minutes", "1", "--keep", str(tmp_path / "elsewhere")])
    assert "took up 1 runs" in capsys.readouterr().out and (runs / "reflection" / "one" / "checkpoint").exists()
