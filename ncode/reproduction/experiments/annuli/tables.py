"""The annuli's numbers as rows of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ncode.reproduction.experiments.annuli import analysis, steering
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.metrics.intervals import ratio_interval
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers

STEERED_COLUMNS = (
    "steered",
    "seeds",
    "with a change",
    "rays differ %",
    "in the gap %",
    "gap above its share",
    "open: all right",
    "closed: all right",
    "open: solver error",
    "closed: solver error",
)


def steered(recorded: Sequence) -> list[list[str]]:
    """What became of both loops, by what they steer; a table's rows.

    Of the open loop the seeds on which portraits change at all, and the rays whose ends differ, in %. Of the seeds
    with a change the changes in the gap, in %, and on how many the gap has more than its share. Then, of both loops,
    the seeds on which no point of the dense grid is wrong, and the worst solver error. Of a recording that has begun
    only what both loops have runs of.
    """
    made = []
    for steer, words in steering.STEERED.items():
        of_steer = [run for run in recorded if run.config.steer == steer]
        loops = [[run for run in of_steer if run.config.model == model] for model in ("open", "closed")]
        if not all(loops):
            continue
        some = analysis.changing(loops[0])
        crowded = metric(some, "in_gap") > steering.GAP_SHARE
        made.append(
            [
                words,
                str(min(map(len, loops))),
                f"{len(some)} of {len(loops[0])}",
                numbers.spread(metric(loops[0], "differs", 100.0)),
                *(
                    (numbers.spread(metric(some, "in_gap", 100.0)), numbers.share(crowded.mean()))
                    if some
                    else ("–", "–")
                ),
                *(numbers.share((metric(loop, "grid_error") == 0).mean()) for loop in loops),
                *(numbers.number(metric(loop, "solver_error").max(), 1) for loop in loops),
            ]
        )
    return made


COLUMNS = (
    "model",
    "parameters",
    "accuracy %",
    "cross-entropy",
    "NODE's / this one's",
    "grid error %",
    "NFE",
    "detour",
    "solver error",
)


def models(records: Mapping[str, Sequence]) -> list[list[str]]:
    """Every model's accuracy, cross-entropy beside NODE's, grid error and, of a flow, evaluations, detour and error."""

    def row(model: str, runs: Sequence) -> list[str]:
        flow = (
            [
                numbers.spread(metric(runs, "nfe")),
                numbers.spread(metric(runs, "detour")),
                numbers.number(max(metric(runs, "solver_error"))),
            ]
            if model != "gamma"
            else ["–"] * 3
        )
        ratio = ratio_interval(metric(records["node"], "cross_entropy"), metric(runs, "cross_entropy"))
        return [
            style.LABELS[model],
            numbers.number(int(runs[0].metrics["parameters"])),
            numbers.percent(metric(runs, "accuracy")),
            numbers.spread(metric(runs, "cross_entropy")),
            "1" if model == "node" else numbers.interval(ratio),
            numbers.percent(metric(runs, "grid_error")),
            *flow,
        ]

    return [row(model, runs) for model, runs in records.items()]
