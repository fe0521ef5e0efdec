"""Pattern memorisation's numbers as rows of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ncode.reproduction.experiments.pattern_memorisation import analysis, plans
from ncode.reproduction.experiments.pattern_memorisation.analysis import errors, select
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers

PAPER = {"lstm": "just under 25", "ode_rnn": "17.5", "data": "17.5"}
"""The plateaus that the paper states, in %."""
GRID = [(m, p) for m in (2, 3, 5, 10) for p in (0.5, 0.7, 0.9)]
"""Our cases: all numbers of patterns that the paper has, with all of its degradations."""


CASES = ("n", "m", "p", "chance", "seeds", "N-CODE", "untrained rule", "nearest")
"""The headings of :func:`cases`."""
HARD = ("learner", "seeds", "bit error %", "unknown bits %", "squared error")
"""The headings of :func:`hard`."""
BASELINES = (
    "learner",
    "n",
    "parameters",
    "rate",
    "episodes",
    "seeds",
    "bit error %",
    "unknown bits %",
    "change",
    "paper %",
)
"""The headings of :func:`baselines`."""


def cases(sources: Mapping[str, tuple[Sequence, Sequence]]) -> list[list[str]]:
    """Bit errors in % of every case: chance, N-CODE, the untrained rule, the nearest neighbour.

    Args:
        sources: by what the runs are, such as their number of bits, the trained ones and the untrained ones.
    """
    rows = []
    for words, (made, fixed) in sources.items():
        for m, p in GRID:
            case = {"patterns": m, "degraded": p}
            trained, rule, nearest = (
                errors(runs, learner=learner, **case)
                for runs, learner in ((made, "ncode"), (fixed, "hebb"), (fixed, "oracle"))
            )
            if trained:
                label = [words, str(m), f"{p:g}", f"{50 * p:g}", str(len(trained))]
                found = (numbers.percent(of) if of else numbers.UNDEFINED for of in (trained, rule, nearest))
                rows.append([*label, *found])
    return rows


def hard(runs: Sequence) -> list[list[str]]:
    """The hard case by learner: bit errors in % over all and over unknown bits, and squared error."""
    labelled = {}
    for clamp in (False, True):
        rule = analysis.best_rule(runs, clamp)
        strength, diagonal = rule.config.strength, rule.config.diagonal
        labelled[f"untrained{', clamped' * clamp}: μ = {strength:g}/n, diagonal {diagonal:g}/n"] = [rule]
    labelled |= {f"trained: {name}": analysis.variant(runs, name) for name in plans.VARIANTS}
    labelled["nearest neighbour"] = select(runs, learner="oracle")
    scales = {"error": 100, "unknown_error": 100, "squared_error": 1}
    return [
        [name, str(len(made)), *(numbers.spread(metric(made, key, scale)) for key, scale in scales.items())]
        for name, made in labelled.items()
        if made
    ]


def at_edge(rate: float) -> str:
    """A mark for a rate that is the smallest or the largest of the sweep's."""
    return "*" if rate in (min(plans.RATES), max(plans.RATES)) else ""


def baselines(groups: Sequence[Sequence]) -> list[list[str]]:
    """The baselines after all their episodes, one row a group of runs, beside what the paper states."""

    def row(made: Sequence) -> list[str]:
        facts = made[0].config
        return [
            f"{style.LABELS[facts.learner]}{', as printed' if facts.printed else ''}",
            numbers.number(facts.bits),
            numbers.number(int(made[0].metrics["parameters"])),
            f"{numbers.setting(facts.learning_rate)}{at_edge(facts.learning_rate)}",
            numbers.number(facts.iterations * facts.batch),
            str(len(made)),
            numbers.percent(errors(made)),
            numbers.percent(metric(made, "unknown_error")),
            points(analysis.last_change(made)),
            PAPER[facts.learner],
        ]

    return [row(made) for made in groups]


def points(change: float) -> str:
    """A change of a share, in percentage points and with its sign."""
    sign = "+" if change > 0 else numbers.MINUS if change < 0 else ""
    return f"{sign}{numbers.number(abs(100.0 * change))}"


def weights(before: Float[Tensor, "n n"], after: Float[Tensor, "n n"]) -> str:
    """How training moves the entries of μ, off the diagonal and on it, in a sentence."""
    off = ~torch.eye(len(before), dtype=torch.bool)

    def move(first: Tensor, last: Tensor) -> str:
        return f"{numbers.number(float(first))} to {numbers.number(float(last))}"

    return (
        f"Off the diagonal the mean goes from {move(before[off].mean(), after[off].mean())} and the standard deviation "
        f"from {move(before[off].std(), after[off].std())}. On the diagonal the mean goes from "
        f"{move(before.diagonal().mean(), after.diagonal().mean())}."
    )


def listed(values: Sequence[float], digits: int = 3) -> str:
    """Numbers one after the other."""
    return ", ".join(numbers.number(value, digits) for value in values)


def strengths(variants: Sequence) -> str:
    """How strong the best untrained rule's μ is and how strong the trained ones' are on average, in two sentences."""

    def sentence(clamp: bool) -> str:
        rule = analysis.best_rule(variants, clamp).config
        means = metric(select(variants, learner="ncode", clamp=clamp), "mu_mean")
        low, high = (numbers.number(float(mean)) for mean in (means.min(), means.max()))
        return (
            f"With{'' if clamp else 'out'} held bits the best untrained rule has "
            f"μ = {numbers.number(rule.strength / rule.bits)}, and the trained entries have a mean of {low} to {high}."
        )

    return f"{sentence(False)} {sentence(True)}"


def longer(ours: Sequence, variants: Sequence) -> str:
    """The hard case's bit error after each length of training that there is, as a sentence; empty without the case."""
    eq7 = analysis.variant(variants, "Eq. 7")
    case = {name: getattr(eq7[0].config, name) for name in ("bits", "patterns", "degraded")}
    by_length = {made[0].config.iterations: made for made in (select(ours, learner="ncode", **case), eq7) if made}
    if len(by_length) < 2:
        return ""
    after = " and ".join(
        f"{numbers.percent(errors(made))} % after {numbers.number(length)}"
        for length, made in sorted(by_length.items())
    )
    return f"Trained as Eq. 7 stands, the bit error is {after} episodes."
