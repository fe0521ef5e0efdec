"""What a reader must know to weigh the verdicts on A1 to A4 and A6, in words with the runs' numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ncode.reproduction.experiments.augmentation import analysis, verdict
from ncode.reproduction.experiments.augmentation.analysis import Kept
from ncode.reproduction.experiments.augmentation.studies import AUGMENTED, EASY, FOUND, SHELLS, TITLES, Studies
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.publishing import numbers

LEARNT = 0.25
"""The Huber loss below which a training has learnt something: half of what a constant 0 has."""


def a1(studies: Studies, kept: Mapping[int, Kept]) -> str:
    """On A1: the control experiment, and how many trained fields could be resolved."""
    windings = studies.windings()
    fields = sum(len(found.coarse) for found in kept.values())
    broken = fields - sum(found.coarse.count(1) for found in kept.values())
    return (
        "This is a theorem, so a check can only fail where solver or program is wrong. The control experiment can "
        f"fail: one step of Euler's method with the same random fields broke the topology for {broken} of {fields}. So "
        "it is the flow that keeps the topology, not the network. A coarse discretisation of the same field need not "
        f"keep it. Of the trained fields {np.isfinite(windings).sum()} of {len(windings)} could be resolved. In space "
        "we ask none, because the mesh is too coarse for them."
    )


def a2(studies: Studies) -> str:
    """On A2: how well neural ODEs approximate what they cannot represent."""
    errors = {study: 100 * metric(studies.shown[study][0], "error").mean() for study in SHELLS}
    told = ", ".join(f"{numbers.number(error)} % ({TITLES[study]})" for study, error in errors.items())
    return (
        "These follow from the theorem behind A1: a check can only fail where solver, search or program is wrong. Not "
        f"to represent is not the same as not to approximate. On fresh points the neural ODEs' mean error was {told}. "
        "Only on the line is a whole side of the outer shell lost. In more dimensions the wrong points lie in a "
        "corridor through the shell, which may be as thin as the field is steep."
    )


def a3(studies: Studies) -> str:
    """On A3: on how many seeds training found it."""
    flips = metric(studies.runs(["flip"], node=False), "mse")
    told = [f"{int((flips < FOUND).sum())} of {len(flips)} seeds ({TITLES['flip']})"]
    told += [
        f"{int(of.sum())} of {len(of)} ({TITLES[study]}, p = {p})"
        for (study, p), of in verdict.separating(studies).items()
    ]
    return (
        "What some training finds can be represented; what none finds may be representable all the same. Found on "
        f"{', '.join(told)}. Of the spheres we read 'represents' as: separates them. The values are -1 and 1 up to the "
        "losses in the tables. Numbers of parameters are equal to a few per cent. A sphere is searched, not proved, to "
        "lie above the centre."
    )


def a4(studies: Studies, images: bool) -> str:
    """On A4: how much evaluations grow, and what those of images are.

    Args:
        images: whether recorded image models have a say.
    """
    growths = {study: analysis.growth(studies.shown[study][0]) for study in EASY}
    told = ", ".join(f"{numbers.number(np.exp(np.log(v).mean()))} ({TITLES[study]})" for study, v in growths.items())
    of_images = (
        "Image models are trained with fixed steps; their evaluations are those of an adaptive solve of the same flow."
        if images
        else "No image run with more than one seed is recorded yet."
    )
    return (
        "The question counts evaluations as the paper's solver did, with the batch's mean error. The context counts at "
        "an equal error of the worst sample, too. We read 'simpler' as a smaller detour, and ask it where there is "
        "room for one: in two dimensions and more. "
        f"NODE's evaluations grow by these factors (geometric means): {told}. An interval above 1 says that there is a "
        "difference, not that it is large: sizes are in the table. Evaluations come in steps of six, so intervals may "
        f"have no width. {of_images}"
    )


def a6(studies: Studies) -> str:
    """On A6: how many runs failed, and how many learnt something."""

    def pair(study: str) -> str:
        ours, theirs = (verdict.failures(studies.shown[study][p]) for p in (0, AUGMENTED))
        return f"{TITLES[study]} {ours[0]} of {ours[1]} against {theirs[0]} of {theirs[1]}"

    def learnt(study: str) -> str:
        losses = [metric(studies.shown[study][p], "loss") for p in (0, AUGMENTED)]
        node, anode = (f"{int((of < LEARNT).sum())} of {len(of)}" for of in losses)
        return f"{TITLES[study]} {node} (NODE) and {anode} (ANODE)"

    counted = "; ".join(map(pair, studies.provoked)) or "not recorded yet"
    easy = verdict.failures(studies.runs(EASY, anode=False))
    successes = "; ".join(map(learnt, studies.provoked))
    return (
        f"Failures where we provoke, NODE against ANODE with p = {AUGMENTED}: {counted}. At the paper's rate, on the "
        f"easier functions, NODE failed in {easy[0]} of {easy[1]} runs. A run that reaches the end need not have "
        f"learnt anything. A constant 0 has a loss of {2 * LEARNT:g}. A training loss below {LEARNT:g} had, at the "
        f"end: {successes or 'not recorded yet'}. Where few or none did, we compare trainings that do not succeed. The "
        "provocation, a high learning rate, is ours; the paper reports failures on images and when overfitting, at its "
        "own rate. Few runs decide little: the exact test asks whether chance would explain the counts."
    )
