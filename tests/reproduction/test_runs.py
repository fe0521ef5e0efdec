"""Records: finished runs are found again, and nothing else is."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from ncode.reproduction.runs import experiment, provenance
from ncode.reproduction.runs.configs import plain, typed
from ncode.reproduction.runs.experiment import Experiment, named
from ncode.reproduction.runs.output import RunOutput, fingerprint

CALLS = []


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
        patch.setattr(experiment, "write_atomically", fails)
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


def _fingerprint(monkeypatch, folder):
    monkeypatch.syspath_prepend(str(folder))
    provenance._source.cache_clear()
    provenance._tree.cache_clear()
    return provenance.code_fingerprint("toypackage.task")


def test_code_that_a_run_reaches_changes_it_and_nothing_else_does(tmp_path, monkeypatch):
    _package(tmp_path, "return x")
    before = _fingerprint(monkeypatch, tmp_path)
    _package(tmp_path, "return x  # why", docstring="Better said.")
    assert _fingerprint(monkeypatch, tmp_path) == before
    (tmp_path / "toypackage" / "unrelated.py").write_text("x = 2\n")
    assert _fingerprint(monkeypatch, tmp_path) == before
    # Reached through an import inside a function.
    _package(tmp_path, "return 2 * x")
    assert _fingerprint(monkeypatch, tmp_path) != before


def test_what_lies_outside_the_package_is_fingerprinted_with_what_it_uses_of_it(monkeypatch, tmp_path):
    for k, text in enumerate(("from ncode import NCODE", "from ncode.models import NeuralODE", "import ncode")):
        (tmp_path / f"outside{k}.py").write_text(text + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for k in range(3):
        assert {"ncode.models", "ncode.solvers.dispatch", "ncode.solvers.adjoint.theorem_1"} <= provenance._reachable(
            f"outside{k}"
        )
    assert "ncode.reproduction.plotting.style" not in provenance._reachable("outside1")


def test_relative_imports_are_reached(monkeypatch, tmp_path):
    folder = tmp_path / "relative"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "task.py").write_text("from . import one\nfrom .two import x\n")
    (folder / "one.py").write_text("")
    (folder / "two.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert provenance._reachable("relative.task") == {"relative.task", "relative.one", "relative.two"}


def test_a_notebooks_function_is_no_experiment(monkeypatch):
    monkeypatch.setattr(train, "__module__", "__main__")
    with pytest.raises(ValueError, match="not of a notebook"):
        COUNTED.identity(Config())


def test_what_a_subpackage_does_when_it_is_imported_counts(monkeypatch, tmp_path):
    inner = tmp_path / "outerpackage" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "outerpackage" / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("from outerpackage import settings\n")
    (inner / "task.py").write_text("x = 1\n")
    (tmp_path / "outerpackage" / "settings.py").write_text("y = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    reached = provenance._reachable("outerpackage.inner.task")
    assert reached == {"outerpackage.inner.task", "outerpackage.inner", "outerpackage.settings"}
    # The switch that keeps experiments in full float32 on a GPU is set there.
    assert "ncode.reproduction.experiments" in provenance._reachable(
        "ncode.reproduction.experiments.image_classification.train"
    )
