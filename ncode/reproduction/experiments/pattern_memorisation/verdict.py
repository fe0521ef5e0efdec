"""The evidence on N14 and N15, and its context: the closed loop's bit errors, and the baselines' plateaus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ncode.reproduction.claims import claims, evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.pattern_memorisation import analysis, tables
from ncode.reproduction.experiments.pattern_memorisation.plans import FIG6, STATED
from ncode.reproduction.experiments.pattern_memorisation.sets import Sets
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.models.memory import Task, chance
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers

PARTS = {1000: "a", 100: "b"}
LONG_ENOUGH = 1.5
"""How many times the episodes that N14 (c) allows a run must have."""
BASELINES = {"lstm": "a", "ode_rnn": "b", "data": "c"}
EQUAL = ("ode_rnn", "data")
"""The baselines that the paper gives as many parameters as N-CODE."""


AS_PRINTED = ", as printed"
"""Behind the name of a setting that Section 4.3 and C.3 print."""


def n14(runs: Sequence, nearness: str, how: str = "") -> list[Evidence]:
    """The bit error of the paper's cases (m, p) that the closed loop was trained on, by the number of bits.

    Args:
        how: such as :data:`AS_PRINTED`, for the setting's name.
    """
    found = []
    trained = analysis.select(runs, learner="ncode")
    for bits, part in PARTS.items():
        of_size = analysis.select(trained, bits=bits)
        cases = {(run.config.patterns, run.config.degraded) for run in of_size}
        for m, p in sorted(cases & STATED[bits]):
            case = analysis.select(of_size, patterns=m, degraded=p)
            one = evidence.mean(part, f"{bits} bits{how}", nearness, analysis.errors(case), case)
            found.append(evidence.case(one, f"m = {m}, p = {p:g}"))
    return [*found, *_episodes(trained, nearness, how)]


def n14_printed(runs: Sequence) -> list[Evidence]:
    """:func:`n14` of the runs as printed, of the numbers of bits that have every case on enough seeds.

    "All cases" is the claim: the cases at hand of a recording that was cut short do not decide it.
    """
    (seeds,) = {question.seeds for question in claims.get("N14").questions}
    whole = []
    for bits, cases in STATED.items():
        trained = analysis.select(runs, learner="ncode", bits=bits)
        if all(len(analysis.select(trained, patterns=m, degraded=p)) >= seeds for m, p in cases):
            whole += trained
    return n14(whole, "paper", AS_PRINTED)


def _episodes(trained: Sequence, nearness: str, how: str) -> list[Evidence]:
    """Episodes until the training episodes' error stays within a point of where it ends, at Fig. A.3's 1000 bits.

    None where some run has fewer episodes than :func:`needed`: its end would say little of a final level.
    """
    runs = analysis.select(trained, bits=1000)
    if not runs or min(map(length, runs)) < needed():
        return []
    counts = [settled(run) for run in runs]
    # Cases share their seeds: a seed is one repetition, whose slowest case counts.
    seeds = sorted({run.config.seed for run in runs})
    slowest = [max(c for c, run in zip(counts, runs, strict=True) if run.config.seed == seed) for seed in seeds]
    return [evidence.mean("c", f"1000 bits{how}, the slowest case", nearness, slowest, runs)]


def length(run) -> int:
    """How many episodes a run trained on."""
    return run.config.iterations * run.config.batch


def needed() -> float:
    """The least number of episodes of a run that can answer N14 (c): so many that it can also come out false."""
    (asked,) = (question for question in claims.get("N14").questions if question.part == "c")
    return LONG_ENOUGH * asked.below


def settled(run, slack: float = 0.01) -> float:
    """Episodes until the training error, smoothed over a tenth of the run, stays within ``slack`` of its last."""
    seen, (errors,) = analysis.curve([run])
    window = max(1, len(errors) // 10)
    smooth = np.convolve(errors, np.ones(window) / window, mode="valid")
    away = np.flatnonzero(np.abs(smooth - smooth[-1]) > slack)
    return float(seen[min(int(away[-1]) + window, len(seen) - 1)] if len(away) else seen[0])


def n15(baselines: Mapping[str, Sequence], setting: str, nearness: str) -> list[Evidence]:
    """Where each baseline ends, and whether all have become flat, from runs by baseline.

    Section 4.3 gives all models but the LSTM as many parameters as N-CODE has, so the setting's name says how many.
    Whether all are flat is asked where there are all of them.
    """
    found = []
    for kind, runs in baselines.items():
        sized = f"{setting}, {numbers.number(int(runs[0].metrics['parameters']))} parameters"
        found.append(evidence.mean(BASELINES[kind], sized, nearness, analysis.errors(runs), runs))
    for kind, runs in baselines.items() if baselines.keys() == BASELINES.keys() else ():
        changes = [analysis.last_change([run]) for run in runs]
        one = evidence.mean("d", f"{setting}, the models of parts a to c", nearness, changes, runs)
        found.append(evidence.case(one, style.LABELS[kind]))
    return found


def n15_printed(baselines: Mapping[int, Mapping[str, Sequence]]) -> list[Evidence]:
    """:func:`n15` of the printed baselines, by number of bits.

    The paper does not state its episodes, but its curves are flat: where ours still move, ours are fewer.
    """
    m, p = FIG6
    found = []
    for bits, kinds in baselines.items():
        words = f"n = {bits}, m = {m}, p = {p:g}{AS_PRINTED}"
        found += n15(kinds, words, "paper" if all(map(_flat, kinds.values())) else "reduced")
    return found


def _flat(runs: Sequence) -> bool:
    """Whether a baseline's curve is flat, as N15 (d) asks it."""
    (most,) = (question.below for question in claims.get("N15").questions if question.part == "d")
    return abs(analysis.last_change(runs)) < most


