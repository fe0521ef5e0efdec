"""The evidence on A1 to A4 and A6: the toy functions of the paper on augmented neural ODEs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.augmentation import analysis
from ncode.reproduction.experiments.augmentation.analysis import Kept
from ncode.reproduction.experiments.augmentation.studies import AUGMENTED, EASY, FOUND, SHELLS, TITLES, Studies
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.metrics.intervals import is_above

SLACK = 1e-3
"""The accurate solve's own error: an outer sphere this little above the centre is not above it."""

ROUNDING = 1e-6
"""Of float32's sums."""

RANDOM = {
    1: "random fields, d = 1: no pair of points ever changes its order",
    2: "random fields, d = 2: the circle's image winds once around the centre's",
    3: "random fields, d = 3: the sphere's image surrounds the centre's once",
}
"""What is asked of random fields, by dimension."""


def a1(studies: Studies, kept: Mapping[int, Kept]) -> list[Evidence]:
    """Whether flows of random and of trained fields keep the topology, wherever that can be resolved."""
    held = all(a1_context(studies, kept).values())
    return [evidence.exact("a", "random and trained fields", "paper", held)]


def a1_context(studies: Studies, kept: Mapping[int, Kept]) -> dict[str, bool | None]:
    """A1's checks, of random fields by dimension and of trained ones."""
    resolved = studies.windings()[np.isfinite(studies.windings())]
    checks: dict[str, bool | None] = {text: all(one == 1 for one in kept[dim].accurate) for dim, text in RANDOM.items()}
    trained = bool(len(resolved) and (resolved == 1).all())
    return checks | {"trained neural ODEs, d = 1 and 2: the same, wherever it can be resolved": trained}


def a2(studies: Studies) -> list[Evidence]:
    """Whether no neural ODE gets below the order-keeping maps' error on g, and none separates the spheres."""
    checks = a2_context(studies)
    spheres = all(held for name, held in checks.items() if "sphere" in name)
    return [
        evidence.exact("a", "trained on the line", "paper", _above_bound(studies)),
        evidence.exact("b", "trained on spheres", "paper", spheres),
    ]


def _above_bound(studies: Studies) -> bool:
    node = studies.shown["flip"][0]
    bounds = np.array([analysis.order_bound(run) for run in node])
    return bool((metric(node, "mse") / bounds).min() > 1 - ROUNDING)


def a2_context(studies: Studies) -> dict[str, bool | None]:
    """A2's checks: the search finds outputs that are there."""
    checks: dict[str, bool | None] = {
        f"{TITLES['flip']}: no neural ODE gets below the error that order-keeping maps have": _above_bound(studies)
    }
    for study in SHELLS:
        gaps = studies.separations()[study, 0]
        known = gaps[np.isfinite(gaps)]
        checks[
            f"{TITLES[study]}: every neural ODE that can be solved accurately has a point of the outer sphere no "
            "higher than the centre"
        ] = bool(len(known) and (known <= SLACK).all())
    return checks


def a3(studies: Studies) -> list[Evidence]:
    """Whether some training finds g, and whether some separates the spheres, with added dimensions."""
    flips = studies.runs(["flip"], node=False)
    found = [evidence.exact("a", TITLES["flip"], "paper", metric(flips, "mse").min() < FOUND, _seeds(flips), flips)]
    for (study, p), separated in separating(studies).items():
        runs = studies.shown[study][p]
        one = evidence.exact("b", "nested spheres", "paper", separated.any(), _seeds(runs), runs)
        found.append(evidence.case(one, f"{study}, p = {p}"))
    return found


def separating(studies: Studies) -> dict[tuple[str, int], np.ndarray]:
    """Which augmented runs separate the spheres, by study and p: no fresh point wrong, the outer sphere above."""
    return {
        (study, p): (gaps > 0) & (metric(studies.shown[study][p], "error") == 0)
        for (study, p), gaps in studies.separations().items()
        if p
    }


