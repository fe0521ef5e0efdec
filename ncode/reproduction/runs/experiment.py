"""One run, one record: configuration, metrics, history, weights and provenance, kept so that no run is done twice.

A run is a plain function of a plain configuration. Whoever asks for it, a notebook or a job on a cluster, finds the
same finished run, as long as the configuration, the code that trains and the numerical libraries are the same; where
any of them changed it is another run.

Runs lie below ``$NCODE_RUNS``, by default a cache folder in the user's home: for every run a folder
``<experiment>/<id>/`` with ``record.json`` and ``weights.safetensors``. The record is written last, whole or not at
all, and only a folder that has one holds a finished run. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import platformdirs
from torch import nn

from ncode.reproduction.runs import provenance
from ncode.reproduction.runs.configs import plain, typed
from ncode.reproduction.runs.files import load_tensors, save_tensors, write_atomically
from ncode.reproduction.runs.output import RunOutput
from ncode.training import History

C = TypeVar("C")

EXPERIMENTS = "ncode.reproduction.experiments"


@dataclass(frozen=True)
class Plan(Generic[C]):
    """The runs that a recording consists of.

    Attributes:
        name: the recording's.
        configs: lists the runs' configurations, in the order in which to make them; called only when they are needed,
            for some plans choose by what another recording found.
    """

    name: str
    configs: Callable[[], list[C]]


@dataclass(frozen=True)
class Experiment(Generic[C]):
    """A way to make runs. Making an experiment trains nothing.

    Attributes:
        name: its place below ``experiments/``, such as ``"annuli"``.
        Config: the class of its configurations, a frozen dataclass of plain values.
        build: the untrained model of a configuration; ``None`` where runs keep no model.
        train: makes a run of a configuration and of the path at which it may keep its checkpoint; an interrupted run
            finds its own there. A top-level function of a module: the code that it reaches is a part of a run's
            identity.
        plans: the module whose ``plans()`` lists what is to be recorded; a name and no function, because a plan is no
            part of what trains. Empty where nothing is recorded.
    """

    name: str
    Config: type[C]
    build: Callable[[C], nn.Module] | None
    train: Callable[[C, Path | None], RunOutput]
    plans: str = ""

    def identity(self, config: C) -> str:
        """The id of the run of ``config``: what must be the same for two runs to be one.

        Raises:
            ValueError: for a function of a notebook or script, whose code has no module to be known by.
        """
        if self.train.__module__ == "__main__":
            raise ValueError("train: must be a top-level function of a module that can be imported, not of a notebook")
        facts = {
            "experiment": self.name,
            "config": plain(config),
            "code": provenance.code_fingerprint(self.train.__module__),
            "versions": provenance.versions(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def run(self, config: C, folder: Path | None = None) -> Run[C]:
        """The run of ``config``: loaded when it is finished, otherwise computed and kept.

        Args:
            folder: of all runs; :func:`root` where none is given.
        """
        id_ = self.identity(config)
        here = self._place(id_, folder)
        if (here / "record.json").exists():
            return self._load(here)
        here.mkdir(parents=True, exist_ok=True)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        clock = time.perf_counter()
        output = self.train(config, here / "checkpoint.safetensors")
        # A continued run took what its parts took, which the history knows.
        seconds = max(time.perf_counter() - clock, sum(output.history.seconds))
        _keep(here, output)
        text = {
            "id": id_,
            "experiment": self.name,
            "config": plain(config),
            "metrics": {name: float(value) for name, value in output.metrics.items()},
            "history": asdict(output.history),
            "provenance": {
                **provenance.here(),
                "code": provenance.code_fingerprint(self.train.__module__),
                "data": output.data,
                "seconds": round(seconds, 3),
                "started": started,
            },
        }
        write_atomically(here / "record.json", lambda path: path.write_text(json.dumps(text)))
        (here / "checkpoint.safetensors").unlink(missing_ok=True)
        return self._load(here)

    def sweep(self, models: Sequence[str], seeds: int, **settings: Any) -> dict[str, list[Run[C]]]:
        """One run for every model and seed, all with the same settings: the runs by model, seeds in order.

        Args:
            models, seeds: values of the configuration's fields ``model`` and ``seed``.
            settings: its other fields.
        """
        return {
            model: [self.run(self.Config(model=model, seed=seed, **settings)) for seed in range(seeds)]
            for model in models
        }

    def finished(self, id_: str, folder: Path | None = None) -> Run[C]:
        """The finished run of that id, whatever code there is now: the run with its weights that a recording is of.

        Raises:
            FileNotFoundError: when it is not finished here.
        """
        return self._load(self._place(id_, folder))

    def planned(self) -> dict[str, Plan[C]]:
        """What is to be recorded of this experiment, by name."""
        return {plan.name: plan for plan in importlib.import_module(self.plans).plans()} if self.plans else {}

    def _place(self, id_: str, folder: Path | None) -> Path:
        return (folder or root()) / self.name / id_

    def _load(self, folder: Path) -> Run[C]:
        raw = json.loads((folder / "record.json").read_text())
        return Run(
            raw["id"],
            self,
            typed(self.Config, raw["config"]),
            raw["metrics"],
            History(**raw["history"]),
            raw["provenance"],
            folder,
        )


@dataclass(frozen=True)
class Run(Generic[C]):
    """A finished run, with its weights.

    Attributes:
        id: the identity: a hash of experiment, configuration, code and versions.
        experiment: what made it.
        config: its configuration.
        metrics, history: as the run returned them.
        provenance: commit, versions, device, threads, fingerprints of code and data, seconds, time of day.
        folder: where it lies.
    """

    id: str
    experiment: Experiment[C]
    config: C
    metrics: dict[str, float]
    history: History
    provenance: dict[str, Any]
    folder: Path

    def model(self) -> nn.Module:
        """The trained model, ready to be evaluated.

        Raises:
            ValueError: when the experiment's runs keep none.
        """
        if self.experiment.build is None:
            raise ValueError(f"{self.experiment.name}: its runs keep no model")
        model = self.experiment.build(self.config)
        model.load_state_dict(self._tensors("model."))
        return model.eval()

    def array(self, name: str) -> np.ndarray:
        """An array that the run kept.

        Raises:
            KeyError: when it kept none of that name.
        """
        return self._tensors("array.")[name].numpy()

    def _tensors(self, kind: str) -> Mapping:
        tensors, _ = load_tensors(self.folder / "weights.safetensors")
        return {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}


def named(name: str) -> Experiment:
    """The experiment of that name: ``experiment`` of the module or package ``experiments/<name>``.

    Raises:
        ValueError: when there is none.
    """
    module = f"{EXPERIMENTS}.{name}"
    try:
        found = getattr(importlib.import_module(module), "experiment", None)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        found = None
    if not isinstance(found, Experiment):
        raise ValueError(f"experiment: there is none called {name!r}")
    return found


def root() -> Path:
    """The folder of all runs: ``$NCODE_RUNS`` where it is set."""
    return Path(os.environ.get("NCODE_RUNS") or platformdirs.user_cache_path("ncode") / "runs").expanduser()


def _keep(folder: Path, output: RunOutput) -> None:
    tensors = {f"array.{name}": value for name, value in output.arrays.items()}
    if output.model is not None:
        tensors |= {f"model.{name}": value for name, value in output.model.state_dict().items()}
    if tensors:
        save_tensors(folder / "weights.safetensors", tensors)