def still_moving(baselines: Mapping[int, Mapping[str, Sequence]]) -> str:
    """Which printed baselines' curves are not flat, and by how much they still change, in a sentence; or nothing."""
    moving = [
        f"{tables.points(analysis.last_change(runs))} points (n = {bits}, {style.LABELS[kind]})"
        for bits, kinds in baselines.items()
        for kind, runs in kinds.items()
        if not _flat(runs)
    ]
    if not moving:
        return ""
    return (
        "As printed, the bit error still changed from the third to the last quarter of training by "
        f"{' and '.join(moving)}: these runs are too short to say where their curves end."
    )


def n14_checks(found: Sets, large: Sequence) -> dict[str, bool]:
    """Which cases stay below 1 %, recorded at 1000 bits and in this execution."""
    bits, seeds = found.options["bits"], found.options["seeds"]
    few, many = ([(m, p) for m, p in tables.GRID if (m < 10) == below] for below in (True, False))
    return {
        "1000 bits, 2 to 5 patterns: below 1 % for every p, 3 seeds (recorded)": analysis.all_below(large, few, 3),
        "1000 bits, 10 patterns: below 1 % for every p, 3 seeds (recorded)": analysis.all_below(large, many, 3),
        f"{bits} bits, 3 patterns, p = 0.5: below 1 % after {found.options['iterations']} episodes": (
            analysis.all_below(found.ours, [(3, 0.5)], seeds)
        ),
        f"{bits} bits, the cases that the paper has not: below 1 % in every one": (
            analysis.all_below(found.ours, [case for case in found.cases if case not in STATED.get(bits, ())], seeds)
        ),
    }


def gained(found: Sets, large: Sequence, printed: Sequence = ()) -> list[float]:
    """By how much training lowers the untrained rule's error in every case measured, recorded or live.

    Args:
        large: recorded runs of 1000 bits, trained and not.
        printed: recorded runs as printed; where the rule was not tried on their number of bits they are left out.
    """
    gained = [*analysis.gains(large, large), *analysis.gains(found.ours, found.controls)]
    for bits, rules in {1000: large, found.options["bits"]: found.controls}.items():
        gained += analysis.gains(analysis.select(printed, bits=bits), rules)
    return gained


