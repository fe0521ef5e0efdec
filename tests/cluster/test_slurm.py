"""The queue and the book through Slurm, for real: two nodes on this host, one of them taken away under a run.

``pip install -e ".[cluster,test]"``, ``apt-get install slurm-wlm munge``, then ``pytest tests/cluster``.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from ncode.reproduction.experiments import annuli
from ncode.reproduction.runs.experiment import named
from ncode.reproduction.runs.store import RECORD
from ncode.reproduction.runs.work import environment
from tests.cluster import one_host

ROOT = Path(__file__).resolve().parents[2]
RECORDING, RUNS = "annuli_steering", 2
PRIVATE = ["--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(one_host.missing()), reason=f"not installed: {', '.join(one_host.missing())}"),
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake_executor_plugin_slurm") is None, reason="the extra `cluster` is missing"
    ),
]


@pytest.fixture
def slurm():
    # A socket's path is short.
    folder = tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)
    with folder as name, one_host.Slurm(Path(name)) as running:
        yield running


def snakemake(*arguments: str) -> list[str]:
    profile = str(ROOT / "workflow/profiles/slurm")
    return [sys.executable, "-m", "snakemake", "--profile", profile, *PRIVATE, *arguments]


def facts(folder: Path) -> dict:
    """What a run is, without the times of day and the seconds that it took: no two runs share those."""
    raw = json.loads((folder / RECORD).read_text())
    raw.pop("sha256")
    raw["history"].pop("seconds")
    raw["provenance"] = {k: v for k, v in raw["provenance"].items() if k not in ("seconds", "started")}
    return raw


def records(folder: Path) -> dict[str, dict]:
    return {str(path.parent.relative_to(folder)): facts(path.parent) for path in sorted(folder.rglob(RECORD))}


@pytest.fixture
def trainings(unchecked):
    """The folders of the queue's trainings below the folder of runs, by place in the queue."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    configs = named("annuli.steering").planned()[RECORDING].configs()[:RUNS]
    yield {k: Path("annuli") / annuli.experiment.identity(config) for k, config in enumerate(configs)}
    torch.set_num_threads(threads)


def test_a_run_whose_node_is_taken_away_resumes_on_the_other_and_its_record_is_the_local_one(
    slurm, trainings, tmp_path
):
    runs, local, table = tmp_path / "runs", tmp_path / "local", tmp_path / "queue.json"
    told = {**environment("cpu"), **slurm.environment, "NCODE_RUNS": str(runs)}
    written = ["queue", "--write", str(table), "--device", "cpu", "--only", RECORDING, "--first", str(RUNS)]
    module = [sys.executable, "-m", "ncode.reproduction.runs"]
    subprocess.run([*module, *written, "--finished"], env=told, cwd=ROOT, check=True)

    call = snakemake("-s", str(ROOT / "workflow/queue.smk"), "-d", str(tmp_path / "work"), "--configfile", str(table))
    with (tmp_path / "snakemake.log").open("w") as log:
        making = subprocess.Popen(call, env=told, cwd=ROOT, stdout=log, stderr=log)
        try:
            place, node, kept = _under_a_run(slurm, making, {k: runs / path for k, path in trainings.items()})
            slurm.take_down(node)
            others = _until_it_runs_again(slurm, making, place)
            code = making.wait(300)
        finally:
            making.kill()
    assert code == 0, (tmp_path / "snakemake.log").read_text()
    assert others != node and slurm.states()[node] == "down"

    for k in range(RUNS):
        one = [*module, "one", "annuli.steering", RECORDING, str(k)]
        subprocess.run(one, env={**environment("cpu"), "NCODE_RUNS": str(local)}, cwd=ROOT, check=True)
    assert records(runs) == records(local) and len(records(runs)) == 2 * RUNS
    # It went on: the seconds of its first steps are those that were measured on the node that is gone.
    resumed = json.loads((runs / trainings[place] / RECORD).read_text())["history"]["seconds"]
    assert len(kept) > 0 and resumed[: len(kept)] == kept


def _under_a_run(slurm, making, folders) -> tuple[int, str, list[float]]:
    """The run that has a checkpoint, the node that it is on, and the seconds of the steps before the checkpoint."""
    while making.poll() is None:
        jobs = {comment: node for _, node, comment in slurm.where()}
        for place, folder in folders.items():
            node = next((node for comment, node in jobs.items() if comment.endswith(f"_{place}")), None)
            if node and (folder / "checkpoint").exists():
                saved = torch.load(folder / "checkpoint", weights_only=True)
                return place, node, saved["history"]["seconds"]
        time.sleep(0.1)
    pytest.fail("no run had a checkpoint")


def _until_it_runs_again(slurm, making, place: int) -> str:
    """The node that the run is on next."""
    gone = time.monotonic()
    while making.poll() is None and time.monotonic() < gone + 240:
        for _, node, comment in slurm.where():
            if comment.endswith(f"_{place}") and slurm.states()[node] != "down":
                return node
        time.sleep(0.2)
    pytest.fail("the run was not started again")


def test_the_smoke_book_goes_through_it(slurm):
    """Every notebook is a job; the pages are the ones that `make book` builds. Finished runs are found again."""
    call = snakemake("--config", "profile=smoke", "--set-resources", "notebook:gpu=0")
    subprocess.run(call, env={**environment("cpu"), **slurm.environment}, cwd=ROOT, check=True)
    assert (ROOT / "_build/smoke/html/index.html").exists()
