"""The queue: every planned run as an entry, by value.

A plan lists the runs of a recording. An entry is one of them, with its priority, the claims that it helps to decide,
the seconds that it takes on a device, and its state. A laptop in the background, a GPU for a quarter of an hour and a
cluster all take entries in this order (:mod:`ncode.reproduction.runs.work`).
"""

from __future__ import annotations

import json
import statistics
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ncode.reproduction.data.downloads import DataError, nothing_downloaded
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.configs import plain
from ncode.reproduction.runs.experiment import Experiment, root
from ncode.reproduction.runs.recordings import RecordedRun

FINISHED, PARTIAL, PLANNED = "finished", "partial", "planned"

DEVICES = ("cpu", "cuda")

LAST = 9
"""The priority of a recording that ``queue.toml`` does not name."""

RECORDING_EXPERIMENTS = (
    "image_classification",
    "autoencoding",
    "image_generation",
    "latent_clustering",
    "latent_interpolation",
    "orbits",
    "pattern_memorisation",
    "augmentation",
    "annuli.steering",
)


@dataclass(frozen=True)
class Speed:
    """How fast a device evaluates a recording's field, measured.

    Attributes:
        alone: evaluations a second of one run that has the device to itself.
        together: evaluations a second of all runs that share the device, at most.
        start: seconds before a run's first evaluation.
    """

    alone: float | int
    together: float | int
    start: float | int = 0

    def seconds(self, evaluations: float | int, jobs: int) -> float:
        """What a run of so many evaluations takes where ``jobs`` runs share the device."""
        return self.start + evaluations * jobs / min(self.together, jobs * self.alone)


@dataclass(frozen=True)
class Worth:
    """What a recording is worth and needs, from ``queue.toml``.

    Attributes:
        priority: 1 is worked on first.
        decides: claims whose questions its runs answer.
        seconds: of one run by device, where no finished run tells.
        memory: gigabytes of a device's memory that a run needs at most.
        jobs: how many runs may share a GPU.
        evaluations: of the field in an epoch, forward and backward as one; 0 where ``seconds`` says what a run takes.
        speed: by device, where it was measured in evaluations.
    """

    priority: int = LAST
    decides: Sequence[str] = ()
    seconds: Mapping[str, float | int] = field(default_factory=dict)
    memory: float | int = 4
    jobs: int = 4
    evaluations: float | int = 0
    speed: Mapping[str, Speed] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One planned run.

    Attributes:
        experiment: what makes it.
        recording: the recording that it belongs to.
        index: its place in the recording's plan.
        config: its configuration.
        worth: of the recording.
        state: ``"finished"``, ``"partial"`` where a checkpoint is there, or ``"planned"``.
        measured: medians of what finished runs of the recording took, by device.
    """

    experiment: Experiment
    recording: str
    index: int
    config: Any
    worth: Worth
    state: str
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The recording and the run's place in it, such as ``annuli_steering:3``."""
        return f"{self.recording}:{self.index}"

    def seconds(self, device: str, jobs: int = 1) -> float | None:
        """What it takes on ``device``: measured, otherwise estimated; ``None`` where nothing is known.

        Args:
            jobs: how many runs share the device. It counts where the device's speed is known; otherwise the seconds are
                those that were measured or estimated, beside however many.
        """
        if device in self.measured:
            return float(self.measured[device])
        if self.worth.evaluations and device in self.worth.speed:
            evaluations = self.worth.evaluations * getattr(self.config, "epochs", 1)
            return self.worth.speed[device].seconds(evaluations, jobs)
        known = self.worth.seconds.get(device)
        return None if known is None else float(known)

    def device_seconds(self, device: str) -> float | None:
        """The part of the device's time that is its own, where as many runs as may do share it."""
        known = self.seconds(device, self.worth.jobs)
        shared = device not in self.measured and self.worth.evaluations and device in self.worth.speed
        return known / self.worth.jobs if known is not None and shared else known


