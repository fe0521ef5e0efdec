"""What the page on regularisation asks of γ's variations and of regularised flows, live or recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ncode.reproduction import profiles
from ncode.reproduction.experiments import image_classification
from ncode.reproduction.experiments.image_classification import sets
from ncode.reproduction.experiments.image_classification.analysis import accuracy, standing
from ncode.reproduction.experiments.image_classification.analysis import tuned as tuned_rates
from ncode.reproduction.experiments.image_regularisation import studies, variations
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.metrics.intervals import difference_interval
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run

Roles = Mapping[str, tuple[tuple[str, str], Sequence]]
"""Variations by role (see :func:`ncode.reproduction.experiments.image_regularisation.variations.chosen`): (model,
name), and the runs."""


Study = Mapping[str, tuple[tuple[str, studies.Trial], Sequence]]
"""By role (see :func:`ncode.reproduction.experiments.image_regularisation.studies.roles`): variant and trial; runs."""

SHARE = 0.1
"""Of the deviation of θ without decay: what is left of it where θ is said to differ between images still."""


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
        title = sets.described(tried[0].config, "recorded")
        tuned[title] = variations.named(tried, table.settings)
        made, whole = recordings.find(name), len(variations.comparison(table.settings, tried, seeds=1))
        counts = Counter(run.config.seed for run in made)
        made = variations.named([run for run in made if counts[run.config.seed] == whole], table.settings)
        if made:
            chosen[title] = {role: (of, made[of]) for role, of in variations.chosen(tuned[title]).items()}
    return tuned, chosen


def studied(kind: str) -> dict[str, dict[str, tuple[tuple[str, studies.Trial], list]]]:
    """The recorded studies of one kind that have a whole seed, by data set and role, on the whole seeds.

    Args:
        kind: what the names of their tables begin with: ``"decay"`` or ``"causes"``.
    """
    found = {}
    for name, table in studies.tables().items():
        if not name.startswith(kind):
            continue
        roles = studies.roles(name)
        made = {run.config: run for run in recordings.find(studies.name_of(name))}
        wanted = dict.fromkeys(roles.values())
        seeds = [
            seed
            for seed in range(table.options["seeds"])
            if wanted and all(studies.config(table, *of, seed) in made for of in wanted)
        ]
        if seeds:
            runs = {of: [made[studies.config(table, *of, seed)] for seed in seeds] for of in wanted}
            title = sets.described(runs[next(iter(wanted))][0].config, "recorded")
            found[title] = {role: (of, runs[of]) for role, of in roles.items()}
    return found


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


def execution(profile: str) -> tuple[dict[str, dict[str, list[Run]]], dict[str, Mapping], list[Run]]:
    """This execution's runs of ANODE and of the open loop, which the page on classification trains, too.

    Returns:
        By set of data the runs by model, and the settings; then the runs that chose the learning rates.
    """
    table = profiles.load("image_classification", profile)
    here, _ = sets.at_hand(table.options["sets"])
    trials, fixed = tuned_rates(table.settings, here, table.options["rates"])
    made = {
        name: image_classification.experiment.sweep(("anode", "open"), table.options["seeds"], **fixed[name])
        for name in here
    }
    return made, fixed, [run for tried in trials.values() for run in tried]


def varied(profile: str, names: Iterable[str]) -> tuple[dict[str, dict], list[Run]]:
    """This execution's variations ``names`` by role, for each set of data, and every run behind them."""
    made, fixed, trials = execution(profile)
    found = {
        sets.described(sets.example(runs), "this run"): variations.beside(runs, list(names), fixed[name])
        for name, runs in made.items()
    }
    return found, [*trials, *(run for roles in found.values() for _, runs in roles.values() for run in runs)]


