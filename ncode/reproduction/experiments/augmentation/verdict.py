"""The evidence on A1 to A4 and A6: the toy functions of the paper on augmented neural ODEs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.metrics.comparison import metric

Studies = Mapping[str, Mapping[int, Sequence]]
"""Runs by study, and by the number p of added dimensions."""


def a3(
    flip: Mapping[int, Sequence], separations: Mapping[tuple[str, int], np.ndarray], shown: Studies
) -> list[Evidence]:
    """Whether some training finds g(±1) = ∓1, and whether some separates the spheres, with added dimensions.

    Args:
        flip: the runs on g by p.
        separations: how far the outer sphere lies above the centre at least, a number a run, by study and p.
    """
    flips = [run for p, runs in flip.items() if p for run in runs]
    found = [evidence.exact("a", "g(±1) = ∓1", "paper", metric(flips, "mse").min() < 0.01, _seeds(flips), flips)]
    for (study, p), gaps in separations.items():
        if p:
            runs = shown[study][p]
            separated = (gaps > 0) & (metric(runs, "error") == 0)
            one = evidence.exact("b", "nested spheres", "paper", separated.any(), _seeds(runs), runs)
            found.append(evidence.case(one, f"{study}, p = {p}"))
    return found


def _seeds(runs: Sequence) -> int:
    return len({run.config.seed for run in runs})


def a4(
    shown: Studies, studies: Sequence[str], titles: Mapping[str, str], nearness: Mapping[str, str]
) -> list[Evidence]:
    """Evaluations and detours of ANODE over NODE's, and how much NODE's evaluations grow in training.

    Args:
        shown: runs by study and p.
        studies: those that training succeeds on.
        titles: of studies.
        nearness: of each study's runs to the paper's setting.
    """
    found = []
    for study in studies:
        node, where = shown[study][0], nearness[study]
        for p, runs in shown[study].items():
            if not p:
                continue
            pair, case = [*runs, *node], f"{titles[study]}, p = {p}"
            nfe = evidence.ratio("a", "toy functions", where, metric(runs, "nfe"), metric(node, "nfe"), pair)
            detour = evidence.difference(
                "c", "toy functions", where, metric(runs, "detour"), metric(node, "detour"), pair
            )
            found.append(evidence.case(nfe, case))
            # On the line there is no way round.
            if runs[0].config.dim > 1:
                found.append(evidence.case(detour, case))
        growth = evidence.ratio("b", "toy functions", where, metric(node, "nfe"), metric(node, "nfe_start"), node)
        found.append(evidence.case(growth, titles[study]))
    return found


def a6(shown: Studies, studies: Sequence[str], titles: Mapping[str, str], augmented: int = 5) -> list[Evidence]:
    """The share of trainings that failed, ANODE minus NODE, where both are provoked."""
    found = []
    for study in studies:
        ours, theirs = shown[study][augmented], shown[study][0]
        failed = [[float(np.isfinite(run.metrics["failed_at"])) for run in runs] for runs in (ours, theirs)]
        one = evidence.difference("a", "provoked", "reduced", *failed, [*ours, *theirs])
        found.append(evidence.case(one, titles[study]))
    return found
