"""The evidence on N16, N21 and N24: losses of AutoN-CODE and of its rivals, and how images form along its orbit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.autoencoding.analysis import against
from ncode.reproduction.experiments.autoencoding.train import COMPONENT_WISE
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.metrics.intervals import difference_interval, interval, is_above, is_below

RIVALS = {
    "autoencoder": "autoencoder with a code of the same size",
    "linear": "linear map of the code in the flow's place",
    "mapped": "linear map of the normalised control",
    "equal": "autoencoder with as many parameters",
}
"""What N16's checks compare AutoN-CODE with."""

HORIZON = 10.0
"""The end of the paper's time segment [0, 10], which N21b asks about."""


def nearness(config) -> str:
    """How near an autoencoder's setting is to Table A.1's and C.4's: its data and its networks.

    A copy of the data is not the data.
    """
    if config.dataset == "digits":
        return "toy"
    printed = config.kind in ("printed", "convolutional") and config.width == 1
    return "paper" if printed and not config.variant and config.epochs >= 40 else "reduced"


def nats(part: str, sets: Mapping[str, Runs], a: str, b: str) -> list[Evidence]:
    """Test loss of model a minus b's, in nats an image, on the seeds that both have."""
    found = []
    for words, runs in sets.items():
        pairs = paired(runs.get(a, ()), runs.get(b, ()))
        if pairs:
            ours, theirs = ([pair[k] for pair in pairs] for k in (0, 1))
            losses = (metric(made, "test_nats") for made in (ours, theirs))
            found.append(evidence.difference(part, words, nearness(ours[0].config), *losses, [*ours, *theirs]))
    return found


def paired(runs: Sequence, others: Sequence) -> list[tuple]:
    """Two models' runs, seed by seed."""
    of_seed = {run.config.seed: run for run in others}
    return [(run, of_seed[run.config.seed]) for run in runs if run.config.seed in of_seed]


def n16(sets: Mapping[str, Runs]) -> list[Evidence]:
    """AutoN-CODE against the plain autoencoder and the one with as many parameters."""
    return [*nats("a", sets, "ncode", "autoencoder"), *nats("b", sets, "ncode", "equal")]


def n16_context(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """N16's checks: whether the whole interval of AutoN-CODE's loss minus each rival's lies below zero."""
    return {
        f"{head}: loss below that of the {text}": is_below(against(made["ncode"], made[model]))
        for head, made in sets.items()
        for model, text in RIVALS.items()
        if made.get(model)
    }


def n21(
    sets: Mapping[str, Runs], component_wise: Sequence[str], horizons: Mapping[float, Sequence] | None = None
) -> list[Evidence]:
    """The best component-wise normalisation minus none, each at its best scale; and T = 10 minus another horizon.

    Which is best, and which other horizon is better, is chosen by the validation loss.

    Args:
        sets: for each setting the runs by normalisation, ``none`` among them.
        component_wise: the normalisations that count as component-wise.
        horizons: the runs at one scale by horizon.
    """
    found = []
    for words, runs in sets.items():
        there = [name for name in component_wise if runs.get(name)]
        if there and runs.get("none"):
            best = min(there, key=lambda name, runs=runs: metric(runs[name], "validation_nats").mean())
            found += nats("a", {f"{words}, {best}": runs}, best, "none")
    others = [t for t in horizons or {} if t != HORIZON]
    if others and horizons.get(HORIZON):
        better = min(others, key=lambda t: metric(horizons[t], "validation_nats").mean())
        config = horizons[HORIZON][0].config
        words = f"recorded, MNIST, as printed, {config.epochs} epochs, T = {better:g} is the better other"
        found += nats("b", {words: {"ten": horizons[HORIZON], "other": horizons[better]}}, "ten", "other")
    return found


def n21_context(sets: Mapping[str, Runs], learnt: Mapping[str, bool], largest: float | int) -> dict[str, bool | None]:
    """N21's checks: what learns at the largest scale, and which normalisations beat none.

    Args:
        sets: for each setting the runs by normalisation.
        learnt: by normalisation, whether a training at the scale ``largest`` learns something.
    """
    checks: dict[str, bool | None] = {
        f"with nothing but a factor of {largest:g} AutoN-CODE learns nothing, normalised by {name} to that scale it "
        "learns "
        "(one run each)": learnt[name] and not learnt["none"]
        for name in COMPONENT_WISE
    }
    return checks | {
        f"{head}: {name} beats no normalisation, each at its best scale": is_below(against(made[name], made["none"]))
        for head, made in sets.items()
        for name in COMPONENT_WISE
        if len(made.get("none", ())) > 1 and made.get(name)
    }


def n24(sets: Mapping[str, Runs]) -> list[Evidence]:
    """Along AutoN-CODE's orbit, the share of steps in which the error falls, and of images that have formed at T."""
    return [
        evidence.mean(part, words, nearness(runs["ncode"][0].config), metric(runs["ncode"], name), runs["ncode"])
        for words, runs in sets.items()
        for part, name in (("a", "orbit_falls"), ("b", "formed"))
    ]


def n24_context(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """N24's checks: how much of the error's fall is behind half way, alone and beside a straight line."""
    checks: dict[str, bool | None] = {}
    for name, made in sets.items():
        fallen = interval(metric(made["ncode"], "orbit_fallen"))
        lead = difference_interval(metric(made["ncode"], "orbit_fallen"), metric(made["autoencoder"], "line_fallen"))
        checks |= {
            f"{name}: half way more than half of the error's fall is behind": is_above(fallen, 0.5),
            f"{name}: half way more of the fall is behind than on a straight line in a plain autoencoder": is_above(
                lead
            ),
        }
    return checks


def best_other(runs: Runs, models: Sequence[str], name: str) -> str:
    """Of ``models``, the one with the largest mean of a metric."""
    return max((model for model in models if model in runs), key=lambda model: np.mean(metric(runs[model], name)))