def n14_note(found: Sets, large: Sequence, printed: Sequence = ()) -> str:
    """What a reader must know of N14: what the untrained rule does, and what crosstalk alone costs."""
    gains, bits = gained(found, large, printed), found.options["bits"]
    failed = [case for case in found.cases if not analysis.all_below(found.ours, [case], found.options["seeds"])]
    others = [(m, p) for m, p in failed if p * analysis.crosstalk_error(bits, m, p) <= 0.01]
    rule = [np.mean(analysis.errors(found.controls, learner="hebb", patterns=m, degraded=p)) for m, p in others]
    trained = analysis.select([*found.ours, *large, *printed], learner="ncode")
    rise = max(analysis.last_change([run]) for run in trained)
    course = f"rises by at most {tables.points(rise)} points in any" if rise > 0 else "rises in none"
    worse = (
        f"In the others it is at most {tables.points(max(gains))} percentage points worse. " if max(gains) > 0 else ""
    )
    longest = max(map(length, trained))
    short = (
        f" No run answers part c: it needs {numbers.number(needed())} episodes, and the longest run has "
        f"{numbers.number(longest)}."
    )
    return (
        "Learning is not what remembers. The Hebbian rule with a constant, never trained μ is at least as good in "
        f"{sum(gain <= 0 for gain in gains)} of the {len(gains)} cases measured. {worse}"
        f"Of the {len(failed)} cases of {bits} bits that are not "
        f"below 1 %, crosstalk alone is predicted to cost more than that in {len(failed) - len(others)}. Of the other "
        f"{len(others)} the untrained rule is not below 1 % either in {sum(error >= 0.01 for error in rule)}. From the "
        f"third to the last quarter of training the training episodes' bit error {course} of the {len(trained)} runs."
    ) + (short if longest < needed() else "")


def n15_checks(trained: Mapping[tuple, Sequence], found: Sets) -> dict[str, bool]:
    """Where the wide baselines end, whether they still change, and how far all are from N-CODE.

    Args:
        trained: recorded runs by learner and size.
        found: this execution's runs, for N-CODE's error at Fig. 6's case.
    """
    wide = [float(np.mean(analysis.errors(trained[kind, 128]))) for kind in EQUAL]
    recalled = metric(analysis.select(found.ours, learner="ncode", **found.options["fig6"]), "unknown_error").mean()
    every = [run for runs in trained.values() for run in runs]
    return {
        "with a wide state, ODE-RNN and data control end at 0.15 to 0.20": all(0.15 <= value <= 0.2 for value in wide),
        "with a wide state, none still changes by more than half a point from the third to the last quarter": all(
            abs(analysis.last_change(trained[kind, 128])) < 0.005 for kind in EQUAL
        ),
        "on the unknown bits none comes within ten times N-CODE's error, in more than a hundred times its episodes": (
            all(_behind(run, recalled, found.options["iterations"]) for run in every)
        ),
    }


def _behind(run, recalled: float, episodes: int) -> bool:
    """Whether a baseline's error on unknown bits is ten times N-CODE's, after a hundred times its episodes."""
    return run.metrics["unknown_error"] > 10 * recalled and length(run) > 100 * episodes


def n15_note(trained: Mapping[tuple, Sequence]) -> str:
    """What a reader must know of N15: sizes and rates are ours, and how the curves end."""
    sizes = {None: " of μ's size", 128: ", wide"}
    changes = ", ".join(
        f"{tables.points(analysis.last_change(runs))} ({style.LABELS[kind]}{sizes.get(hidden, '')})"
        for (kind, hidden), runs in trained.items()
    )
    ends = " and ".join(
        f"{numbers.share(np.mean(analysis.errors(trained[kind, None])))} ({style.LABELS[kind]})" for kind in EQUAL
    )
    (case,) = {(run.config.bits, run.config.patterns, run.config.degraded) for runs in trained.values() for run in runs}
    return (
        "The paper does not say how many bits and patterns its curves have. It trains every model at one rate, and "
        f"ours have the best of a sweep. With as many parameters as μ they end at {ends}; guessing with the known "
        f"bits copied has {numbers.share(chance(Task(*case)))}. Changes from the third to the last quarter, in points: "
        f"{changes}. Where the error rises, the rate won a "
        "sweep of a quarter of this length."
    )


def as_said(found: Sets, large: Sequence, trained: Mapping[tuple, Sequence], printed: Sequence = ()) -> bool:
    """Whether the sentences hold that the page asserts.

    Training gives μ Hebb's sign and lowers the bit error. It gains nowhere more than a fifth of a point over the
    untrained rule, and no baseline comes near either. Recordings that are older do not tell μ.
    """
    ours = analysis.select([*found.ours, *large, *printed], learner="ncode")
    learns = all(analysis.falls(run) and run.metrics.get("mu_mean", 1.0) > 0 for run in ours)
    rule = analysis.errors(found.controls, learner="hebb", **found.options["fig6"])[0]
    ends = [*trained.values(), *([run] for run in printed if run.config.learner in BASELINES)]
    final = [float(np.mean(analysis.errors(runs))) for runs in ends]
    return learns and max(gained(found, large, printed)) < 0.002 and all(value > 0.1 > 10 * rule for value in final)