def a3_context(studies: Studies) -> dict[str, bool | None]:
    """A3's checks, for g and for the spheres with every p."""
    flips = metric(studies.runs(["flip"], node=False), "mse")
    return {
        f"{TITLES['flip']}: training finds it (mean squared error below {FOUND:g}) on some seed": flips.min() < FOUND,
        **{
            f"{TITLES[study]}, p = {p}: training separates them (the whole outer sphere above the centre, no fresh "
            "point "
            "wrong) on some seed": bool(separated.any())
            for (study, p), separated in separating(studies).items()
        },
    }


def _seeds(runs: Sequence) -> int:
    return len({run.config.seed for run in runs})


def a4(studies: Studies, here: str) -> list[Evidence]:
    """Evaluations and detours of ANODE over NODE's, and how much NODE's evaluations grow in training.

    Args:
        here: how near this execution's runs are to the paper's setting; recorded ones have it.
    """
    found = []
    for study in EASY:
        node, where = studies.shown[study][0], "paper" if study in studies.recorded else here
        for p, runs in studies.shown[study].items():
            if not p:
                continue
            pair, case = [*runs, *node], f"{TITLES[study]}, p = {p}"
            nfe = evidence.ratio("a", "toy functions", where, metric(runs, "nfe"), metric(node, "nfe"), pair)
            detours = metric(runs, "detour"), metric(node, "detour")
            found.append(evidence.case(nfe, case))
            # On the line there is no way round.
            if runs[0].config.dim > 1:
                one = evidence.difference("c", "toy functions", where, *detours, pair)
                found.append(evidence.case(one, case))
        growth = evidence.ratio("b", "toy functions", where, metric(node, "nfe"), metric(node, "nfe_start"), node)
        found.append(evidence.case(growth, TITLES[study]))
    return found


def a4_context(studies: Studies) -> dict[str, bool | None]:
    """A4's checks on small functions: whether the whole interval of each ratio lies above one."""
    compared = [(study, p) for study in EASY for p in studies.shown[study] if p]
    checks = {
        f"{TITLES[study]}, p = {p}: NODE needs more evaluations": is_above(studies.against(study, "nfe", p), 1.0)
        for study, p in compared
    }
    checks |= {
        f"{TITLES[study]}, p = {p}: NODE needs more evaluations at an equal error of the worst sample": is_above(
            studies.against(study, "nfe_worst", p), 1.0
        )
        for study, p in compared
    }
    checks |= {
        f"{TITLES[study]}, p = {p}: NODE's paths are longer detours": is_above(studies.against(study, "detour", p), 1.0)
        for study, p in compared
        if study not in ("flip", "line")
    }
    for study in EASY:
        nfe = [metric(studies.shown[study][0], name) for name in ("nfe", "nfe_start")]
        checks[f"{TITLES[study]}: NODE's evaluations grow in training"] = is_above(analysis.ratio(*nfe), 1.0)
    return checks


def a6(studies: Studies) -> list[Evidence]:
    """The share of trainings that failed, ANODE minus NODE, where both are provoked."""
    found = []
    for study in studies.provoked:
        ours, theirs = (studies.shown[study][p] for p in (AUGMENTED, 0))
        failed = [[float(np.isfinite(run.metrics["failed_at"])) for run in runs] for runs in (ours, theirs)]
        one = evidence.difference("a", "provoked", "reduced", *failed, [*ours, *theirs])
        found.append(evidence.case(one, TITLES[study]))
    return found


def a6_context(studies: Studies) -> dict[str, bool | None]:
    """A6's checks: Fisher's exact test of the two shares of failures."""
    checks = {}
    for study in studies.provoked:
        (failed, runs), (others, of) = (failures(studies.shown[study][p]) for p in (0, AUGMENTED))
        text = f"{TITLES[study]}, provoked: NODE fails more often than ANODE (one-sided exact test, 5 %)"
        checks[text] = analysis.fails_more(failed, runs, others, of)
    return checks


def failures(runs: Sequence) -> tuple[int, int]:
    """How many trainings ended in a failure, and of how many."""
    counted = analysis.outcomes(runs)
    return sum(count for kind, count in counted.items() if kind != "success"), len(runs)
