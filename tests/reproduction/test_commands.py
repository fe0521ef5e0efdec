"""The command line `ncode`: what it finds, what it says, and how it refuses."""

import json

import pytest
from typer.testing import CliRunner

from ncode.reproduction.commands import health
from ncode.reproduction.commands.main import app
from ncode.reproduction.runs import recordings

RUNNER = CliRunner()


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command line with a store of runs and data of its own; status and output."""
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("NCODE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        done = RUNNER.invoke(app, arguments)
        return done.exit_code, done.output

    return call


RUN = ("run", "reflection", "model=node", "iterations=2", "points=20", "hidden=[4]", "--profile", "smoke")


def test_help_teaches_every_command(call):
    status, told = call("--help")
    assert status == 0
    for word in ("list", "show", "compare", "verify", "run", "doctor", "install-completion", "Start with"):
        assert word in told
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        status, told = call(name, "--help")
        assert status == 0
        assert "Example" in told or name == "doctor"


def test_recordings_are_listed_with_runs_and_seeds(call):
    status, told = call("list")
    assert status == 0
    runs = recordings.load("orbits_mnist")
    (line,) = (line for line in told.splitlines() if line.startswith("orbits_mnist "))
    assert line.split()[1:3] == [str(len(runs)), str(len({run.config.seed for run in runs}))]


def test_a_recording_is_shown_with_what_its_runs_share_and_what_came_out(call):
    status, told = call("show", "orbits_mnist")
    run = recordings.load("orbits_mnist")[0]
    assert status == 0
    assert "orbits: 6 runs" in told
    assert 'dataset = "mnist"' in told
    assert 'model = "ncode" (3 seeds)' in told
    assert run.provenance["commit"] in told


def test_two_recordings_are_compared_model_by_model(call):
    status, told = call("compare", "latent_clustering_mnist", "latent_clustering_cifar10")
    assert status == 0
    assert any(line.split()[:3] == ["dataset", '"mnist"', '"cifar10"'] for line in told.splitlines())
    assert 'model = "pca": kmeans' in told


def test_a_run_is_made_once_listed_shown_and_named_by_its_beginning(call, tmp_path):
    status, told = call(*RUN)
    assert status == 0, told
    (record,) = (tmp_path / "runs").glob("reflection/*/record.json")
    made = json.loads(record.read_text())
    assert made["config"]["iterations"] == 2
    assert made["config"]["hidden"] == [4]
    stamp = record.stat().st_mtime_ns
    again, found = call(*RUN)
    assert again == 0
    assert found.strip() in told, "found, not made again"
    assert record.stat().st_mtime_ns == stamp
    assert made["id"] in call("list", "runs")[1]
    assert "mse = " in call("show", made["id"][:6])[1]


def test_verify_is_content_with_a_run_and_names_the_one_that_was_changed(call, tmp_path):
    assert call(*RUN)[0] == 0
    status, told = call("verify")
    assert (status, told.strip()) == (0, "Everything is what was computed.")
    (record,) = (tmp_path / "runs").glob("reflection/*/record.json")
    record.write_text(record.read_text().replace('"mse": ', '"mse": 1'))
    status, told = call("verify")
    assert status == 1
    assert str(record.parent) in told
    assert "1 problem\n" in told


REFUSED = {
    ("show", "nothing"): "no recording and no run is called 'nothing'",
    ("list", "wishes"): "'wishes' is not one of experiments, recordings, runs",
    ("run", "nothing"): "there is none called 'nothing'",
    ("run", "reflection"): "has no default for model: give model=VALUE (one of node",
    ("run", "reflection", "depth=3"): "'depth=3': must be FIELD=VALUE, with a field of model, seed",
    ("run", "reflection", "model=node", "--profile", "huge"): "profile: 'huge' is not one of smoke, cpu, paper",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_cannot_be_done_is_refused_in_words(call, arguments):
    status, told = call(*arguments)
    assert status == 2
    assert REFUSED[arguments] in " ".join(told.replace("│", " ").split())


def test_the_doctor_says_what_there_is(call, tmp_path):
    status, told = call("doctor")
    assert status == 0
    for part in ("torch ", "GPU", f"{tmp_path / 'runs'} (0 finished", "set by NCODE_RUNS", "recordings"):
        assert part in told


def test_the_doctor_fails_where_nothing_can_be_written(call, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "file" / "runs"))
    status, told = call("doctor")
    assert status == 1
    assert "cannot be written; set NCODE_RUNS" in told
    assert not next(fact for fact in health.facts() if fact.name == "runs").fine
