"""The evidence on N23, and its context: how much longer than a straight path the features move along a latent line."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.autoencoding.verdict import nearness
from ncode.reproduction.metrics.comparison import Runs, below, metric
from ncode.reproduction.metrics.intervals import interval, is_below
from ncode.reproduction.publishing import numbers

SMOOTHER = {
    "excess": "AutoN-CODE's lines are shorter, over a straight path, than the autoencoder's (path length)",
    "peak": "they are more even (fastest over mean speed)",
    "square_peak": "and so are its squares (largest over mean step)",
    "half_way": "its images half-way are nearer to real ones than the autoencoder's",
}
"""Measures by which AutoN-CODE's lines may be smoother than the autoencoder's, in words."""

JUMP = 2.0
"""A larger step, over the mean step, is a jump: a path that moves half the time and rests half the time has 2."""


def n23(sets: Mapping[str, Runs]) -> list[Evidence]:
    """AutoN-CODE's path length over a straight path's, minus the plain autoencoder's."""
    return [
        evidence.difference(
            "a",
            words,
            nearness(runs["ncode"][0].config),
            metric(runs["ncode"], "excess"),
            metric(runs["autoencoder"], "excess"),
            [*runs["ncode"], *runs["autoencoder"]],
        )
        for words, runs in sets.items()
    ]


def n23_checks(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """AutoN-CODE's lines beside the autoencoder's, its jumps, and the cross-fade's images half-way."""
    checks = {}
    for name, runs in sets.items():
        for measure, text in SMOOTHER.items():
            checks[f"{name}: {text}"] = below(runs, "ncode", "autoencoder", measure)
        steady = is_below(interval(metric(runs["ncode"], "jump")), JUMP)
        checks[
            f"{name}: AutoN-CODE's lines have no jump (on 95 % of them no step of a twentieth above twice the mean)"
        ] = steady
        real = below(runs, "ncode", "pixels", "half_way")
        checks[f"{name}: its images half-way are nearer to real ones than the pixels' cross-fade"] = real
    return checks


def n23_note(sets: Mapping[str, Runs]) -> str:
    """What a reader must know of N23: how the figure is read, and the path lengths behind it."""
    lengths = []
    for name, runs in sets.items():
        ours, theirs = (numbers.number(metric(runs[m], "excess").mean(), 3) for m in ("ncode", "autoencoder"))
        lengths.append(f"{name}: {ours} against {theirs}")
    return (
        "The paper's evidence is one figure. The question is the length of the lines in a network's features, over a "
        "straight path's. Whether they have jumps, and how real the images half-way are, is context. A comparison asks "
        "that the 95 % interval of the difference, paired by seed, lies below zero. The pixels' numbers do not depend "
        "on a seed. Path lengths over a straight path's, AutoN-CODE against the autoencoder: "
        f"{'; '.join(lengths)}."
    )
