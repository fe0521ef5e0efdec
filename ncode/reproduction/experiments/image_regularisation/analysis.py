"""What the page on image classification asks of γ's variations and of regularised flows, live or recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from ncode.reproduction.experiments.image_classification.analysis import accuracy, described, standing
from ncode.reproduction.experiments.image_regularisation import variations
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.metrics.intervals import difference_interval
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings

Roles = Mapping[str, tuple[tuple[str, str], Sequence]]
"""Variations by role (see :func:`ncode.reproduction.experiments.image_regularisation.variations.chosen`): (model,
name), and the runs."""


def regularised() -> tuple[dict[str, dict], dict[str, dict]]:
    """The recorded variations of γ and of the flow, by data set.

    Returns:
        First, where the tuning is whole, its runs as
        :func:`ncode.reproduction.experiments.image_regularisation.variations.named` gives them; then, where a whole
        seed of the comparison is there, by role the variation (model, name) and its runs.
    """
    tuned, chosen = {}, {}
    for name, table in variations.tables().items():
        tried = recordings.find(f"{name}_tuning")
        if len(tried) < len(variations.tuning(table.settings)):
            continue
        title = described(tried[0], "recorded")
        tuned[title] = variations.named(tried, table.settings)
        made, whole = recordings.find(name), len(variations.comparison(table.settings, tried, seeds=1))
        counts = Counter(run.config.seed for run in made)
        made = variations.named([run for run in made if counts[run.config.seed] == whole], table.settings)
        if made:
            chosen[title] = {role: (of, made[of]) for role, of in variations.chosen(tuned[title]).items()}
    return tuned, chosen


def tuning_panel(axes: Axes, tuned: Mapping[tuple[str, str], list], title: str) -> None:
    """Draw the validation loss of every variation of a tuning: the open loop's as circles, ANODE's as triangles."""
    losses = {of: made[0].metrics["validation_loss"] for of, made in tuned.items()}
    names = list(variations.VARIATIONS["open"])[::-1]
    edge = 1.6 * min(losses.values())
    for (model, name), loss in losses.items():
        marker = "o" if model == "open" else "^"
        axes.plot(min(loss, edge), names.index(name), marker, color=style.COLOURS[model], clip_on=False)
    anode = min(loss for (model, _), loss in losses.items() if model == "anode")
    axes.axvline(anode, color=style.COLOURS["anode"], linestyle="--", linewidth=1)
    axes.set(xlabel="validation loss", title=title.split(", ")[1], yticks=range(len(names)))
    axes.set_yticklabels(names)


def scores(runs: Sequence, anode: Sequence) -> list[str]:
    """Training and test accuracy in %, their gap, and the interval of the test accuracy's difference to ANODE."""
    fitted, test = metric(runs, "fitted_accuracy"), metric(runs, "test_accuracy")
    difference = "–" if runs is anode else standing(runs, anode)
    return [numbers.percent(fitted), numbers.percent(test), numbers.percent(fitted - test), difference]


def calm(runs: Sequence, free: Sequence) -> list[str]:
    """A regularised flow against the free one: accuracy, evaluations, and the solver error of both."""
    return [
        numbers.percent(metric(runs, "test_accuracy")),
        standing(runs, free),
        numbers.spread(metric(runs, "nfe_adaptive")),
        standing(runs, free, "nfe_adaptive", 1.0),
        numbers.number(metric(runs, "solver_error").max()),
        numbers.number(metric(free, "solver_error").max()),
    ]


def score_rows(title: str, roles: Roles) -> list[list[str]]:
    """A table's rows: the accuracies (see :func:`scores`) of what varies γ."""
    rows = []
    for role, ((_, name), runs) in roles.items():
        if name not in variations.CALM:
            label = role if name == variations.FIXED or name in role else f"{role}: {name}"
            rows.append([title, label, *scores(runs, roles["ANODE"][1])])
    return rows


def calm_rows(title: str, roles: Roles) -> list[list[str]]:
    """A table's rows: the evaluations (see :func:`calm`) of what regularises the flow."""
    free = roles["open loop"][1]
    return [[title, name, *calm(runs, free)] for (_, name), runs in roles.values() if name in variations.CALM]


def generalises(title: str, roles: Roles) -> str:
    """Whether the tuned open loop beats the tuned ANODE, as a line of Markdown."""
    (_, ours), open_loop = roles["open loop, tuned"]
    (_, theirs), anode = roles["ANODE, tuned"]
    low, high = difference_interval(*(metric(runs, "test_accuracy", 100.0) for runs in (open_loop, anode)))
    word = "more accurate" if low > 0 else "less accurate" if high < 0 else "not told apart"
    return (
        f"- {title}: the tuned open loop ({ours}) reaches {accuracy(open_loop)} %, the tuned ANODE ({theirs}) "
        f"{accuracy(anode)} %; difference {standing(open_loop, anode)} points: **{word}**."
    )


def saves(title: str, roles: Roles) -> str:
    """Whether a regularised flow takes fewer evaluations, and at what price in accuracy, as lines of Markdown."""
    free, lines = roles["open loop"][1], []
    for (_, name), runs in roles.values():
        if name not in variations.CALM:
            continue
        calls = difference_interval(metric(runs, "nfe_adaptive"), metric(free, "nfe_adaptive"))
        points = difference_interval(metric(runs, "test_accuracy", 100.0), metric(free, "test_accuracy", 100.0))
        fewer = _word(calls, "fewer evaluations", "more evaluations", "evaluations not told apart")
        price = _word(points, "lower accuracy", "higher accuracy", "accuracy not told apart")
        lines.append(
            f"- {title}, {name}: **{fewer}** ({numbers.interval(calls)}), **{price}** "
            f"({numbers.interval(points)} points)."
        )
    return "\n".join(lines)


def _word(bounds: tuple[float, float], below: str, above: str, neither: str) -> str:
    low, high = bounds
    return below if high < 0 else above if low > 0 else neither
