"""A4 on images: whether NODE needs more evaluations than ANODE there, and whether its evaluations grow in training."""

from __future__ import annotations

from ncode.reproduction.experiments.image_classification import sets
from ncode.reproduction.experiments.image_classification.analysis import evaluations_growth, evaluations_ratio
from ncode.reproduction.experiments.image_classification.train import WIDE
from ncode.reproduction.metrics.comparison import Runs, several
from ncode.reproduction.metrics.intervals import is_above
from ncode.reproduction.plotting import style

NODES = ("node", WIDE)


def recorded() -> dict[str, Runs]:
    """The recordings of several seeds, by what they are."""
    return several(sets.beside(sets.whole_recordings(wide=True), {}))


def context(compared: dict[str, Runs]) -> dict[str, bool | None]:
    """Whether the whole interval of each ratio lies above one, for both NODEs in every set that has them."""
    checks = {}
    for name, made in compared.items():
        for model in NODES:
            if {model, "anode"} <= made.keys():
                who = f"{name}, {style.LABELS[model]}"
                more, grow = evaluations_ratio(made, model, "anode"), evaluations_growth(made[model])
                checks[f"{who}: it needs more evaluations than ANODE"] = is_above(more, 1.0)
                checks[f"{who}: its evaluations grow from the first look to the last"] = is_above(grow, 1.0)
    return checks


def behind(compared: dict[str, Runs]) -> list:
    """The runs that :func:`context` rests on."""
    return [run for made in compared.values() for model in (*NODES, "anode") for run in made.get(model, ())]
