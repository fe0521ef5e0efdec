"""The runs of the page on autoencoding: normalisations at their best scales, rivals, and followed orbits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ncode.reproduction.experiments import orbits
from ncode.reproduction.experiments.autoencoding import analysis, evaluation
from ncode.reproduction.experiments.autoencoding.analysis import Tuned, nats
from ncode.reproduction.experiments.autoencoding.train import COMPONENT_WISE, Config
from ncode.reproduction.metrics import comparison
from ncode.reproduction.metrics.comparison import Runs
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run

LIVE = "this run"
"""What sets of this execution's runs are called."""

PRINTED = "recorded, MNIST, as printed"
"""What sets of recorded runs with Table A.1's networks are called."""


def follow(best: Config, seeds: int) -> dict[str, list[Run]]:
    """Runs that follow images along the orbits of ``best``, and along straight lines in the plain autoencoder."""
    settings = {name: value for name, value in asdict(best).items() if name not in ("model", "seed")}
    return orbits.experiment.sweep(orbits.MODELS, seeds, **settings)


@dataclass(frozen=True)
class Study:
    """This execution's runs, and the recorded ones beside them.

    Attributes:
        best: what stands for AutoN-CODE.
        scales: those that were tried.
        seeds: how many.
        tuned: every normalisation at the scale that suits it best.
        rivals: the models that AutoN-CODE is compared with.
        followed: runs that follow images along paths.
    """

    best: Config
    scales: Sequence[float]
    seeds: int
    tuned: Mapping[str, Tuned]
    rivals: Mapping[str, list[Run]]
    followed: Mapping[str, list[Run]]

    @property
    def ncode(self) -> list[Run]:
        """AutoN-CODE's runs."""
        return self.tuned[self.best.normalisation].completed

    @property
    def bottlenecks(self) -> dict[str, Runs]:
        """What N16 compares: this execution's models, and those of recordings that there are."""
        found: dict[str, Runs] = {LIVE: {"ncode": self.ncode, **self.rivals}}
        made = {"recorded, MNIST": analysis.bottlenecks(), PRINTED: analysis.printed()}
        return found | {name: runs for name, runs in made.items() if runs}

    @property
    def compared(self) -> dict[str, Runs]:
        """Those of :attr:`bottlenecks` with several seeds; their names say how many."""
        return {
            f"{name}, {len(made['ncode'])} seeds": made
            for name, made in self.bottlenecks.items()
            if len(made.get("ncode", ())) > 1
        }

    @property
    def pairs(self) -> dict[str, Runs]:
        """N16's pair under other readings of Table A.1's 25 and on CIFAR-10, as recorded, with several seeds."""
        made = {evaluation.described("recorded", pair): pair for pair in analysis.pairs()}
        return {f"{name}, {len(pair['ncode'])} seeds": pair for name, pair in comparison.several(made).items()}

    @property
    def normalisations(self) -> dict[str, Runs]:
        """What N21 compares: runs by normalisation, each at its best scale."""
        live = {name: one.completed for name, one in self.tuned.items()}
        made = {"recorded, MNIST": analysis.normalisations(), PRINTED: analysis.printed_normalisations()}
        return {LIVE: live} | {name: runs for name, runs in made.items() if runs}

    @property
    def at_other_scale(self) -> dict[str, Runs]:
        """N16's models with Table A.1's networks, AutoN-CODE at the scale that the tuning of other networks found."""
        ours, theirs = recordings.find("autoencoding_mnist_printed_scale_readings"), analysis.printed()
        if not (ours and theirs):
            return {}
        made = comparison.by_model([*ours, *theirs["autoencoder"]])
        scale = numbers.setting(ours[0].config.scale)
        return {f"{PRINTED}, at the scale {scale} of other networks, {len(made['ncode'])} seeds": made}

    @property
    def horizons(self) -> dict[float, list[recordings.RecordedRun]]:
        """What N21b compares: recorded runs at one scale by horizon."""
        return analysis.horizons()

    @property
    def formations(self) -> dict[str, Runs]:
        """What N24 compares: followed runs, live and recorded."""
        return evaluation.sets(self.followed, orbits.experiment.planned(), orbits.MODELS)

    @property
    def learnt(self) -> dict[str, bool]:
        """By normalisation, whether a training at the largest scale learns something."""
        return {name: analysis.learns(one.tuning[max(self.scales)]) for name, one in self.tuned.items()}

    @property
    def every_run(self) -> list[Run]:
        """This execution's runs."""
        made = [run for of in (*self.rivals.values(), *self.followed.values()) for run in of]
        for one in self.tuned.values():
            made += [*one.completed, *filter(None, one.tuning.values())]
        return made

    def gain(self) -> float:
        """By how much of the loss the best normalisation lowers it, in this execution."""
        best = min(nats(self.tuned[name].completed).mean() for name in COMPONENT_WISE)
        return 1 - best / nats(self.tuned["none"].completed).mean()

    def spreads(self) -> tuple[float, float]:
        """The factors by which validation loss changes with the scale, and between normalisations at their best."""
        tried = [[v for v in one.tried.values() if np.isfinite(v)] for one in self.tuned.values()]
        lowest = [min(losses) for losses in tried]
        return max(max(losses) / min(losses) for losses in tried), max(lowest) / min(lowest)