def generalises(title: str, roles: Roles) -> str:
    """Whether the tuned open loop beats the tuned ANODE, as a line of Markdown."""
    (_, ours), open_loop = roles["open loop, tuned"]
    (_, theirs), anode = roles["ANODE, tuned"]
    low, high = difference_interval(*(metric(runs, "test_accuracy", 100.0) for runs in (open_loop, anode)))
    word = "more accurate" if low > 0 else "less accurate" if high < 0 else "not told apart"
    return (
        f"- {title}: the tuned open loop ({ours}) reaches {accuracy(open_loop)} %, the tuned ANODE ({theirs}) "
        f"{accuracy(anode)} %; difference {numbers.interval((low, high))} points: **{word}**."
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


def deviation_left(roles: Study) -> float | None:
    """The deviation of the tuned open loop's θ, as a share of that without decay at its rate, where that ran."""
    (_, (rate, _)), runs = roles["open loop, tuned"]
    free = [made for of, made in roles.values() if of == (studies.OPEN, (rate, 0.0))]
    if not free:
        return None
    return float(metric(runs, "control_deviation").mean() / metric(free[0], "control_deviation").mean())


def passes(title: str, roles: Study) -> str:
    """Whether the tuned open loop beats the tuned ANODE, and whether it still is one, as a line of Markdown."""
    (_, ours), open_loop = roles["open loop, tuned"]
    (_, theirs), anode = roles["ANODE, tuned"]
    bounds = difference_interval(*(metric(runs, "test_accuracy", 100.0) for runs in (open_loop, anode)))
    word = _word(bounds, "less accurate", "more accurate", "not told apart")
    left = deviation_left(roles)
    unsteered = numbers.percent(metric(open_loop, "unsteered_accuracy"))
    still = ""
    if left is not None:
        answer = "still differs" if left >= SHARE else "hardly differs"
        still = f" Its θ **{answer}** between images: {numbers.share(left)} of the deviation without decay is left."
    return (
        f"- {title}: the tuned open loop ({trial(ours)}) reaches {accuracy(open_loop)} %, the tuned ANODE "
        f"({trial(theirs)}) {accuracy(anode)} %; difference {numbers.interval(bounds)} points: **{word}**.{still} "
        f"With one θ for all images it reaches {unsteered} %."
    )


def trial(of: studies.Trial) -> str:
    """A trial in words."""
    rate, weight = of
    return f"rate {numbers.setting(rate)}, {f'decay {numbers.setting(weight)}' if weight else 'no decay'}"


def passes_in_words(made: Mapping[str, Study]) -> str:
    """:func:`passes` for every study of decay, as Markdown."""
    return "\n".join(passes(title, roles) for title, roles in made.items()) or "No recording is at hand."


CAUSES = (
    ("twice the solver's steps", "open loop, twice the steps", studies.OPEN),
    ("twice the solver's steps for ANODE", "ANODE, twice the steps", studies.ANODE),
    ("a tenth of the rate for γ's matrices", "γ at a tenth of the rate", studies.OPEN),
    ("that γ reads the image, and not nothing", studies.OPEN, "γ reads nothing"),
    ("that γ reads the image, and not another one", studies.OPEN, "γ reads another image"),
    ("that γ reads convolutions of it, and not pixels", "γ reads convolutions", studies.OPEN),
    (
        "that γ reads convolutions of it, and not nothing (not asked beforehand)",
        "γ reads convolutions",
        "γ reads nothing",
    ),
)
"""What may hold the open loop back, in words: with it, and without. The plan's ``asked`` has all but the last."""

RIVALS = (
    ("the open loop beside ANODE", studies.OPEN, studies.ANODE),
    ("γ reads nothing, beside ANODE", "γ reads nothing", studies.ANODE),
    ("γ reads convolutions, beside ANODE", "γ reads convolutions", studies.ANODE),
    (
        "γ reads convolutions, beside ANODE of as many parameters",
        "γ reads convolutions",
        "ANODE of as many parameters",
    ),
)
"""Who is compared with ANODE, in words."""


def of_variant(roles: Study, variant: str) -> Sequence:
    """A variant's runs at its own best trial."""
    return roles[f"{variant}, tuned"][1]


def causes_in_words(made: Mapping[str, Study]) -> str:
    """Which of :data:`CAUSES` move the accuracy, and how :data:`RIVALS` stand, as Markdown."""
    lines = []
    for roles in made.values():
        for name, a, b in (*CAUSES, *RIVALS):
            pair = of_variant(roles, a), of_variant(roles, b)
            bounds = difference_interval(*(metric(runs, "test_accuracy", 100.0) for runs in pair))
            word = _word(bounds, "loses", "gains", "not told apart")
            lines.append(f"- {name}: **{word}**, {numbers.interval(bounds)} points.")
    return "\n".join(lines) or "No recording is at hand."


def _word(bounds: tuple[float, float], below: str, above: str, neither: str) -> str:
    low, high = bounds
    return below if high < 0 else above if low > 0 else neither


def generalises_in_words(chosen: Mapping[str, Roles]) -> str:
    """:func:`generalises` for every recording, as Markdown."""
    return "\n".join(generalises(title, roles) for title, roles in chosen.items()) or "No recording is at hand."


def saves_in_words(sets: Mapping[str, Roles]) -> str:
    """:func:`saves` for every set of runs, as Markdown."""
    return "\n".join(filter(None, (saves(title, roles) for title, roles in sets.items()))) or "Not run yet."
