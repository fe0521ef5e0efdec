"""Variations of γ and regularised flows as tables: each function gives the arguments of the page's call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncode.reproduction.experiments.image_regularisation import studies, variations
from ncode.reproduction.experiments.image_regularisation.analysis import Roles, Study, calm, scores, trial
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.publishing import numbers


def gamma(sets: Mapping[str, Roles]) -> dict[str, Any]:
    """Accuracies on training and test images of ANODE, the open loop, and γ's variations."""
    return {
        "name": "tab-images-gamma",
        "caption": "Accuracy in %, mean ± standard deviation over seeds: on training images, once training is over, "
        "and on test images; how much lower the second is; and the 95 % interval of the test accuracy's difference to "
        "ANODE, paired by seed. In parentheses: the number of seeds at which the interval would exclude zero, if mean "
        "and deviation stayed as they are.",
        "columns": ["data", "model", "training", "test", "gap", "test − ANODE"],
        "rows": [row for title, roles in sets.items() for row in score_rows(title, roles)],
    }


def calmed(sets: Mapping[str, Roles]) -> dict[str, Any]:
    """Accuracy, evaluations and solver errors of regularised flows, beside the flow without."""
    return {
        "name": "tab-images-calm",
        "caption": "The open loop with λ times a running cost in its loss, against the same without. NFE: evaluations "
        "of dopri5 at 10⁻³ on a few validation images. Solver error: the largest distance of a probed image's x(T) "
        "from an accurate solution under the training's solver. Intervals and parentheses as above.",
        "columns": [
            "data",
            "λ",
            "accuracy %",
            "its gain",
            "NFE",
            "its gain",
            "solver error with λ",
            "without λ",
        ],
        "rows": [row for title, roles in sets.items() for row in calm_rows(title, roles)],
    }


MEASURED = (
    "accuracy in % on training images and on test images, mean ± standard deviation over seeds; how much lower the "
    "second is; the 95 % interval of the test accuracy's difference to the tuned ANODE, paired by seed, and the number "
    "of seeds as above; the deviation of θ between images, in squares of an ordinary kernel's size; the test accuracy "
    "when every image gets the mean θ of training images; and the largest solver error of a probed image."
)


def decayed(made: Mapping[str, Study]) -> dict[str, Any]:
    """Both models with and without weight decay."""
    return {
        "name": "tab-images-decay",
        "caption": f"Both models with as many trials: {MEASURED}",
        "columns": ["data", *STUDIED],
        "rows": [[title, *row] for title, roles in made.items() for row in study_rows(roles)],
        "folded": "Every decay, in numbers",
    }


def causes(made: Mapping[str, Study]) -> dict[str, Any]:
    """Every variant of the study of causes at its own best trial."""
    return {
        "name": "tab-images-causes",
        "caption": f"One thing changed at a time, each variant at its own best of as many trials: {MEASURED}",
        "columns": [*STUDIED],
        "rows": [row for roles in made.values() for row in study_rows(roles)],
        "folded": "Every variant, in numbers",
    }


STUDIED = (
    "model",
    "trained at",
    "training",
    "test",
    "gap",
    "test − ANODE",
    "deviation of θ",
    "one θ for all",
    "solver error",
)
"""The headings of :func:`study_rows`."""


def study_rows(roles: Study) -> list[list[str]]:
    """A table's rows: one for each variant and trial, under the first of its roles."""
    anode, rows, seen = roles[f"{studies.ANODE}, tuned"][1], [], set()
    for role, (of, runs) in roles.items():
        if of in seen:
            continue
        seen.add(of)
        steered = not of[0].startswith(studies.ANODE)
        rows.append(
            [
                role.split(", decay ")[0],
                trial(of[1]),
                *scores(runs, anode),
                numbers.number(metric(runs, "control_deviation").mean()) if steered else numbers.UNDEFINED,
                numbers.percent(metric(runs, "unsteered_accuracy")) if steered else numbers.UNDEFINED,
                numbers.number(metric(runs, "solver_error").max()),
            ]
        )
    return rows


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
