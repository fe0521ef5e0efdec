"""Augmentation on images (claim A5): sizes at the paper's scale, and the questions of ANODE against the wide NODE."""

from __future__ import annotations

from ncode.reproduction import profiles
from ncode.reproduction.experiments import image_classification
from ncode.reproduction.experiments.image_classification.analysis import above, below, fitted, generalisation_gap
from ncode.reproduction.metrics.comparison import Runs
from ncode.reproduction.metrics.intervals import difference_interval, is_below
from ncode.reproduction.publishing import numbers

COMPARED = ("anode", image_classification.WIDE, "node")
FULL = profiles.load("augmentation_on_images", "paper")
"""The paper's experiment."""


def at_full_size(model: str, name: str) -> image_classification.Config:
    """A model's configuration in the paper's experiment on one data set."""
    return image_classification.Config(model, 0, **FULL.settings, **FULL.options["sets"][name])


def sizes(model: str, name: str) -> tuple[int, int, int]:
    """Filters, and parameters of the field and of the whole, at the paper's size."""
    built = image_classification.build(at_full_size(model, name))
    field, whole = (sum(weights.numel() for weights in part.parameters()) for part in (built.body, built))
    return built.body.field.mix.weight.shape[0], field, whole


def written_sizes(model: str, name: str) -> list[str]:
    """:func:`sizes` as cells of a table."""
    return [numbers.number(count) for count in sizes(model, name)]


def gap_difference(runs: Runs, a: str, b: str) -> tuple[float, float]:
    """The 95 % interval for the difference of two models' generalisation gaps, paired by seed."""
    return difference_interval(*(generalisation_gap(runs[model]) for model in (a, b)))


def questions(name: str, runs: Runs) -> dict[str, bool | None]:
    """The checks of ANODE against the wide NODE, of the data that are called ``name``."""
    wide = image_classification.WIDE
    checks = {
        f"{name}: lower training loss": below(runs, "anode", wide, "train_loss"),
        f"{name}: lower test loss": below(runs, "anode", wide, "test_loss"),
        f"{name}: higher test accuracy": above(runs, "anode", wide),
    }
    if fitted([*runs["anode"], *runs[wide]]):
        checks[f"{name}: smaller gap"] = is_below(gap_difference(runs, "anode", wide))
    return checks
