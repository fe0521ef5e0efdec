"""Variations of γ and regularised flows as tables: each function gives the arguments of the page's call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncode.reproduction.experiments.image_regularisation import variations
from ncode.reproduction.experiments.image_regularisation.analysis import Roles, calm, scores


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
