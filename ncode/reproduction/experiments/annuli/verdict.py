"""The evidence on N9 and N10: errors on the annuli, lengths of paths, and where the fields bifurcate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ncode.reproduction.claims import claims, evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.annuli import analysis, steering
from ncode.reproduction.metrics import intervals
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.publishing import numbers
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
        f"The first {first} seeds left the question undecided, as it was first asked, so we asked it again on "
        f"{len(seeds)} fresh seeds. These decide, and the first ones do not count. "
    )


def n10(open_loops: Sequence, nearness: str) -> list[Evidence]:
    """Whether portraits change (a), and where they do (b), by what the open loop steers.

    Of (b): the share of changes in the gap minus the gap's share of the radius, of the runs that have a change.
    """
    found = []
    for words, runs in _by_choice(open_loops).items():
        some = analysis.changing(runs)
        every = evidence.exact("a", SETTING, nearness, len(some) == len(runs), len(runs), runs)
        found.append(evidence.case(every, words))
        if some:
            found.append(evidence.case(evidence.mean("b", SETTING, nearness, _excess(some), some), words))
    return found


def n10_told(open_loops: Sequence) -> str:
    """Seeds without a change, what they would do as N10 was first asked, and of which choices alone it holds."""
    choices, said = _by_choice(open_loops), []
    if not choices:
        return ""
    for words, runs in choices.items():
        none = len(runs) - len(analysis.changing(runs))
        if none:
            low, high = intervals.interval(_excess(runs))
            said.append(f"{words} {none} of {len(runs)} (then {numbers.interval((low, high))})")
    if not said:
        without = "Every seed that decides has a change. "
    else:
        without = (
            f"Seeds without any change, by what is steered: {', '.join(said)}. They answer (a) and are left out of "
            "(b). In brackets is what (b) would find if they counted as having no change in the gap, as it was first "
            "asked. "
        )
    parts = {question.part: question for question in claims.get("N10").questions}
    answers: dict[str, list[bool | None]] = {}
    for one in n10(open_loops, "paper"):
        answers.setdefault(one.of, []).append(one.answer(parts[one.part]))
    both = [words for words, given in answers.items() if given == [True, True]]
    return (
        f"{without}The paper does not say what is steered; that the claim must be true of each choice is ours. Asked "
        f"of one choice alone, both parts are true of: {', '.join(both) or 'none'}. "
    )


def _by_choice(open_loops: Sequence) -> dict[str, list]:
    """The open loops' runs by what they steer, in words; without choices that have none."""
    runs = {
        words: [run for run in open_loops if run.config.steer == steer and run.config.model == "open"]
        for steer, words in steering.STEERED.items()
    }
    return {words: of_choice for words, of_choice in runs.items() if of_choice}


def _excess(runs: Sequence):
    """The share of changes in the gap minus the gap's share of the radius, one a run."""
    return metric(runs, "in_gap") - steering.GAP_SHARE


def reached(run, level: float) -> float:
    """The first look at which the cross-entropy on fresh points is at most ``level``; infinite where none is."""
    looks = run.history.evaluations["cross_entropy"]
    seen = zip(run.history.evaluated, looks, strict=True)
    return next((float(k) for k, value in seen if value <= level), math.inf)
