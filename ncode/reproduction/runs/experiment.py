"""One run, one record: configuration, metrics, history, weights and provenance, kept so that no run is done twice.

A run is a plain function of a plain configuration. Whoever asks for it, a notebook or a job on a cluster, finds the
same finished run, as long as the configuration, the code that trains, its data, the numerical libraries and the number
of threads are the same; where any of them changed it is another run. Who asks for a run that another process computes
waits for it.

Runs lie below ``$NCODE_RUNS``, by default a cache folder in the user's home: for every run a folder
``<experiment>/<id>/`` with ``record.json`` and ``weights.safetensors``. The record is written last, whole or not at
all, and only a folder that has one holds a finished run. It has the SHA-256 of the weights and of its own content, and
both are compared whenever they are read. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import platformdirs
import torch
from filelock import FileLock, Timeout
from torch import nn
from tqdm import tqdm

from ncode.reproduction.precision import full_float32
from ncode.reproduction.runs import asked, kept, provenance, store
from ncode.reproduction.runs.configs import plain, typed
from ncode.reproduction.runs.files import leftovers, read_json, write_atomically
from ncode.reproduction.runs.output import RunOutput
from ncode.reproduction.runs.store import RECORD
from ncode.training import History

C = TypeVar("C")

EXPERIMENTS = "ncode.reproduction.experiments"

CHECKPOINT, LOCK, PARTS = "checkpoint", ".lock", "parts.json"
"""Files of a run's folder while it is made."""

