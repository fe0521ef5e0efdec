"""`make book`, before and while it works: who may build, what is refused, and what it says meanwhile."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ncode.reproduction.publishing import build
from ncode.reproduction.publishing.progress import Progress, span

ROOT = Path(__file__).resolve().parents[2]

HOLDS = """
import subprocess, sys, time
from ncode.reproduction.publishing import build
with build.sole("smoke") as holder:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "snakemake"], process_group=0)
    build.tell(holder, left.pid)
    print(left.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("profile", ["foo", "", "../x", "a b", "cpu smoke", "%", "cpu;touch x"])
def test_an_unknown_profile_is_refused_at_once_in_one_line(tmp_path, profile):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        ["make", "book", f"PROFILE={profile}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert f"PROFILE is '{profile}' but must be one of smoke, cpu, recorded and paper" in done.stderr
    assert len(list(tmp_path.iterdir())) == 3, "nothing was made"


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A folder whose book another process builds: that process, and one that works for it."""
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    holding = subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, env=environment)
    worker = int(holding.stdout.readline())
    yield holding, worker
    holding.kill()
    holding.wait()
    if runs(worker):
        os.kill(worker, signal.SIGKILL)


def runs(process: int) -> bool:
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return bool(stat.stdout.strip()) and not stat.stdout.startswith("Z")


def test_a_second_build_says_who_builds_since_when_and_touches_nothing(held, capsys):
    holding, worker = held
    failed = Path("_build/smoke/failed")
    failed.mkdir(parents=True)
    (failed / "05_reflection.txt").write_text("of the build that runs")
    Path("_build/smoke/snakemake.log").write_text("of the build that runs")
    assert build.main(["smoke"]) == 1
    told = capsys.readouterr().err
    assert re.search(rf"being built in this folder by process {holding.pid} on \S+, since \d{{4}}-\d\d-\d\d ", told)
    assert len(told.splitlines()) == 1
    assert (failed / "05_reflection.txt").exists()
    assert Path("_build/smoke/snakemake.log").read_text() == "of the build that runs"
    assert runs(worker)


def test_a_killed_builds_lock_is_taken_over_and_what_it_left_is_ended(held, capsys):
    holding, worker = held
    holding.send_signal(signal.SIGKILL)
    holding.wait()
    assert runs(worker), "it goes on without the process that it works for"
    with build.sole("smoke") as holder:
        assert build._said(holder)["process"] == os.getpid()
        assert f"process {holding.pid}) was killed" in capsys.readouterr().out
        deadline = time.monotonic() + 30
        while runs(worker) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not runs(worker)
    assert not holder.exists()


def test_another_profile_is_another_book(held):
    with build.sole("cpu"):
        pass


def test_a_process_number_that_was_used_again_is_left_alone(tmp_path, monkeypatch):
    """A stranger in the group that the killed build wrote down."""
    monkeypatch.chdir(tmp_path)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=0)
    try:
        Path("_build").mkdir()
        build.tell(Path("_build/.smoke.holder"), stranger.pid)
        with build.sole("smoke"):
            assert runs(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


class TestProgress:
    def follow(self, folder: Path, *lines: str) -> str:
        out = io.StringIO()
        Progress(folder, out).follow(f"{line}\n" for line in lines)
        return out.getvalue()

    def test_says_which_notebook_and_how_long_it_took_last_time(self, tmp_path):
        lines = ("executing notebooks/05_reflection.py (cpu)", "executed notebooks/05_reflection.py (cpu)")
        (tmp_path / "snakemake.log").write_text("job         count\nnotebook        3\npublish         1\n")
        first = self.follow(tmp_path, *lines)
        assert "executing notebooks/05_reflection.py (cpu): for the first time here" in first
        assert "executed notebooks/05_reflection.py in 0 s (1 of 3 notebooks)" in first
        (tmp_path / "seconds.json").write_text('{"05_reflection": 130.0}')
        assert "about 2 min, as last time" in self.follow(tmp_path, *lines)

    def test_a_failed_notebook_is_named_and_its_time_is_not_kept(self, tmp_path):
        told = self.follow(
            tmp_path, "executing notebooks/01_x.py (cpu)", "failed: notebooks/01_x.py: cell [2]: ValueError: no"
        )
        assert "FAILED notebooks/01_x.py" in told
        assert not (tmp_path / "seconds.json").exists()

    def test_says_since_when_it_works_on_what(self, tmp_path):
        progress = Progress(tmp_path, io.StringIO())
        progress.seconds = {"01_x": 40.0}
        progress.hear("executing notebooks/01_x.py (cpu)")
        progress.hear("executing notebooks/02_y.py (cpu)")
        assert progress.state() == "0 notebooks; working on 01_x 0 s of about 40 s, 02_y 0 s"

    def test_counts_as_a_reader_does(self):
        assert [span(s) for s in (0.4, 99.0, 100.0, 3600.0, 7500.0)] == ["0 s", "99 s", "2 min", "60 min", "2 h 5 min"]
