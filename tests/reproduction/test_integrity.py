"""What is kept is what was computed: kills, pairs of processes, damaged and edited files, and recomputation."""

import json
import os
import random
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from ncode.reproduction.experiments import annuli, autoencoding, digit_features, image_classification, reflection
from ncode.reproduction.runs import provenance, store, verify
from ncode.reproduction.runs.experiment import CHECKPOINT, LOCK, PARTS, Experiment, named
from ncode.reproduction.runs.files import DamagedFile, digest_of, write_atomically
from ncode.reproduction.runs.output import RunOutput

ROOT = Path(verify.__file__).parents[3]


@dataclass(frozen=True)
class Config:
    seed: int = 0


def build(config: Config) -> nn.Module:
    torch.manual_seed(config.seed)
    return nn.Linear(3, 2)


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    model = build(config)
    return RunOutput(evaluate(config, model), model=model, arrays={"path": torch.arange(3.0)})


def evaluate(config: Config, model: nn.Module) -> dict[str, float]:
    with torch.no_grad():
        return {"score": model(torch.ones(1, 3)).sum().item()}


SMALL = Experiment("small", Config, build, train, evaluate=evaluate)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(verify, "named", lambda name: SMALL if name == "small" else named(name))
    (tmp_path / "results").mkdir()
    return tmp_path / "runs"


def found(folder, **options) -> list[str]:
    return [str(finding) for finding in verify.verify(folder, folder.with_name("results"), **options)]


def test_sound_runs_have_no_findings_even_when_computed_again(folder):
    for seed in range(3):
        SMALL.run(Config(seed))
    assert found(folder, recompute=3) == []


@pytest.mark.parametrize("name", [store.RECORD, store.WEIGHTS])
def test_one_flipped_bit_anywhere_is_found_and_named(folder, name):
    run = SMALL.run(Config())
    path = run.folder / name
    whole = path.read_bytes()
    rng = random.Random(0)
    for place in [0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(30))]:
        bits = bytearray(whole)
        bits[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bits)
        with pytest.raises(DamagedFile, match=name) as error:
            SMALL.run(Config()).model()
        assert str(path) in str(error.value) and "Delete the run's folder" in str(error.value)
        assert any(name in problem for problem in found(folder))
    path.write_bytes(whole)
    assert found(folder) == []


@pytest.mark.parametrize("name", [store.RECORD, store.WEIGHTS])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_named_with_the_remedy(folder, name, share):
    run = SMALL.run(Config())
    path = run.folder / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamagedFile, match="Delete the run's folder"):
        SMALL.run(Config()).model()
    assert len(found(folder)) == 1