@cache
def worths() -> dict[str, Worth]:
    """Every recording's worth that ``queue.toml`` names."""
    raw = tomllib.loads(resources.files(__package__).joinpath("queue.toml").read_text(encoding="utf-8"))
    return {name: _worth(table) for name, table in raw.items()}


def _worth(table: Mapping[str, Any]) -> Worth:
    speed = {device: Speed(**facts) for device, facts in table.get("speed", {}).items()}
    return Worth(**{**table, "speed": speed})


def entries(
    experiments: Iterable[Experiment], folder: Path | None = None, only: Collection[str] | None = None
) -> list[Entry]:
    """Every planned run of ``experiments``, the most valuable first; within a recording in the plan's order.

    A plan that waits for another recording, because it chooses by what that one found, has no entry yet.

    Args:
        folder: of all runs.
        only: recordings; all where none is named.
    """
    found: list[Entry] = []
    for experiment in experiments:
        for name, plan in experiment.planned().items():
            if only and name not in only:
                continue
            try:
                configs = plan.configs()
            except (FileNotFoundError, LookupError, ValueError):
                continue
            made = recordings.find(name)
            done = {key(run.config) for run in made}
            measured = _measured(made)
            worth = worths().get(name, Worth())
            found += [
                Entry(experiment, name, k, c, worth, _state(experiment, c, done, folder), measured)
                for k, c in enumerate(configs)
            ]
    return sorted(found, key=lambda entry: entry.worth.priority)


def _measured(runs: Sequence[RecordedRun]) -> dict[str, float]:
    """The median seconds of ``runs`` by device."""
    by_device: dict[str, list[float]] = {device: [] for device in DEVICES}
    for run in runs:
        by_device[run.provenance["device_type"]].append(run.provenance["seconds"])
    return {device: statistics.median(seconds) for device, seconds in by_device.items() if seconds}


def key(config: Any) -> str:
    """A configuration by its values: equal ones have equal keys."""
    return json.dumps(plain(config), sort_keys=True)


def _state(experiment: Experiment, config: Any, done: set, folder: Path | None) -> str:
    if key(config) in done:
        return FINISHED
    try:
        with nothing_downloaded():
            here = (folder or root()) / experiment.name / experiment.identity(config)
    except DataError:
        # Without the data nothing of it can have begun here.
        return PLANNED
    if (here / "record.json").exists():
        return FINISHED
    return PARTIAL if any(here.glob("checkpoint*")) else PLANNED


def left(queue: Iterable[Entry]) -> list[Entry]:
    """The entries that are not finished."""
    return [entry for entry in queue if entry.state != FINISHED]


def hours(queue: Iterable[Entry], device: str) -> tuple[float, bool]:
    """Hours of ``device`` that the unfinished entries take, and whether all of that is measured."""
    total, sure = 0.0, True
    for entry in left(queue):
        total += entry.device_seconds(device) or 0.0
        sure = sure and device in entry.measured
    return total / 3600, sure


def table(queue: Sequence[Entry], by: Callable[[Entry], Iterable[str]] | None = None) -> list[list[str]]:
    """A row for every recording: priority, name, what it decides, runs left of all, hours left by device.

    Hours that rest on an estimate begin with ``~``; ``?`` means that nothing is known.

    Args:
        by: other groups than the recording, such as the claims that an entry decides.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in queue:
        for group in by(entry) if by else [entry.recording]:
            groups.setdefault(group, []).append(entry)
    return [
        [
            str(min(entry.worth.priority for entry in of)),
            group,
            ", ".join(dict.fromkeys(claim for entry in of for claim in entry.worth.decides)) or "–",
            f"{len(left(of))} of {len(of)}",
            *(_hours(of, device) for device in DEVICES),
        ]
        for group, of in groups.items()
    ]


def _hours(of: Sequence[Entry], device: str) -> str:
    if not left(of):
        return "0"
    if all(entry.seconds(device) is None for entry in left(of)):
        return "?"
    total, sure = hours(of, device)
    return f"{'' if sure else '~'}{total:.1f}"
