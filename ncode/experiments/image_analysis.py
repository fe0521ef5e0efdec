"""What pages on image classification ask of their runs, live or recorded: who is compared, by how much, and curves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator
from torch.nn import functional as F

from ncode import comparison, plotting, results
from ncode.comparison import Runs, metric
from ncode.comparison import by_model as by_model
from ncode.experiments import image_classification as task
from ncode.statistics import difference_interval, seeds_needed, span

DATASETS = {"digits": "5000 digits", "mnist": "MNIST", "cifar10": "CIFAR-10"}

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


def gain(runs: Runs, a: str, b: str, name: str = "test_accuracy", scale: float = 100.0) -> tuple[float, float]:
    """The 95 % interval for the mean of model a's metric minus model b's, paired by seed; accuracy in points."""
    return comparison.difference(runs, a, b, name, scale)


def above(runs: Runs, a: str, b: str, name: str = "test_accuracy") -> bool:
    """Whether the whole interval of :func:`gain` is above zero."""
    return gain(runs, a, b, name)[0] > 0


def below(runs: Runs, a: str, b: str, name: str = "test_accuracy") -> bool:
    """Whether the whole interval of :func:`gain` is below zero."""
    return gain(runs, a, b, name)[1] < 0


def standing(a: Sequence, b: Sequence, name: str = "test_accuracy", scale: float = 100.0, digits: int = 2) -> str:
    """The 95 % interval for the mean difference of two lists of runs, paired by seed, as text.

    Where it includes zero, the number of seeds at which it would no longer follows in parentheses (see
    :func:`ncode.statistics.seeds_needed`).
    """
    values = metric(a, name, scale), metric(b, name, scale)
    low, high = difference_interval(*values)
    text, needed = span((low, high), digits), seeds_needed(*values)
    if not low <= 0 <= high:
        return text
    return f"{text} ({needed})" if needed else f"{text} (> 1000)"


def ahead(runs: Runs, model: str, rivals: Iterable[str], share: float = 0.5) -> bool:
    """Whether, after a share of the looks, ``model``'s validation accuracy is above all rivals', on every seed."""

    def then(run) -> float:
        values = results.history(run)["evaluations"]["accuracy"]
        return values[max(1, int(share * len(values))) - 1]

    return all(then(run) > then(other) for rival in rivals for run, other in zip(runs[model], runs[rival], strict=True))


def described(run, kind: str) -> str:
    """Kind, data and size of a run in words, such as ``recorded, MNIST 14×14``."""
    config = run.config
    name = DATASETS[config["dataset"]] + (f" ({config['variant']})" if config["variant"] else "")
    return f"{kind}, {name} {config['size']}×{config['size']}"


def budget(runs: Sequence) -> str:
    """Width, learning rate, epochs and number of seeds of one model's runs, in words."""
    config = runs[0].config
    # Recorded before there was a schedule, a configuration has no such field.
    falling = ", falling to 0" if config.get("cosine") else ""
    rate = f"rate {config['learning_rate']:g}{falling}"
    return f"k = {config['filters']}, {rate}, {config['epochs']} epochs, seeds: {len(runs)}"


def curves(runs: Sequence) -> dict[str, np.ndarray]:
    """The course of one model's training: a row a seed, a column a look at the validation images.

    Args:
        runs: of one model and one length.

    Returns:
        The series of :data:`AXES`. Accuracies are in %; training's loss and accuracy are means since the look before.
        ``epoch`` has one row for all seeds, as has ``iteration``, which belongs to ``step_loss``, the training loss
        in finer steps. What has no evaluations of an adaptive solve has no ``nfe``.
    """
    histories = [results.history(run) for run in runs]
    looks = np.array(histories[0]["evaluated"])
    # The last look may follow the one before it at once.
    keep = (looks == looks[-1]) | (looks[-1] - looks > looks[0] / 2)
    seen = {
        name: np.array([history["evaluations"][name] for history in histories], dtype=float)[:, keep]
        for name in histories[0]["evaluations"]
    }
    looks = looks[keep]
    made = {
        "epoch": looks / looks[-1] * runs[0].config["epochs"],
        "iteration": np.array(histories[0]["iteration"]),
        "step_loss": np.array([history["loss"] for history in histories], dtype=float),
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
            plotting.band(axes, made[x], made[y], model)
        elif x == "nfe":
            axes.plot(made[x].mean(0), made[y].mean(0), "o", color=plotting.COLOURS[model], markersize=3)
        else:
            axes.plot(made[x].mean(0), made[y].mean(0), **plotting.line(model))
    axes.set(xlabel=AXES[x], ylabel=AXES[y])
    if y in ("loss", "step_loss", "train_loss"):
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")


def _between(history: Mapping, name: str, looks: np.ndarray) -> list[float]:
    """The means of a training series over the iterations after one look and up to the next."""
    iterations, values = np.array(history["iteration"]), np.array(history[name], dtype=float)
    starts = [0, *looks[:-1]]
    return [_mean(values[(iterations > a) & (iterations <= b)]) for a, b in zip(starts, looks, strict=True)]


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def first_loss(heads: str, filters: int = 50, size: int = 28) -> float:
    """Cross-entropy of an untrained open loop with a linear γ on noise; chance is log 10.

    Args:
        heads: ``"ours"``, or ``"default"`` for PyTorch's initialisation of γ.
    """
    torch.manual_seed(0)
    model = task.build(task.Config("open", 0, filters=filters, size=size, activation=""))
    if heads == "default":
        for layer in model.body.gamma.layers:
            layer.reset_parameters()
    with torch.no_grad():
        return F.cross_entropy(model(2 * torch.randn(16, 1, size, size)), torch.arange(16) % 10).item()


def own_kernels(run, x: torch.Tensor, channels: int = 6) -> torch.Tensor:
    """How a live run's first 3×3 kernels of every image differ from their mean over the images ``x``.

    Returns:
        (images, channels, channels, 3, 3).
    """
    model = run.load_weights(task.build(task.Config(**run.config))).eval()
    with torch.no_grad():
        theta = model.body.initial_control(model.start(x))
        kernels = model.body.field.unpack(theta)["mix.weight"][:, :channels, :channels]
    return kernels - kernels.mean(0)


def mosaic(kernels: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs, h, w) kernels side by side in one picture, with a line of NaN after each."""
    return F.pad(kernels, (0, 1, 0, 1), value=torch.nan).movedim(2, 1).flatten(2).flatten(0, 1)


def step_seconds(config: task.Config, images: int = 8) -> float:
    """Seconds that one image's share of a training step takes here, forward and backward, at initialisation."""
    model = task.build(config)
    channels = 1 if config.dataset in ("digits", "mnist") else 3
    x, y = torch.randn(images, channels, config.size, config.size), torch.arange(images) % 10
    start = time.perf_counter()
    F.cross_entropy(model(x), y).backward()
    return (time.perf_counter() - start) / images
