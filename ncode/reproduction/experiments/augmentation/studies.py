"""The studies of the page on augmentation: this execution's runs, and the recorded ones that carry its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ncode.reproduction import profiles
from ncode.reproduction.experiments.augmentation import analysis
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.runs import recordings

TITLES = {
    "flip": "g(±1) = ∓1",
    "line": "spheres, d = 1",
    "plane": "spheres, d = 2",
    "space": "spheres, d = 3",
    "rings": "four shells",
    "labels": "random labels",
}
"""What every study is called."""

EASY = ("flip", "line", "plane", "space")
"""The studies at the paper's learning rate."""

SHELLS = ("line", "plane", "space")
HARD = ("rings", "labels")
"""The studies that are meant to provoke failures."""

AUGMENTED = 5
"""The p of ANODE where failures are compared."""

FOUND = 0.01
"""The mean squared error on g below which a training has found it."""


@dataclass(frozen=True)
class Studies:
    """Runs by study and by the number p of added dimensions.

    Attributes:
        live: this execution's.
        recorded: those that are recorded with at least as many seeds.
    """

    live: Mapping[str, Mapping[int, Sequence]]
    recorded: Mapping[str, Mapping[int, Sequence]]

    @classmethod
    def of(cls, profile: str) -> Studies:
        """The runs of every study in ``profile``; of a recording that has only begun, with fewer seeds, none."""
        options = profiles.load("augmented_neural_odes", profile).options
        names = options["studies"]
        found = {study: analysis.by_augment(recordings.find(f"augmentation_{study}")) for study in names}
        recorded = {study: by_p for study, by_p in found.items() if by_p and len(by_p[0]) >= options["seeds"]}
        return cls({study: analysis.sweep(study, profile) for study in names}, recorded)

    @property
    def shown(self) -> dict[str, Mapping[int, Sequence]]:
        """The runs of tables and verdicts: recorded where there are any."""
        return {**self.live, **self.recorded}

    @property
    def provoked(self) -> list[str]:
        """The recorded ones of :data:`HARD`: too few runs of this execution decide nothing."""
        return [study for study in HARD if study in self.recorded]

    def where(self, study: str) -> str:
        """Where a study's shown runs come from."""
        return "recorded" if study in self.recorded else "this execution"

    def seeds(self, study: str) -> int:
        """How many seeds a study's shown runs have."""
        return len(self.shown[study][0])

    def described(self, study: str) -> str:
        """A study's title, where its runs come from, and how many seeds they have."""
        return f"{TITLES[study]} ({self.where(study)}, seeds: {self.seeds(study)})"

    def runs(self, names: Iterable[str], node: bool = True, anode: bool = True) -> list:
        """The shown runs of some studies: NODE's, ANODE's, or both."""
        chosen = [(study, p) for study in names for p in self.shown[study] if (anode if p else node)]
        return [run for study, p in chosen for run in self.shown[study][p]]

    def separations(self) -> dict[tuple[str, int], np.ndarray]:
        """How far each trained model's outer sphere lies above the centre at least, by study and p."""
        return {(study, p): metric(runs, "separation") for study in SHELLS for p, runs in self.shown[study].items()}

    def windings(self) -> np.ndarray:
        """How often NODE's images of spheres surround the centre's; in space the mesh is too coarse to be evidence."""
        return np.concatenate([metric(self.shown[study][0], "winding") for study in ("line", "plane")])

    def against(self, study: str, name: str, p: int) -> tuple[float, float]:
        """The 95 % interval of NODE's metric over ANODE's, paired by seed."""
        return analysis.ratio(metric(self.shown[study][0], name), metric(self.shown[study][p], name))

    @property
    def every_live_run(self) -> list:
        """This execution's runs."""
        return [run for by_p in self.live.values() for runs in by_p.values() for run in runs]
