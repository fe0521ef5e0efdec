"""Records: finished runs are found again, and nothing else is."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ncode.reproduction.data import datasets
from ncode.reproduction.experiments import image_classification
from ncode.reproduction.runs import provenance, store
from ncode.reproduction.runs.configs import plain, typed
from ncode.reproduction.runs.experiment import Experiment, named, root
from ncode.reproduction.runs.output import RunOutput, fingerprint
from ncode.reproduction.runs.sources import Sources

CALLS = []
ROOT = Path(provenance.__file__).parents[3]


@dataclass(frozen=True)
class Config:
    seed: int = 0
    widths: tuple[int, ...] = (2, 3)


def build(config: Config) -> nn.Module:
    """A layer that no run has trained."""
    return nn.Linear(2, 1)


def train(config: Config, checkpoint=None) -> RunOutput:
    """A run that notes that it ran."""
    CALLS.append(config)
    torch.manual_seed(config.seed)
    model = nn.Linear(2, 1)
    return RunOutput({"score": 1.5}, model=model, arrays={"path": torch.arange(3.0)}, data=fingerprint(torch.ones(2)))


COUNTED = Experiment("counted", Config, build, train)


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    CALLS.clear()


def test_a_finished_run_is_loaded_and_not_computed():
    first = COUNTED.run(Config())
    second = COUNTED.run(Config())
    assert len(CALLS) == 1
    assert first == second
    assert second.metrics == {"score": 1.5}
    assert second.config == Config()


def test_a_changed_config_code_or_version_is_another_run(monkeypatch):
    before = COUNTED.identity(Config())
    assert COUNTED.identity(Config(seed=1)) != before
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "versions", lambda: {"torch": "0"})
        assert COUNTED.identity(Config()) != before
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "code_fingerprint", lambda module: "other")
        assert COUNTED.identity(Config()) != before
    assert COUNTED.identity(Config()) == before


def test_an_interrupted_run_is_not_taken_for_finished(monkeypatch):
    def fails(path, write):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomically", fails)
        with pytest.raises(OSError, match="disk full"):
            COUNTED.run(Config())
    COUNTED.run(Config())
    assert len(CALLS) == 2


def test_weights_and_arrays_come_back():
    run = COUNTED.run(Config(seed=3))
    torch.manual_seed(3)
    expected = nn.Linear(2, 1)
    assert torch.equal(run.model().weight, expected.weight)
    assert not run.model().training
    np.testing.assert_array_equal(run.array("path"), [0, 1, 2])
    with pytest.raises(KeyError):
        run.array("nothing")


def test_an_experiment_without_models_says_so():
    with pytest.raises(ValueError, match="keep no model"):
        Experiment("bare", Config, None, train).run(Config()).model()


def test_a_configuration_comes_back_as_it_was_with_defaults_for_what_came_later():
    assert typed(Config, plain(Config(3, (4, 5)))) == Config(3, (4, 5))
    # A list from a settings file is the tuple that JSON gives back.
    assert COUNTED.run(Config(widths=[2, 3])).config == Config()
    assert typed(Config, {"seed": 1}) == Config(1)


def test_making_an_experiment_trains_nothing():
    Experiment("another", Config, build, train)
    assert not CALLS


def test_an_experiment_is_found_by_its_name():
    assert named("annuli.steering").name == "annuli.steering"
    for name in ("annuli.nothing", "nothing", "toy"):
        with pytest.raises(ValueError, match="there is none called"):
            named(name)


def test_the_record_says_where_its_numbers_come_from():
    run = COUNTED.run(Config())
    facts = json.loads((run.folder / "record.json").read_text())["provenance"]
    for key in ("commit", "versions", "device", "threads", "code", "data", "seconds", "started"):
        assert facts[key] not in ("", None), key
    assert not list(run.folder.glob("*.pkl"))


def test_data_fingerprints_tell_content_shape_and_type_apart():
    x = torch.zeros(4)
    prints = [fingerprint(y) for y in (x, x.reshape(2, 2), x.double(), x + 1)]
    assert len(set(prints)) == 4
    assert fingerprint(x) == fingerprint(torch.zeros(4))


def test_a_config_must_be_a_dataclass():
    with pytest.raises(ValueError, match="config"):
        COUNTED.run({"seed": 0})


def _package(folder, body, docstring=""):
    package = folder / "toypackage"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("from toypackage import unrelated\n")
    (package / "unrelated.py").write_text("x = 1\n")
    (package / "helper.py").write_text(f'def scale(x):\n    """{docstring}"""\n    {body}\n')
    (package / "task.py").write_text("def run():\n    from toypackage.helper import scale\n    return scale(1)\n")


def _fingerprint(folder):
    return provenance.fingerprint_of(Sources(ROOT, {"toypackage": folder}), "toypackage.task")


def test_code_that_a_run_reaches_changes_it_and_nothing_else_does(tmp_path):
    _package(tmp_path, "return x")
    before = _fingerprint(tmp_path)
    _package(tmp_path, "return x  # why", docstring="Better said.")
    assert _fingerprint(tmp_path) == before
    (tmp_path / "toypackage" / "unrelated.py").write_text("x = 2\n")
    assert _fingerprint(tmp_path) == before
    # Reached through an import inside a function.
    _package(tmp_path, "return 2 * x")
    assert _fingerprint(tmp_path) != before


def test_what_lies_outside_the_package_is_fingerprinted_with_what_it_uses_of_it(tmp_path):
    for k, text in enumerate(("from ncode import NCODE", "from ncode.models import NeuralODE", "import ncode")):
        (tmp_path / f"outside{k}.py").write_text(text + "\n")
    sources = Sources(ROOT, {f"outside{k}": tmp_path for k in range(3)})
    for k in range(3):
        reached = sources.of_module(f"outside{k}")
        assert {"ncode.models", "ncode.solvers.dispatch", "ncode.solvers.adjoint.theorem_1"} <= reached
        assert "ncode.reproduction.plotting.style" not in reached


def test_relative_imports_are_reached(tmp_path):
    folder = tmp_path / "relative"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "task.py").write_text("from . import one\nfrom .two import x\n")
    (folder / "one.py").write_text("")
    (folder / "two.py").write_text("x = 1\n")
    reached = Sources(ROOT, {"relative": tmp_path}).of_module("relative.task")
    assert reached == {"relative", "relative.task", "relative.one", "relative.two"}


def test_a_notebooks_function_is_no_experiment(monkeypatch):
    monkeypatch.setattr(train, "__module__", "__main__")
    with pytest.raises(ValueError, match="not of a notebook"):
        COUNTED.identity(Config())


def test_what_a_package_does_when_it_is_imported_counts_and_what_it_offers_does_not(tmp_path):
    inner = tmp_path / "outerpackage" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "outerpackage" / "__init__.py").write_text("")
    init, offered = inner / "__init__.py", "from outerpackage.inner.other import y\n"
    init.write_text(offered)
    (inner / "task.py").write_text("x = 1\n")
    (inner / "other.py").write_text("y = 2\n")

    def found():
        return provenance.fingerprint_of(Sources(ROOT, {"outerpackage": tmp_path}), "outerpackage.inner.task")

    before = found()
    init.write_text(offered + '__all__ = ["y"]\n')
    assert found() == before
    init.write_text(offered + "import os\nos.environ['SWITCH'] = '1'\n")
    assert found() != before
    # The switch that keeps experiments in full float32 on a GPU is set there.
    assert "ncode.reproduction.experiments" in Sources(ROOT).of_module(
        "ncode.reproduction.experiments.image_classification.train"
    )


ANNULI = "ncode/reproduction/experiments/annuli"


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the package that a test may edit."""
    root = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "ncode", root / "ncode", ignore=shutil.ignore_patterns("__pycache__"))
    return root, _fingerprints(root)