EDITS = {
    "a metric": lambda raw: raw["metrics"].update(score=1.0),
    "the id": lambda raw: raw.update(id="0" * 16),
    "the commit": lambda raw: raw["provenance"].update(commit="0" * 12),
    "the configuration": lambda raw: raw["config"].update(seed=7),
    "the history": lambda raw: raw["history"]["loss"].append(0.0),
    "the checksum": lambda raw: raw.update(sha256="0" * 64),
    "no checksum": lambda raw: raw.pop("sha256"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edited_record_is_refused(folder, edit):
    path = SMALL.run(Config()).folder / store.RECORD
    raw = json.loads(path.read_text())
    edit(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(DamagedFile, match="checksum"):
        SMALL.run(Config())
    assert len(found(folder)) == 1


def test_another_seeds_weights_and_another_runs_record_are_refused(folder):
    one, other = SMALL.run(Config(0)), SMALL.run(Config(1))
    for name in (store.WEIGHTS, store.RECORD):
        path = one.folder / name
        own = path.read_bytes()
        path.write_bytes((other.folder / name).read_bytes())
        with pytest.raises(DamagedFile):
            SMALL.run(Config(0)).model()
        assert len(found(folder)) >= 1
        path.write_bytes(own)
    (one.folder / store.WEIGHTS).unlink()
    with pytest.raises(DamagedFile, match="missing"):
        SMALL.run(Config(0)).array("path")


def test_a_metric_whose_record_was_sealed_again_is_found_when_it_is_computed_again(folder):
    path = SMALL.run(Config()).folder / store.RECORD
    raw = json.loads(path.read_text())
    raw.pop("sha256")
    raw["metrics"]["score"] += 1.0
    path.write_text(json.dumps({**raw, "sha256": digest_of(raw)}))
    assert found(folder) == []
    (problem,) = found(folder, recompute=1)
    assert "score is" in problem


def test_what_killed_processes_left_is_found_and_cleaned(folder):
    run = SMALL.run(Config())
    checkpoint = run.folder / CHECKPOINT
    checkpoint.write_text("")
    assert "left by a process that was killed" in found(folder)[0]
    SMALL.run(Config())
    assert not checkpoint.exists()
    (run.folder / store.RECORD).unlink()
    temporary = run.folder / f".{store.RECORD}.{'0' * 32}"
    temporary.write_text("{")
    SMALL.run(Config())
    assert sorted(path.name for path in run.folder.iterdir()) == sorted([LOCK, store.RECORD, store.WEIGHTS])


def test_a_run_that_went_on_elsewhere_names_every_machine_and_when_it_began(folder, monkeypatch):
    left = ["a laptop", "a GPU", "a GPU"]

    def falters(config, checkpoint):
        checkpoint.write_text("")
        left.pop(0)
        if left:
            raise KeyboardInterrupt
        return train(config)

    monkeypatch.setattr(provenance, "device_name", lambda: left[0] if left else "a GPU")
    experiment = Experiment("small", Config, build, falters)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            experiment.run(Config())
    run = experiment.run(Config())
    assert run.provenance["device"] == "a laptop, then a GPU"
    assert [part["device"] for part in run.provenance["parts"]] == ["a laptop", "a GPU", "a GPU"]
    assert run.provenance["started"] == run.provenance["parts"][0]["started"]
    assert not (run.folder / PARTS).exists()


def test_a_run_that_was_stopped_and_went_on_in_one_place_has_no_parts(folder):
    place = folder / "small" / SMALL.identity(Config())
    place.mkdir(parents=True)
    here = provenance.here()
    part = {"started": "2026-11-27", "device": here["device"], "commit": here["commit"]}
    (place / PARTS).write_text(json.dumps([{**part, "torch": here["versions"]["torch"]}]))
    (place / CHECKPOINT).write_text("")
    facts = SMALL.run(Config()).provenance
    assert "parts" not in facts and facts["device"] == here["device"] and facts["started"] == "2026-11-27"


def test_a_process_that_left_no_checkpoint_is_no_part_of_a_run(folder, monkeypatch):
    place = folder / "small" / SMALL.identity(Config())
    place.mkdir(parents=True)
    (place / PARTS).write_text(json.dumps([{"device": "another machine", "started": "2026"}]))
    facts = SMALL.run(Config()).provenance
    assert "another" not in facts["device"] and "parts" not in facts


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O: No space left")])
def test_a_full_disk_names_file_and_folder(tmp_path, error):
    def fails(path):
        raise error

    with pytest.raises(OSError, match=r"a\.bin") as raised:
        write_atomically(tmp_path / "a.bin", fails)
    assert str(tmp_path) in str(raised.value) and raised.value.errno == 28


def test_an_edited_recording_is_found(tmp_path):
    for name in ("orbits_mnist.json", "autoencoding_mnist_orbit.png"):
        (tmp_path / name).write_bytes((ROOT / "results" / name).read_bytes())
    verify.seal(tmp_path)
    assert not list(verify.of_recordings(tmp_path))
    assert not list(verify.of_recordings(tmp_path / "nothing recorded yet"))
    path = tmp_path / "orbits_mnist.json"
    text = path.read_text()
    path.write_text(text.replace('"formed": ', '"formed": 1'))
    (problem,) = map(str, verify.of_recordings(tmp_path))
    assert "orbits_mnist.json" in problem and "seal" in problem
    path.write_text(text[:-100])
    assert len(list(verify.of_recordings(tmp_path))) == 2, "neither listed so nor readable"
    path.unlink()
    assert "is not there" in str(next(verify.of_recordings(tmp_path)))
    path.write_text(text)
    (tmp_path / "another.json").write_text("[]")
    assert "not listed" in str(next(verify.of_recordings(tmp_path)))


def test_an_edited_measurement_of_speed_is_found_and_sealing_it_hides_no_other_edit(tmp_path):
    for name in ("performance.jsonl", "orbits_mnist.json"):
        (tmp_path / name).write_bytes((ROOT / "results" / name).read_bytes())
    verify.seal(tmp_path)
    assert not list(verify.of_recordings(tmp_path))
    path = tmp_path / "performance.jsonl"
    path.write_text(path.read_text().replace('"ratio": 1', '"ratio": 9', 1))
    assert ["performance.jsonl" in str(problem) for problem in verify.of_recordings(tmp_path)] == [True]
    other = tmp_path / "orbits_mnist.json"
    other.write_text(other.read_text() + "\n")
    verify.seal(tmp_path, "performance.jsonl")
    assert ["orbits_mnist.json" in str(problem) for problem in verify.of_recordings(tmp_path)] == [True]


PROCESS = """
import os, sys, time
from dataclasses import dataclass
from pathlib import Path
import torch
from torch import nn
from ncode.reproduction.runs import experiment as runs
from ncode.reproduction.runs.output import RunOutput

@dataclass(frozen=True)
class Config:
    seed: int = 0

def train(config, checkpoint=None):
    with open(os.environ["CALLS"], "a") as file:
        file.write("x")
    while not os.path.exists(os.environ["UNTIL"]):
        time.sleep(0.05)
    torch.manual_seed(config.seed)
    return RunOutput({"score": 1.5}, model=nn.Linear(400, 400))

if __name__ == "__main__":
    import worker
    torch.set_num_threads(1)
    experiment = runs.Experiment("worker", worker.Config, None, worker.train)
    run = experiment.run(worker.Config())
    print(run.id, run.provenance["started"], run.weights, flush=True)
"""


@pytest.fixture
def start(tmp_path, folder):
    """Starts processes that want runs of one experiment."""
    (tmp_path / "worker.py").write_text(PROCESS)

    def started(until: Path) -> subprocess.Popen:
        environment = os.environ | {
            "CALLS": str(tmp_path / "calls"),
            # Whoever runs the tests without bars gets this one.
            "TQDM_DISABLE": "",
            "UNTIL": str(until),
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, tmp_path))),
        }
        return subprocess.Popen(
            [sys.executable, "worker.py"],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return started


def test_two_processes_compute_a_run_once(tmp_path, start):
    waits = b"another process computes"
    pair = [start(until=tmp_path / "go") for _ in range(2)]
    errors = {process.stderr.fileno(): b"" for process in pair}
    # However late the second begins, the first is not done before it waits.
    while not any(waits in told for told in errors.values()):
        ready, _, _ = select.select(list(errors), [], [], 600)
        assert ready and all(process.poll() is None for process in pair), errors
        for number in ready:
            errors[number] += os.read(number, 4096)
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=600)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], errors
    assert said[0] == said[1] != ""
    assert (tmp_path / "calls").read_text() == "x"
    assert sum(waits in told for told in errors.values()) == 1, "the second waits with a bar"


