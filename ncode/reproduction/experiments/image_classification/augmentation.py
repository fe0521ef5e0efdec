"""Augmentation on images (claim A5): sizes at the paper's scale, tables, and ANODE against the wide NODE.

Functions that make tables give the arguments of the page's call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ncode.reproduction import profiles
from ncode.reproduction.data.datasets import title
from ncode.reproduction.experiments import image_classification
from ncode.reproduction.experiments.image_classification import analysis, curves
from ncode.reproduction.experiments.image_classification.analysis import above, below, fitted, generalisation_gap
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.metrics.intervals import difference_interval, is_below
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings

COMPARED = ("anode", image_classification.WIDE, "node")
FLOWS = (*image_classification.FLOWS, image_classification.WIDE)
PAIRS = (
    ("anode", image_classification.WIDE),
    ("anode", "node"),
    ("open", "anode"),
    ("data", "anode"),
    ("resnet", "anode"),
)
"""Whose numbers are subtracted."""

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


def asked(weighed: Mapping[str, Runs]) -> dict[str, Runs]:
    """The sets that have the wide NODE: those in which A5 can be asked."""
    return {name: made for name, made in weighed.items() if image_classification.WIDE in made}


def context(weighed: Mapping[str, Runs]) -> dict[str, bool | None]:
    """:func:`questions` of every set in which they can be asked."""
    return {text: held for name, made in asked(weighed).items() for text, held in questions(name, made).items()}


def behind(weighed: Mapping[str, Runs]) -> list:
    """The runs that the answers rest on."""
    pair = ("anode", image_classification.WIDE)
    return [run for made in asked(weighed).values() for model in pair for run in made[model]]


def parameters() -> dict[str, Any]:
    """Filters and parameters at the paper's size."""
    return {
        "name": "tab-augmentation-parameters",
        "caption": "Filters and parameters at the paper's size. With the paper's number of filters for ANODE, the wide "
        f"NODE gets {sizes(image_classification.WIDE, 'mnist')[0]} on MNIST, which is the authors' number, too.",
        "columns": ["data", "model", "filters", "field", "with the readout"],
        "rows": [
            [title(name), style.LABELS[model], *written_sizes(model, name)]
            for name in ("mnist", "cifar10")
            for model in COMPARED
        ],
    }


def results(compared: Mapping[str, Runs]) -> dict[str, Any]:
    """Losses, accuracies, gaps, evaluations, failures and parameters of every model in every set."""
    return {
        "name": "tab-augmentation-all",
        "caption": "All models: losses and accuracy at the end; gap, the test loss minus the trained model's loss on "
        "training images, which older recordings did not measure; evaluations of an adaptive solve at the first look "
        "and the last; trainings with a failed solve; and parameters. Mean ± standard deviation over seeds.",
        "columns": [
            "data",
            "model",
            "training loss",
            "test loss",
            "test accuracy %",
            "gap",
            "NFE",
            "failed",
            "parameters",
        ],
        "rows": [
            [name, style.LABELS[model], *_result(model, runs)]
            for name, made in compared.items()
            for model, runs in made.items()
        ],
    }


def _result(model: str, runs: Sequence) -> list[str]:
    failed = sum(bool(recordings.history(run)["failures"]) for run in runs)
    return [
        numbers.spread(metric(runs, "train_loss")),
        numbers.spread(metric(runs, "test_loss")),
        analysis.accuracy(runs),
        numbers.spread(generalisation_gap(runs)) if fitted(runs) else numbers.UNDEFINED,
        _first_and_last(runs) if model in FLOWS else numbers.UNDEFINED,
        f"{failed} of {len(runs)}",
        numbers.number(int(runs[0].metrics["parameters"])),
    ]


def _first_and_last(runs: Sequence) -> str:
    """Evaluations at the first look and at the last, means over seeds."""
    nfe = curves.curves(runs)["nfe"].mean(0)
    return f"{numbers.number(nfe[0], 3)} → {numbers.number(nfe[-1], 3)}"


def differences(compared: Mapping[str, Runs]) -> dict[str, Any]:
    """Intervals of the differences between :data:`PAIRS` of models, in every set that has both."""
    return {
        "name": "tab-augmentation-differences",
        "caption": "95 % intervals of differences, paired by seed; of the ratio of evaluations, of its geometric mean.",
        "columns": [
            "data",
            "pair",
            "training loss",
            "test loss",
            "test accuracy, points",
            "gap",
            "ratio of NFE",
        ],
        "rows": [
            [name, f"{style.LABELS[a]} − {style.LABELS[b]}", *_difference(made, a, b)]
            for name, made in compared.items()
            for a, b in PAIRS
            if {a, b} <= made.keys()
        ],
    }


def _difference(made: Runs, a: str, b: str) -> list[str]:
    scales = {"train_loss": 1.0, "test_loss": 1.0, "test_accuracy": 100.0}
    gap = numbers.interval(gap_difference(made, a, b)) if fitted([*made[a], *made[b]]) else numbers.UNDEFINED
    flows = {a, b} <= set(FLOWS)
    return [
        *(numbers.interval(analysis.gain(made, a, b, name, scale)) for name, scale in scales.items()),
        gap,
        numbers.interval(analysis.evaluations_ratio(made, a, b), 3) if flows else numbers.UNDEFINED,
    ]


def instabilities(compared: Mapping[str, Runs]) -> str:
    """Failed solves of all trainings by reason, as a sentence of Markdown."""
    runs = [run for made in compared.values() for of_model in made.values() for run in of_model]
    reasons = Counter(failure["reason"] for run in runs for failure in recordings.history(run)["failures"])
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "none"
    return f"**Instabilities.** Failed solves in the {len(runs)} trainings shown here, by reason: {told}."