WAIT = 0.5
"""Seconds between two looks at another process's lock."""


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
        data: the fingerprint of the data files that a configuration asks for; ``None`` where the code makes the data.
        evaluate: the metrics of a trained model that follow from it, its configuration and the data, so that they can
            be computed again (see :mod:`ncode.reproduction.runs.verify`); ``None`` where there are none.
    """

    name: str
    Config: type[C]
    build: Callable[[C], nn.Module] | None
    train: Callable[[C, Path | None], RunOutput]
    plans: str = ""
    data: Callable[[C], str] | None = None
    evaluate: Callable[[C, nn.Module], Mapping[str, float]] | None = None

    def identity(self, config: C) -> str:
        """The id of the run of ``config``: what must be the same for two runs to be one.

        Raises:
            ValueError: for a function of a notebook or script, whose code has no module to be known by.
            DataError: when the data are not at hand.
        """
        if self.train.__module__ == "__main__":
            raise ValueError("train: must be a top-level function of a module that can be imported, not of a notebook")
        facts = {
            "experiment": self.name,
            "config": plain(config),
            "code": provenance.code_fingerprint(self.train.__module__),
            "versions": provenance.versions(),
            "data": self.data(config) if self.data else "",
            "threads": torch.get_num_threads(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def run(self, config: C, folder: Path | None = None) -> Run[C]:
        """The run of ``config``: loaded when it is finished, otherwise computed and kept.

        Where an archive is in use (see :mod:`ncode.reproduction.runs.kept`), it is the archive's, and never computed.

        Args:
            folder: of all runs; :func:`root` where none is given.

        Raises:
            MissingRun: when the archive in use lacks it.
        """
        if kept.in_use():
            here = kept.place(self.name, plain(config), self.train.__module__)
        else:
            here = self._finished(config, folder)
        asked.note(f"{self.name}/{here.name}")
        return self._load(here)

    def _finished(self, config: C, folder: Path | None) -> Path:
        """The folder of the run of ``config``, which is computed where it is not finished."""
        id_ = self.identity(config)
        here = self._place(id_, folder)
        if not (here / RECORD).exists():
            with waited_for(here, f"{self.name} {id_}"):
                if not (here / RECORD).exists():
                    self._compute(config, id_, here)
        _tidy(here)
        return here

    def _compute(self, config: C, id_: str, here: Path) -> None:
        """Make the run and keep it."""
        for path in leftovers(here):
            path.unlink(missing_ok=True)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        parts = _parts(here, started)
        clock = time.perf_counter()
        full_float32()
        with asked.quiet():
            output = self.train(config, here / CHECKPOINT)
        # A continued run took what its parts took, which the history knows.
        seconds = max(time.perf_counter() - clock, sum(output.history.seconds))
        facts = {
            **provenance.here(),
            "device": provenance.THEN.join(dict.fromkeys(part["device"] for part in parts)),
            "code": provenance.code_fingerprint(self.train.__module__),
            "data": output.data,
            "seconds": round(seconds, 3),
            "started": parts[0]["started"],
        }
        if len({tuple(part[name] for name in ("device", "commit", "torch")) for part in parts}) > 1:
            facts["parts"] = parts
        store.write(here, id_, self.name, plain(config), output, facts)

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
        raw = store.read(folder)
        return Run(
            raw["id"],
            self,
            typed(self.Config, raw["config"]),
            raw["metrics"],
            History(**raw["history"]),
            raw["provenance"],
            folder,
            raw["weights"],
        )


@dataclass(frozen=True)
class Run(Generic[C]):
    """A finished run, with its weights.

    Attributes:
        id: the identity: a hash of experiment, configuration, code and versions.
        experiment: what made it.
        config: its configuration.
        metrics, history: as the run returned them.
        provenance: commit, versions, device, threads, fingerprints of code and data, seconds, time of day. Of a run
            that went on elsewhere from a checkpoint, or with other code, ``parts`` has the processes that worked on it,
            and the device is theirs.
        folder: where it lies.
        weights: the SHA-256 of the file of its weights; empty where it kept none.
    """

    id: str
    experiment: Experiment[C]
    config: C
    metrics: dict[str, float]
    history: History
    provenance: dict[str, Any]
    folder: Path
    weights: str = ""

    def model(self) -> nn.Module:
        """The trained model, ready to be evaluated.

        Raises:
            ValueError: when the experiment's runs keep none.
            DamagedFile: when the weights are not those that were kept.
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
            DamagedFile: when the file is not the one that was kept.
        """
        return self._tensors("array.")[name].numpy()

    def _tensors(self, kind: str) -> Mapping:
        name = f"{self.experiment.name}/{self.id}"
        asked.note(name, weights=True)
        kept.need_weights(name, self.folder)
        tensors = store.tensors(self.folder, self.weights)
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


@contextmanager
def waited_for(folder: Path, name: str) -> Iterator[None]:
    """Hold a run's lock; while another process holds it, wait with a bar. The system frees a dead process's lock.

    Args:
        folder: the run's.
        name: the run's, for the bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with tqdm(desc=f"waiting for {name}, which another process computes", bar_format="{desc} ({elapsed})") as bar:
            while not lock.is_locked:
                with suppress(Timeout):
                    lock.acquire(timeout=WAIT)
                bar.update(0)
                bar.refresh()
    try:
        yield
    finally:
        lock.release()


def unfinished(folder: Path) -> list[Path]:
    """What is kept of a run until it is finished, in the order in which it is written: its parts, checkpoints."""
    return [*folder.glob(PARTS), *sorted(folder.glob(f"{CHECKPOINT}*"))]


def _parts(folder: Path, started: str) -> list[dict[str, Any]]:
    """The processes that worked on a run, this one last; kept for the next that goes on from a checkpoint."""
    here = provenance.here()
    file, goes_on = folder / PARTS, any(folder.glob(f"{CHECKPOINT}*"))
    earlier = read_json(file, "Delete it.") if goes_on and file.exists() else []
    part = {"started": started, "device": here["device"], "commit": here["commit"], "torch": here["versions"]["torch"]}
    write_atomically(file, lambda path: path.write_text(json.dumps([*earlier, part])))
    return [*earlier, part]


def _tidy(folder: Path) -> None:
    """Remove what a killed process left of a finished run."""
    for path in unfinished(folder):
        path.unlink(missing_ok=True)
