"""Records: finished runs are found again, and nothing else is."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from ncode.reproduction.runs import provenance, store
from ncode.reproduction.runs.store import Result

CALLS = []


@dataclass(frozen=True)
class Config:
    seed: int = 0
    widths: tuple[int, ...] = (2, 3)


def experiment(config: Config, checkpoint=None) -> Result:
    """A run that notes that it ran."""
    CALLS.append(config)
    torch.manual_seed(config.seed)
    model = nn.Linear(2, 1)
    return Result(
        {"score": 1.5}, model=model, arrays={"path": torch.arange(3.0)}, data=store.fingerprint(torch.ones(2))
    )


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path))
    CALLS.clear()


def test_a_finished_run_is_loaded_and_not_computed():
    first = store.run(experiment, Config())
    second = store.run(experiment, Config())
    assert len(CALLS) == 1
    assert first == second
    assert second.metrics == {"score": 1.5}
    assert second.config == {"seed": 0, "widths": [2, 3]}


def test_a_changed_config_code_or_version_is_another_run(monkeypatch):
    before = store.identity(experiment, Config())
    assert store.identity(experiment, Config(seed=1)) != before
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "versions", lambda: {"torch": "0"})
        assert store.identity(experiment, Config()) != before
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "code_fingerprint", lambda module: "other")
        assert store.identity(experiment, Config()) != before
    assert store.identity(experiment, Config()) == before


def test_an_interrupted_run_is_not_taken_for_finished(monkeypatch):
    def fails(path, write):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomically", fails)
        with pytest.raises(OSError, match="disk full"):
            store.run(experiment, Config())
    store.run(experiment, Config())
    assert len(CALLS) == 2


def test_weights_and_arrays_come_back():
    record = store.run(experiment, Config(seed=3))
    torch.manual_seed(3)
    expected = nn.Linear(2, 1)
    loaded = record.load_weights(nn.Linear(2, 1))
    assert torch.equal(loaded.weight, expected.weight)
    np.testing.assert_array_equal(record.array("path"), [0, 1, 2])
    with pytest.raises(KeyError):
        record.array("nothing")


def test_the_record_says_where_its_numbers_come_from():
    record = store.run(experiment, Config())
    facts = json.loads((record.folder / "record.json").read_text())["provenance"]
    for key in ("commit", "versions", "device", "threads", "code", "data", "seconds", "started"):
        assert facts[key] not in ("", None), key
    assert not list(record.folder.glob("*.pkl"))


def test_data_fingerprints_tell_content_shape_and_type_apart():
    x = torch.zeros(4)
    prints = [store.fingerprint(y) for y in (x, x.reshape(2, 2), x.double(), x + 1)]
    assert len(set(prints)) == 4
    assert store.fingerprint(x) == store.fingerprint(torch.zeros(4))


def test_a_config_must_be_a_dataclass():
    with pytest.raises(ValueError, match="config"):
        store.run(experiment, {"seed": 0})


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
    monkeypatch.setattr(experiment, "__module__", "__main__")
    with pytest.raises(ValueError, match="not of a notebook"):
        store.identity(experiment, Config())


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
        "ncode.reproduction.experiments.image_classification.experiment"
    )
