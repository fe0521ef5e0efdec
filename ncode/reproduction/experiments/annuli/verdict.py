"""The evidence on N9 and N10: errors on the annuli, lengths of paths, and where the fields bifurcate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.annuli import steering
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.recordings import RecordedRun

LOOPS = ("open", "closed")
SETTING = "disk and annulus"


def n9(runs: Mapping[str, Sequence], nearness: str) -> list[Evidence]:
    """Both loops against NODE, from runs by model: area, detour, and iterations to NODE's best cross-entropy."""
    found = []
    for letters, name in (("ab", "grid_error"), ("cd", "detour")):
        for part, loop in zip(letters, LOOPS, strict=True):
            pair = (runs[loop], runs["node"])
            a, b = (metric(one, name) for one in pair)
            found.append(evidence.difference(part, SETTING, nearness, a, b, [run for one in pair for run in one]))
    for part, loop in zip("ef", LOOPS, strict=True):
        pairs = list(zip(runs[loop], runs["node"], strict=True))
        levels = [min(node.history.evaluations["cross_entropy"]) for _, node in pairs]
        a = [reached(run, level) for (run, _), level in zip(pairs, levels, strict=True)]
        b = [reached(node, level) for (_, node), level in zip(pairs, levels, strict=True)]
        found.append(evidence.ratio(part, SETTING, nearness, a, b, [*runs[loop], *runs["node"]]))
    return found


def n10_runs() -> list[RecordedRun]:
    """The runs that decide N10: those on fresh seeds, once there are any, since the question is older than they."""
    return recordings.find("annuli_steering_again") or recordings.find("annuli_steering")


def n10_asked_again(runs: Sequence) -> str:
    """Which seeds decide N10, in a sentence, where they are not the first ones."""
    seeds = sorted({run.config.seed for run in runs})
    if not seeds or seeds[0] == 0:
        return ""
    first = len({run.config.seed for run in recordings.find("annuli_steering")})
    return (
        f"The first {first} seeds left the question undecided, so we asked it again on {len(seeds)} fresh seeds. These "
        "decide, and the first ones do not count. "
    )


def n10(open_loops: Sequence, nearness: str) -> list[Evidence]:
    """The share of changes in the gap minus the gap's share of the radius, by what the open loop steers."""
    found = []
    for steer, words in steering.STEERED.items():
        runs = [run for run in open_loops if run.config.steer == steer and run.config.model == "open"]
        if runs:
            excess = metric(runs, "in_gap") - steering.GAP_SHARE
            found.append(evidence.case(evidence.mean("a", SETTING, nearness, excess, runs), words))
    return found


def reached(run, level: float) -> float:
    """The first look at which the cross-entropy on fresh points is at most ``level``; infinite where none is."""
    looks = run.history.evaluations["cross_entropy"]
    seen = zip(run.history.evaluated, looks, strict=True)
    return next((float(k) for k, value in seen if value <= level), math.inf)
