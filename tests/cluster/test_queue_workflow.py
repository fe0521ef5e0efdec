"""The queue as a cluster's jobs: what the workflow is told, and that Snakemake plans it as told."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ncode.reproduction.commands import main
from ncode.reproduction.experiments import reflection
from ncode.reproduction.publishing import cluster as costs
from ncode.reproduction.runs import cli, cluster, recordings, work
from ncode.reproduction.runs.experiment import Plan
from ncode.reproduction.runs.queue import FINISHED, PLANNED, Entry, Speed, Worth

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [reflection.Config("node", seed, 4, 16, (4,), (4,)) for seed in range(3)]


def entry(index=0, state=PLANNED, recording="reflection_small", **worth) -> Entry:
    return Entry(reflection.experiment, recording, index, CONFIGS[index], Worth(**worth), state)


def test_a_job_has_what_its_run_needs():
    queue = [entry(0, FINISHED), entry(1, priority=2, seconds={"cuda": 90}, memory=1.5), entry(2)]
    job = cluster.jobs(queue, "cuda")["reflection_small"]
    assert (job["runs"], job["gpus"], job["memory"], job["priority"]) == ([1, 2], 1, 1500, 7)
    assert job["minutes"] == cluster.START + 3, "twice the estimate, and the start"
    assert cluster.jobs(queue, "cpu")["reflection_small"]["minutes"] == cluster.UNKNOWN
    assert cluster.jobs(queue, "cpu")["reflection_small"]["gpus"] == 0
    assert cluster.jobs(queue, "cpu", finished=True)["reflection_small"]["runs"] == [0, 1, 2]


def test_gpus_take_the_queue_in_its_order():
    queue = [entry(k, seconds={"cuda": 3600 * hours}) for k, hours in enumerate((1, 2, 3))]
    assert [cluster.hours_on(queue, gpus) for gpus in (1, 2, 3, 8)] == [6, 4, 3, 3]
    assert cluster.hours_on([*queue, entry()], 1) == 6, "of which nothing is known"
    assert cluster.least(entry(seconds={"cuda": 5, "cpu": 4})) == 4


def test_a_gpu_that_is_shared_counts_in_parts():
    one = entry(evaluations=100, speed={"cuda": Speed(alone=10, together=40, start=8)}, jobs=4)
    assert one.device_seconds("cuda") == (8 + 10) / 4 and one.seconds("cuda") == 18


def test_the_page_counts_every_run_once_and_says_what_is_not_known():
    queue = [entry(0, FINISHED, seconds={"cuda": 3600}), entry(1, seconds={"cuda": 3600}), entry(2, recording="other")]
    told = costs.written(queue)
    rows = [row.split("\n  - ") for row in told.split("* - ")[1:]]
    assert [cell.strip() for cell in rows[1]][:3] == ["`reflection_small`", "2", "1"]
    assert [cell.strip().split("\n")[0] for cell in rows[1]][3:] == ["?", "?", "~1.0", "~2.0"]
    assert [cell.strip().split("\n")[0] for cell in rows[2]][3:] == ["?"] * 4
    gpus = {row[0]: [cell.strip().split("\n")[0] for cell in row[1:]] for row in rows[4:]}
    assert gpus["1"] == ["2.0", "1.0"] and gpus["2"] == ["1.0", "1.0"]
    assert "1 of all, 1 of what is left" in told


def test_the_command_writes_what_was_chosen(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(cli, "_queue", lambda only: asked.append(only) or [entry(k) for k in range(3)])
    told = ["queue", "--write", str(tmp_path / "queue.json"), "--device", "cpu", "--only", "one", "--first", "2"]
    done = CliRunner().invoke(main.app, told)
    assert done.exit_code == 0 and "2 runs -> " in done.output and asked == [["one"]]
    job = json.loads((tmp_path / "queue.json").read_text())["queue"]["reflection_small"]
    assert (job["runs"], job["device"]) == ([0, 1], "cpu")


def planned(table: Path, folder: Path) -> str:
    """What Snakemake says that it would do."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "workflow/queue.smk"), "-d", str(folder)]
    done = subprocess.run(
        [*command, "--configfile", str(table), "--dry-run", "--printshellcmds", "--cores", "1"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_snakemake_plans_one_job_a_run_with_its_resources(tmp_path):
    table = tmp_path / "queue.json"
    queue = [entry(1, memory=2, seconds={"cuda": 600}), entry(2, memory=2), entry(0, recording="another", memory=1)]
    assert cluster.write(table, queue, "cuda") == 3
    told = planned(table, tmp_path / "work")
    assert re.search(r"reflection_small +2\n", told) and re.search(r"another +1\n", told)
    assert "mem_mb=2000" in told and "mem_mb=1000" in told and "runtime=30" in told and "gpu=1" in told
    assert "ncode.reproduction.runs one reflection reflection_small 2" in told
    assert "CUDA_VISIBLE_DEVICES" not in told
    cluster.write(table, queue, "cpu")
    assert "CUDA_VISIBLE_DEVICES= " in planned(table, tmp_path / "work")


def test_finished_jobs_are_not_done_again(tmp_path):
    table, done = tmp_path / "queue.json", tmp_path / "work" / "_build" / "queue" / "reflection_small" / "0"
    cluster.write(table, [entry()], "cpu")
    done.parent.mkdir(parents=True)
    done.touch()
    assert "Nothing to be done" in planned(table, tmp_path / "work")


def test_what_jobs_leave_is_collected_once(monkeypatch, tmp_path):
    monkeypatch.setattr(recordings, "folder", lambda: tmp_path / "results")
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    plan = Plan("reflection_small", lambda: CONFIGS)
    monkeypatch.setattr(type(reflection.experiment), "planned", lambda _: {"reflection_small": plan})
    made = [reflection.experiment.run(CONFIGS[k]) for k in (2, 0)]
    queue = [entry(0, FINISHED), entry(1), entry(2, FINISHED)]
    assert work.collect(queue) == ["reflection_small:0", "reflection_small:2"]
    assert [run.id for run in recordings.load("reflection_small")] == [made[1].id, made[0].id]
    assert work.collect(queue) == []


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_profile_sets_only_what_snakemake_or_its_plugin_knows(name):
    profile = yaml.safe_load((ROOT / "workflow/profiles" / name / "config.yaml").read_text())
    assert profile["executor"] == name and profile["retries"] >= 1
    if name == "kubernetes":
        plugin = pytest.importorskip("snakemake_executor_plugin_kubernetes")
    else:
        plugin = pytest.importorskip("snakemake_executor_plugin_slurm")
    known = {f"{name}-{field.replace('_', '-')}" for field in plugin.ExecutorSettings.__dataclass_fields__}
    assert {key for key in profile if key.startswith(f"{name}-")} <= known
