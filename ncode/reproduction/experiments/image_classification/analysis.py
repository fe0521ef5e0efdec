"""What the pages on images ask of runs, live or recorded: by how much one model is ahead of another, and of what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ncode.reproduction.experiments.image_classification.train import (
    FLOWS,
    RATE_SEED,
    Config,
    build,
    experiment,
    prepare,
)
from ncode.reproduction.metrics import comparison
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.metrics.intervals import difference_interval, is_above, is_below, ratio_interval, seeds_needed
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run


def gain(runs: Runs, a: str, b: str, name: str = "test_accuracy", scale: float = 100.0) -> tuple[float, float]:
    """The 95 % interval for the mean of model a's metric minus model b's, paired by seed; accuracy in points."""
    return comparison.difference(runs, a, b, name, scale)


def above(runs: Runs, a: str, b: str, name: str = "test_accuracy") -> bool | None:
    """Whether the whole interval of :func:`gain` is above zero; ``None`` where it contains zero."""
    return is_above(gain(runs, a, b, name))


def below(runs: Runs, a: str, b: str, name: str = "test_accuracy") -> bool | None:
    """Whether the whole interval of :func:`gain` is below zero; ``None`` where it contains zero."""
    return is_below(gain(runs, a, b, name))


def standing(a: Sequence, b: Sequence, name: str = "test_accuracy", scale: float = 100.0, digits: int = 2) -> str:
    """The 95 % interval for the mean difference of two lists of runs, paired by seed, as text.

    Where it includes zero, the number of seeds at which it would no longer follows in parentheses (see
    :func:`ncode.reproduction.metrics.intervals.seeds_needed`).
    """
    values = metric(a, name, scale), metric(b, name, scale)
    low, high = difference_interval(*values)
    text, needed = numbers.interval((low, high), digits), seeds_needed(*values)
    if not low <= 0 <= high:
        return text
    return f"{text} ({needed})" if needed else f"{text} (> 1000)"


def ahead(runs: Runs, model: str, rivals: Iterable[str], share: float = 0.5) -> bool | None:
    """Whether, after a share of the looks, ``model``'s validation accuracy is above all rivals'.

    On every seed; ``None`` where it is on some.
    """

    def then(run) -> float:
        values = recordings.history(run)["evaluations"]["accuracy"]
        return values[max(1, int(share * len(values))) - 1]

    seeds = zip(runs[model], *(runs[rival] for rival in rivals), strict=True)
    above = [all(then(run) > then(other) for other in others) for run, *others in seeds]
    return True if all(above) else None if any(above) else False


def fitted(runs: Iterable) -> bool:
    """Whether the trained models' loss on training images was measured: older recordings have none."""
    return all("fitted_loss" in run.metrics for run in runs)


def generalisation_gap(runs: Iterable) -> np.ndarray:
    """Test loss minus the trained model's loss on training images, by seed (see :func:`fitted`)."""
    return metric(runs, "test_loss") - metric(runs, "fitted_loss")


def evaluations_ratio(runs: Runs, a: str, b: str) -> tuple[float, float]:
    """The 95 % interval of the geometric mean of model a's evaluations of an adaptive solve over model b's."""
    return ratio_interval(metric(runs[a], "nfe_adaptive"), metric(runs[b], "nfe_adaptive"))


def evaluations_growth(runs: Sequence) -> tuple[float, float]:
    """The 95 % interval of the geometric mean of evaluations of an adaptive solve at the last look over the first."""
    looked = [recordings.history(run)["evaluations"]["nfe_adaptive"] for run in runs]
    return ratio_interval(np.array([nfe[-1] for nfe in looked]), np.array([nfe[0] for nfe in looked]))


def best_rate(runs: Iterable) -> float:
    """The learning rate of the run with the lowest validation loss."""
    return min(runs, key=lambda run: run.metrics["validation_loss"]).config.learning_rate


