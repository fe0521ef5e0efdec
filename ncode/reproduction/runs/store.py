"""One run, one record: configuration, metrics, history, weights and provenance, kept so that no run is done twice.

A run is a plain function of a plain configuration. Whoever calls it, a notebook or a job on a cluster, finds the
same finished record, as long as the configuration, the code that it reaches and the numerical libraries are the
same; where any of them changed it is another run.

Records lie below ``$NCODE_RUNS``, by default a cache folder in the user's home: for every run a folder
``<experiment>/<id>/`` with ``record.json`` and ``weights.safetensors``. The record is written last, whole or not at
all, and only a folder that has one holds a finished run. Nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from torch import Tensor, nn

from ncode.reproduction.runs import provenance
from ncode.reproduction.runs.files import load_tensors, save_tensors, write_atomically
from ncode.training import History


@dataclass
class Result:
    """What a run's function returns.

    Attributes:
        metrics: the numbers that the run was made for.
        history: of its training.
        model: whose weights are kept; ``None`` to keep none.
        arrays: tensors to keep beside the weights, for figures.
        data: fingerprint of the data (see :func:`fingerprint`).
    """

    metrics: Mapping[str, float]
    history: History = field(default_factory=History)
    model: nn.Module | None = None
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    data: str = ""


@dataclass(frozen=True)
class Record:
    """A finished run.

    Attributes:
        id: the identity: a hash of experiment, configuration, code and versions.
        experiment: the function's module and name.
        config: the configuration, as plain data.
        metrics, history: as the run returned them.
        provenance: commit, versions, device, threads, fingerprints of code and data, seconds, time of day.
        folder: where it lies.
    """

    id: str
    experiment: str
    config: dict[str, Any]
    metrics: dict[str, float]
    history: History
    provenance: dict[str, Any]
    folder: Path

    def load_weights(self, model: nn.Module) -> nn.Module:
        """Put the run's weights into ``model``, and return it."""
        tensors, _ = load_tensors(self.folder / "weights.safetensors")
        model.load_state_dict({k[len("model.") :]: v for k, v in tensors.items() if k.startswith("model.")})
        return model

    def array(self, name: str) -> np.ndarray:
        """An array that the run kept.

        Raises:
            KeyError: when it kept none of that name.
        """
        tensors, _ = load_tensors(self.folder / "weights.safetensors")
        return tensors[f"array.{name}"].numpy()


def root() -> Path:
    """The folder of all records: ``$NCODE_RUNS`` where it is set."""
    return Path(os.environ.get("NCODE_RUNS") or platformdirs.user_cache_path("ncode") / "runs")


def fingerprint(*tensors: Tensor) -> str:
    """A hash of data: of the shapes, types and contents of ``tensors``."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def identity(function: Callable, config: Any) -> str:
    """The id of the run of ``function`` on ``config``: what must be the same for two runs to be one.

    Raises:
        ValueError: for a function of a notebook or script, whose code has no module to be known by.
    """
    if function.__module__ == "__main__":
        raise ValueError("function: must be a top-level function of a module that can be imported, not of a notebook")
    facts = {
        "experiment": _name(function),
        "config": _plain(config),
        "code": provenance.code_fingerprint(function.__module__),
        "versions": provenance.versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def run(function: Callable[[Any, Path], Result], config: Any, folder: Path | None = None) -> Record:
    """The record of ``function(config, checkpoint)``: loaded when it is finished, otherwise computed and kept.

    Args:
        function: a module's top-level function of the configuration and of the path at which it may keep its
            checkpoint; an interrupted run finds its own there.
        config: a dataclass of plain values.
        folder: of all records; :func:`root` where none is given.
    """
    id_ = identity(function, config)
    here = _place(_name(function), id_, folder)
    if (here / "record.json").exists():
        return load(here)
    here.mkdir(parents=True, exist_ok=True)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.perf_counter()
    result = function(config, here / "checkpoint.safetensors")
    # A continued run took what its parts took, which the history knows.
    seconds = max(time.perf_counter() - clock, sum(result.history.seconds))
    _keep(here, result)
    text = {
        "id": id_,
        "experiment": _name(function),
        "config": _plain(config),
        "metrics": {name: float(value) for name, value in result.metrics.items()},
        "history": asdict(result.history),
        "provenance": {
            **provenance.here(),
            "code": provenance.code_fingerprint(function.__module__),
            "data": result.data,
            "seconds": round(seconds, 3),
            "started": started,
        },
    }
    write_atomically(here / "record.json", lambda path: path.write_text(json.dumps(text)))
    (here / "checkpoint.safetensors").unlink(missing_ok=True)
    return load(here)


def finished(experiment: str, id_: str, folder: Path | None = None) -> Record:
    """The finished run of that id, whatever code there is now: the run with its weights that a recording is of.

    Args:
        experiment, id_: as a record or a recording's run names them.
        folder: of all records; :func:`root` where none is given.

    Raises:
        FileNotFoundError: when it is not finished here.
    """
    return load(_place(experiment, id_, folder))


def load(folder: Path) -> Record:
    """The finished run that lies in ``folder``.

    Raises:
        FileNotFoundError: when there is no finished run.
    """
    raw = json.loads((folder / "record.json").read_text())
    return Record(**{**raw, "history": History(**raw["history"])}, folder=folder)


def _keep(folder: Path, result: Result) -> None:
    tensors = {f"array.{name}": value for name, value in result.arrays.items()}
    if result.model is not None:
        tensors |= {f"model.{name}": value for name, value in result.model.state_dict().items()}
    if tensors:
        save_tensors(folder / "weights.safetensors", tensors)


def _place(experiment: str, id_: str, folder: Path | None) -> Path:
    return (folder or root()) / experiment.replace(":", ".") / id_


_EXPERIMENTS = "ncode.reproduction.experiments."


def _name(function: Callable) -> str:
    """An experiment's name: its place below ``experiments/``; of other code, module and function."""
    if function.__module__.startswith(_EXPERIMENTS) and function.__name__ == "train":
        return function.__module__.removeprefix(_EXPERIMENTS).removesuffix(".experiment")
    return f"{function.__module__}:{function.__name__}"


def _plain(config: Any) -> dict:
    """The configuration as JSON would give it back, so that a record compares equal to what asked for it."""
    if not dataclasses.is_dataclass(config):
        raise ValueError(f"config: must be a dataclass of plain values, not {type(config).__name__}")
    return json.loads(json.dumps(asdict(config)))


def sweep(
    function: Callable[[Any, Path], Result], config: type, models: Sequence[str], seeds: int, **settings: Any
) -> dict[str, list[Record]]:
    """One run for every model and seed, all with the same settings: the records by model, seeds in order.

    Args:
        config: the configuration's class, with the fields ``model`` and ``seed``.
        settings: its other fields.
    """
    return {
        model: [run(function, config(model=model, seed=seed, **settings)) for seed in range(seeds)] for model in models
    }