def _fingerprints(root):
    sources, names = Sources(root), ("annuli.train", "annuli.steering", "autoencoding.train", "image_generation.train")
    return {name: provenance.fingerprint_of(sources, f"ncode.reproduction.experiments.{name}") for name in names}


@pytest.mark.parametrize(
    ("edited", "made_again"),
    [
        (f"{ANNULI}/plans.py", set()),
        (f"{ANNULI}/tables.py", set()),
        (f"{ANNULI}/steering.py", {"annuli.steering"}),
        (f"{ANNULI}/train.py", {"annuli.train", "annuli.steering"}),
        ("ncode/reproduction/experiments/autoencoding/analysis.py", set()),
        ("ncode/reproduction/experiments/autoencoding/latents.py", {"image_generation.train"}),
        ("ncode/reproduction/plotting/style.py", set()),
        ("ncode/reproduction/metrics/frechet.py", {"image_generation.train"}),
        ("ncode/reproduction/runs/experiment.py", set()),
        ("ncode/analysis/phase.py", {"annuli.steering"}),
        (
            "ncode/solvers/dispatch.py",
            {"annuli.train", "annuli.steering", "autoencoding.train", "image_generation.train"},
        ),
    ],
)
def test_an_edit_makes_those_runs_again_that_it_can_change(copied, edited, made_again):
    root, before = copied
    file = root / edited
    text = file.read_text()
    try:
        file.write_text(f"{text}\nEDITED = True\n")
        after = _fingerprints(root)
    finally:
        file.write_text(text)
    assert {name for name in before if before[name] != after[name]} == made_again


def test_threads_and_data_are_a_part_of_a_runs_identity():
    before = COUNTED.identity(Config())
    try:
        torch.set_num_threads(2)
        assert COUNTED.identity(Config()) != before
    finally:
        torch.set_num_threads(1)
    one, other = (Experiment("counted", Config, build, train, data=lambda config, of=of: of) for of in "ab")
    assert one.identity(Config()) != other.identity(Config())
    assert COUNTED.identity(Config()) == before


def test_other_files_under_one_variant_are_other_runs(tmp_path, monkeypatch):
    place = tmp_path / "data" / "mnist"
    place.mkdir(parents=True)
    found = set()
    for seed in range(2):
        rng = np.random.default_rng(seed)
        monkeypatch.setattr(datasets, "load", lambda *_, rng=rng: _splits(rng))
        datasets._identity.cache_clear()
        found.add(image_classification.experiment.identity(image_classification.Config("gamma", 0, variant="copy")))
    datasets._identity.cache_clear()
    assert len(found) == 2


def _splits(rng):
    part = datasets.Images(torch.from_numpy(rng.integers(0, 255, (2, 1, 3, 3), dtype=np.uint8)), torch.tensor([0, 1]))
    return datasets.Splits("copy", part, part, part, ("0", "1"))


def test_the_folder_of_runs_may_begin_with_a_tilde(monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", "~/somewhere")
    assert root() == Path.home() / "somewhere"
