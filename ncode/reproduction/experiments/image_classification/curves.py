"""The course of trainings on images, as pages draw it: losses, accuracies and evaluations, model beside model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncode.reproduction.metrics.comparison import Runs
from ncode.reproduction.plotting import style
from ncode.reproduction.runs import recordings

AXES = {
    "epoch": "epoch",
    "iteration": "iteration",
    "accuracy": "validation accuracy %",
    "loss": "validation loss",
    "step_loss": "training loss",
    "train_loss": "training loss",
    "train_accuracy": "training accuracy %",
    "nfe": "NFE",
    "nfe_total": "NFE, summed over looks",
    "accuracy_gap": "training − validation accuracy",
    "loss_gap": "validation − training loss",
}
"""The series that :func:`curves` gives, and how their axes are labelled."""

STEPS = 25
"""Points of a training loss's curve: means over the iterations in between."""


def curves(runs: Sequence) -> dict[str, np.ndarray]:
    """The course of one model's training: a row a seed, a column a look at the validation images.

    Args:
        runs: of one model and one length.

    Returns:
        The series of :data:`AXES`. Accuracies are in %; training's loss and accuracy are means since the look before.
        ``epoch`` has one row for all seeds, as has ``iteration``, which belongs to ``step_loss``, the training loss in
        at most :data:`STEPS` steps. What has no evaluations of an adaptive solve has no ``nfe``.
    """
    histories = [recordings.history(run) for run in runs]
    looks = np.array(histories[0]["evaluated"])
    # The last look may follow the one before it at once.
    keep = (looks == looks[-1]) | (looks[-1] - looks > looks[0] / 2)
    seen = {
        name: np.array([history["evaluations"][name] for history in histories], dtype=float)[:, keep]
        for name in histories[0]["evaluations"]
    }
    looks = looks[keep]
    losses = np.array([history["loss"] for history in histories], dtype=float)
    blocks = np.array_split(np.arange(losses.shape[1]), min(STEPS, losses.shape[1]))
    made = {
        "epoch": looks / looks[-1] * runs[0].config.epochs,
        "iteration": np.array([histories[0]["iteration"][block[-1]] for block in blocks]),
        "step_loss": np.array([[_mean(row[block]) for block in blocks] for row in losses]),
        "accuracy": 100 * seen["accuracy"],
        "loss": seen["loss"],
        "train_loss": np.array([_between(history, "loss", looks) for history in histories]),
        "train_accuracy": 100 * np.array([_between(history, "accuracy", looks) for history in histories]),
    }
    made["accuracy_gap"] = made["train_accuracy"] - made["accuracy"]
    made["loss_gap"] = made["loss"] - made["train_loss"]
    if "nfe_adaptive" in seen:
        made |= {"nfe": seen["nfe_adaptive"], "nfe_total": seen["nfe_adaptive"].cumsum(1)}
    return made


def panel(axes: Axes, runs: Runs, x: str, y: str) -> None:
    """Draw one series of :func:`curves` against another for every model that has both, and label the axes.

    Against ``epoch`` or ``iteration``, the median over seeds and their range; against anything else, means over seeds,
    and as points where evaluations stand against a loss, which is not one function of the other.
    """
    for model, of_model in runs.items():
        made = curves(of_model)
        if x not in made or y not in made:
            continue
        if x in ("epoch", "iteration"):
            style.band(axes, made[x], made[y], model)
        elif x == "nfe":
            axes.plot(made[x].mean(0), made[y].mean(0), "o", color=style.COLOURS[model], markersize=3)
        else:
            axes.plot(made[x].mean(0), made[y].mean(0), **style.line(model))
    axes.set(xlabel=AXES[x], ylabel=AXES[y])
    if y in ("loss", "step_loss", "train_loss"):
        style.plain_log(axes.yaxis)


def grid(runs: Runs, series: Sequence[tuple[str, str]]) -> Figure:
    """Draw six panels for one set of runs, and one legend.

    Args:
        series: for every panel what is drawn against what: two of :data:`AXES`.
    """
    figure, axes = style.panels(3, 2, width=2.6, height=2.3)
    for axis, (x, y) in zip(axes.flat, series, strict=True):
        panel(axis, runs, x, y)
    style.legend(figure, axes[0, 0], columns=4)
    return figure


def _between(history: Mapping, name: str, looks: np.ndarray) -> list[float]:
    """The means of a training series over the iterations after one look and up to the next."""
    iterations, values = np.array(history["iteration"]), np.array(history[name], dtype=float)
    starts = [0, *looks[:-1]]
    return [_mean(values[(iterations > a) & (iterations <= b)]) for a, b in zip(starts, looks, strict=True)]


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