def tuned(
    settings: Mapping, sets: Mapping[str, Mapping], rates: Iterable[float]
) -> tuple[dict[str, list[Run]], dict[str, dict]]:
    """ANODE at several learning rates on every data set, and the settings that all models then get there.

    Args:
        settings: of every configuration.
        sets: by data set, what of a configuration belongs to it (see :func:`at_hand`).
        rates: the learning rates that are tried.
    """
    trials = {
        name: [
            experiment.run(Config("anode", RATE_SEED, **{**settings, **own, "learning_rate": rate})) for rate in rates
        ]
        for name, own in sets.items()
    }
    fixed = {name: {**settings, **own, "learning_rate": best_rate(trials[name])} for name, own in sets.items()}
    return trials, fixed


def accuracy(runs: Sequence) -> str:
    """Mean ± standard deviation over seeds of the test accuracy, in %."""
    return numbers.percent(metric(runs, "test_accuracy"))


def first_loss(heads: str, filters: int = 50, size: int = 28) -> float:
    """Cross-entropy of an untrained open loop with a linear γ on noise; chance is log 10.

    Args:
        heads: ``"ours"``, or ``"default"`` for PyTorch's initialisation of γ.
    """
    torch.manual_seed(0)
    model = build(Config("open", 0, filters=filters, size=size, activation=""))
    if heads == "default":
        for layer in model.body.gamma.layers:
            layer.reset_parameters()
    with torch.no_grad():
        return F.cross_entropy(model(2 * torch.randn(16, 1, size, size)), torch.arange(16) % 10).item()


def own_kernels(run, channels: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first validation image of every class, its label, and how its first 3×3 kernels differ from the mean.

    Args:
        run: a live run of the open loop; the mean is over all validation images.

    Returns:
        Images (10, c, h, w), labels (10,), and (10, channels, channels, 3, 3).
    """
    config = run.config
    model = run.model()
    ready = prepare(config.dataset, config.variant, config.images, config.size)
    x, y = (part.cpu() for part in ready.validation)
    with torch.no_grad():
        theta = model.body.initial_control(model.start(x))
        kernels = model.body.field.unpack(theta)["mix.weight"][:, :channels, :channels]
    pick = [int((y == label).nonzero()[0]) for label in range(10)]
    return x[pick], y[pick], kernels[pick] - kernels.mean(0)


def first_losses_in_words() -> str:
    """The loss before the first step with both initialisations of γ's heads, as a sentence of Markdown."""
    ours, default = first_loss("ours"), first_loss("default")
    return (
        f"Loss before the first step, at the paper's size: **{numbers.number(default)}** with PyTorch's default heads, "
        f"**{ours:.1f}** with ours. Guessing gives {math.log(10):.1f}."
    )


def exactness_in_words(compared: Mapping[str, Runs], method: str) -> str:
    """Each flow's largest distance of a probed image's x(T) from the accurate solution, as Markdown.

    Args:
        method: the solver of this execution's training.
    """
    errors = {
        model: max(metric(made[model], "solver_error").max() for made in compared.values() if model in made)
        for model in FLOWS
        if any(model in made for made in compared.values())
    }
    worst = ", ".join(f"{numbers.number(error)} ({style.LABELS[model]})" for model, error in errors.items())
    fixed = (
        " Two steps of rk4 train fast. Where the distance is large, the model is the discrete network of Runge–Kutta "
        "stages rather than the flow of its field."
    )
    return (
        "**How exact is each sample?** We compare each probed image's $x(T)$ with an accurate solution. The largest "
        f"distances over all rows are: {worst}.{fixed if method == 'rk4' else ''}"
    )


def harder_in_words(steps: Iterable[tuple[int, int, Sequence[str]]]) -> str:
    """What :func:`~ncode.reproduction.experiments.image_classification.sets.harder` found, as Markdown."""
    return " ".join(
        f"From {before} to {after} pixels a side the test error *rises* on every seed for "
        f"{' · '.join(style.LABELS[model] for model in models)}: at these budgets larger images are not easier. We did "
        "not test whether the learning rate causes that."
        for before, after, models in steps
    )