@pytest.mark.slow
def test_kills_at_random_moments_lose_and_change_nothing(tmp_path):
    kills = 4
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(kills), str(tmp_path / "killed")]
    made = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert made.returncode == 0, made.stdout + made.stderr
    told = [json.loads(line) for line in made.stdout.splitlines() if line.startswith("{")]
    assert len(told) == 5
    for experiment in told:
        assert experiment["finished"] > 0 and not experiment["wrong"], experiment
        assert experiment["killed"] == kills and experiment["resumed"] > 0, experiment


@pytest.mark.parametrize(
    "config",
    [
        reflection.Config("open", 0, iterations=2),
        annuli.Config("closed", 0, iterations=2, evaluate_every=1),
        autoencoding.Config("ncode", 0, images=64, width=0.1, latent=4, epochs=1, batch=32, looks=1),
        image_classification.Config("open", 0, size=5, filters=3, images=64, epochs=1, looks=1),
        digit_features.Config(width=2, hidden=4, epochs=1),
    ],
    ids=lambda config: type(config).__module__.split(".")[-2],
)
def test_an_experiments_metrics_come_out_again_from_weights_and_data(folder, monkeypatch, config):
    monkeypatch.setattr(verify, "named", named)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    name = type(config).__module__.split(".")[-2]
    run = named(name).run(config)
    assert named(name).evaluate(config, run.model())
    assert found(folder, recompute=1) == []


def test_sealing_a_file_that_is_not_there_is_refused_and_changes_nothing(tmp_path):
    (tmp_path / "made.json").write_text("[]")
    before = verify.seal(tmp_path).read_text()
    with pytest.raises(ValueError, match="is called 'made'"):
        verify.seal(tmp_path, "made")
    assert (tmp_path / verify.SUMS).read_text() == before
