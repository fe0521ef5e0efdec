"""What pages on image classification ask of their runs, live or recorded: who is compared, by how much, and curves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from matplotlib.axes import Axes
from torch.nn import functional as F

from ncode import comparison, plotting, profiles, results
from ncode.comparison import Runs, metric
from ncode.comparison import by_model as by_model
from ncode.downloads import DataError
from ncode.experiments import image_classification as task
from ncode.experiments import image_regularisation as regularisation
from ncode.runs import Record
from ncode.runs import run as finished
from ncode.statistics import (
    difference_interval,
    is_above,
    is_below,
    percent,
    ratio_interval,
    seeds_needed,
    span,
    spread,
)

DATASETS = {
    "digits": "5000 digits",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "svhn": "SVHN",
    "imagenet64": "ImageNet folder",
}
TRAINING_IMAGES = {"mnist": 55_000, "cifar10": 45_000, "svhn": 68_257, "imagenet64": 95_000}
"""Of the full data sets, without validation's; of ImageNet the 200 classes that ANODE's authors use (Tiny ImageNet)."""

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

Roles = Mapping[str, tuple[tuple[str, str], Sequence]]
"""Variations by role (see :func:`ncode.experiments.image_regularisation.chosen`): (model, name), and the runs."""


def at_hand(sets: Mapping[str, Mapping]) -> tuple[dict[str, dict], list[str]]:
    """Which data sets can be had here, and why the others cannot; the digits that need no download where none can.

    Args:
        sets: by name, what of a configuration belongs to the data: ``dataset``, ``size`` and whatever else.
    """
    found, missing = {}, []
    for name, own in sets.items():
        try:
            task.prepare(own["dataset"], own.get("variant", ""), own.get("images", 0), own["size"])
            found[name] = dict(own)
        except DataError as error:
            missing.append(str(error))
    return found or {"digits": {"dataset": "digits", "size": 14}}, missing


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


def complete(runs: Runs) -> bool:
    """Whether every model has a run, each at least one."""
    return set(runs) == set(task.MODELS) and all(runs.values())


def data(run, kind: str = "") -> str:
    """A run's data and epochs in words, after what kind of run it is: ``recorded, MNIST 14×14, 5 epochs``."""
    config = run.config
    of = DATASETS[config["dataset"]] + (f" ({config['variant']})" if config["variant"] else "")
    few = f", {config['images']} images" if config["images"] else ""
    return f"{kind}{', ' if kind else ''}{of} {config['size']}×{config['size']}{few}, {config['epochs']} epochs"


def budget(runs: Sequence) -> str:
    """Width, learning rate and number of seeds of one model's runs, in words."""
    config = runs[0].config
    # What was recorded before there was a schedule has no such field.
    falling = ", falling to 0" if config.get("cosine") else ""
    return (
        f"k = {config['filters']}, learning rate {config['learning_rate']:.2g}{falling}, "
        f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
    )


def generalisation_gap(runs: Iterable) -> np.ndarray:
    """Test loss minus the trained model's loss on training images, by seed.

    Recorded before that was measured, a run has its training's last losses in its place.
    """
    seen = [run.metrics.get("fitted_loss", run.metrics["train_loss"]) for run in runs]
    return metric(runs, "test_loss") - np.array(seen)


def evaluations_ratio(runs: Runs, a: str, b: str) -> tuple[float, float]:
    """The 95 % interval of the geometric mean of model a's evaluations of an adaptive solve over model b's."""
    return ratio_interval(metric(runs[a], "nfe_adaptive"), metric(runs[b], "nfe_adaptive"))


def best_rate(runs: Iterable) -> float:
    """The learning rate of the run with the lowest validation loss."""
    return min(runs, key=lambda run: run.metrics["validation_loss"]).config["learning_rate"]


def tuned(
    settings: Mapping, sets: Mapping[str, Mapping], rates: Iterable[float]
) -> tuple[dict[str, list[Record]], dict[str, dict]]:
    """ANODE at several learning rates on every data set, and the settings that all models then get there.

    Args:
        settings: of every configuration.
        sets: by data set, what of a configuration belongs to it (see :func:`at_hand`).
        rates: the learning rates that are tried.
    """
    trials = {
        name: [
            finished(task.train, task.Config("anode", task.RATE_SEED, **{**settings, **own, "learning_rate": rate}))
            for rate in rates
        ]
        for name, own in sets.items()
    }
    fixed = {name: {**settings, **own, "learning_rate": best_rate(trials[name])} for name, own in sets.items()}
    return trials, fixed


def rate_table(live: Mapping[str, Sequence], recorded: Iterable) -> list[list[str]]:
    """A table's rows: ANODE's validation loss and accuracy at every learning rate, and which rate the page uses.

    A live page uses the best; a recorded comparison what its plan says.
    """
    # How often a run is looked at does not change its training.
    plans = [replace(config, looks=0) for configs in task.comparisons().values() for config in configs]
    used = {replace(plan, seed=task.RATE_SEED) for plan in plans}
    rows = []
    for kind, runs in (*(("this run", runs) for runs in live.values()), ("recorded", recorded)):
        for run in runs:
            rate, scores, config = run.config["learning_rate"], run.metrics, task.Config(**run.config)
            taken = rate == best_rate(runs) if kind == "this run" else replace(config, looks=0) in used
            loss, accuracy = f"{scores['validation_loss']:.4g}", f"{100 * scores['validation_accuracy']:.1f}"
            rows.append([data(run, kind), f"{rate:g}", loss, accuracy, "✓" if taken else ""])
    return rows


def accuracy(runs: Sequence) -> str:
    """Mean ± standard deviation over seeds of the test accuracy, in %."""
    return percent(metric(runs, "test_accuracy"), 2)


def curves(runs: Sequence) -> dict[str, np.ndarray]:
    """The course of one model's training: a row a seed, a column a look at the validation images.

    Args:
        runs: of one model and one length.

    Returns:
        The series of :data:`AXES`. Accuracies are in %; training's loss and accuracy are means since the look before.
        ``epoch`` has one row for all seeds, as has ``iteration``, which belongs to ``step_loss``, the training loss in
        at most :data:`STEPS` steps. What has no evaluations of an adaptive solve has no ``nfe``.
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
    losses = np.array([history["loss"] for history in histories], dtype=float)
    blocks = np.array_split(np.arange(losses.shape[1]), min(STEPS, losses.shape[1]))
    made = {
        "epoch": looks / looks[-1] * runs[0].config["epochs"],
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
            plotting.band(axes, made[x], made[y], model)
        elif x == "nfe":
            axes.plot(made[x].mean(0), made[y].mean(0), "o", color=plotting.COLOURS[model], markersize=3)
        else:
            axes.plot(made[x].mean(0), made[y].mean(0), **plotting.line(model))
    axes.set(xlabel=AXES[x], ylabel=AXES[y])
    if y in ("loss", "step_loss", "train_loss"):
        plotting.plain_log(axes.yaxis)


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


def own_kernels(run, channels: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first validation image of every class, its label, and how its first 3×3 kernels differ from the mean.

    Args:
        run: a live run of the open loop; the mean is over all validation images.

    Returns:
        Images (10, c, h, w), labels (10,), and (10, channels, channels, 3, 3).
    """
    config = task.Config(**run.config)
    model = run.load_weights(task.build(config)).eval()
    ready = task.prepare(config.dataset, config.variant, config.images, config.size)
    x, y = (part.cpu() for part in ready.validation)
    with torch.no_grad():
        theta = model.body.initial_control(model.start(x))
        kernels = model.body.field.unpack(theta)["mix.weight"][:, :channels, :channels]
    pick = [int((y == label).nonzero()[0]) for label in range(10)]
    return x[pick], y[pick], kernels[pick] - kernels.mean(0)


def picture(image: torch.Tensor) -> torch.Tensor:
    """A standardised image (c, h, w) as (h, w, c) between 0 and 1."""
    return ((image - image.min()) / (image.max() - image.min())).movedim(0, 2)


def mosaic(kernels: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs, h, w) kernels side by side in one picture, with a line of NaN after each."""
    return F.pad(kernels, (0, 1, 0, 1), value=torch.nan).movedim(2, 1).flatten(2).flatten(0, 1)


def step_seconds(config: task.Config, images: int = 4) -> float:
    """Seconds that one image's share of a training step takes here, forward and backward, at initialisation."""
    model = task.build(config)
    channels = 1 if config.dataset in ("digits", "mnist") else 3
    x, y = torch.randn(images, channels, config.size, config.size), torch.arange(images) % 10
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        F.cross_entropy(model(x), y).backward()
        taken.append(time.perf_counter() - start)
    return min(taken) / images


def hours(config: task.Config) -> float:
    """Hours of one run on a full data set here, as far as :func:`step_seconds` tells: training stiffens fields."""
    return step_seconds(config) * TRAINING_IMAGES[config.dataset] * config.epochs / 3600


def plan_in_words() -> str:
    """What the open loop costs at full size, in the ``paper`` profile and as planned recordings, as Markdown."""
    paper = profiles.load("image_classification", "paper")
    own = {k: v for k, v in paper.items() if k not in ("seeds", "rates", "sets", "variations")}
    plans = {
        f"`paper` profile, {DATASETS[name]}": (task.Config("open", 0, **own, **of), paper["seeds"])
        for name, of in paper["sets"].items()
    }
    for name, configs in task.comparisons().items():
        if configs[0].size >= 28:
            plans[f"`{name}`"] = configs[0], len({config.seed for config in configs})
    lines = [
        f"- {name}: {config.epochs} epochs at {config.size}×{config.size}, k = {config.filters}, {config.method}: "
        f"about **{hours(replace(config, model='open')):.0f} hours** for the open loop and one seed of {seeds}."
        for name, (config, seeds) in plans.items()
    ]
    return "\n".join(lines) + (
        "\n\nOne training step of an untrained model was timed here, on this machine and whatever else it did, and "
        "multiplied. Other flows take about as long; on a GPU it was not measured."
    )


def regularised() -> tuple[dict[str, dict], dict[str, dict]]:
    """The recorded variations of γ and of the flow, by data set.

    Returns:
        First, where the tuning is whole, its runs as :func:`ncode.experiments.image_regularisation.named` gives them;
        then, where a whole seed of the comparison is there, by role the variation (model, name) and its runs.
    """
    tuned, chosen = {}, {}
    for name, (plan, _) in regularisation.plans().items():
        tried = results.find(f"{name}_tuning")
        if len(tried) < len(regularisation.tuning(plan)):
            continue
        title = data(tried[0], "recorded")
        tuned[title] = regularisation.named(tried, plan)
        made, whole = results.find(name), len(regularisation.comparison(plan, tried, seeds=1))
        counts = Counter(run.config["seed"] for run in made)
        made = regularisation.named([run for run in made if counts[run.config["seed"]] == whole], plan)
        if made:
            chosen[title] = {role: (of, made[of]) for role, of in regularisation.chosen(tuned[title]).items()}
    return tuned, chosen


def tuning_panel(axes: Axes, tuned: Mapping[tuple[str, str], list], title: str) -> None:
    """Draw the validation loss of every variation of a tuning: the open loop's as circles, ANODE's as triangles."""
    losses = {of: made[0].metrics["validation_loss"] for of, made in tuned.items()}
    names = list(regularisation.VARIATIONS["open"])[::-1]
    edge = 1.6 * min(losses.values())
    for (model, name), loss in losses.items():
        marker = "o" if model == "open" else "^"
        axes.plot(min(loss, edge), names.index(name), marker, color=plotting.COLOURS[model], clip_on=False)
    anode = min(loss for (model, _), loss in losses.items() if model == "anode")
    axes.axvline(anode, color=plotting.COLOURS["anode"], linestyle="--", linewidth=1)
    axes.set(xlabel="validation loss", title=title.split(", ")[1], yticks=range(len(names)))
    axes.set_yticklabels(names)


def scores(runs: Sequence, anode: Sequence) -> list[str]:
    """Training and test accuracy in %, their gap, and the interval of the test accuracy's difference to ANODE."""
    fitted, test = metric(runs, "fitted_accuracy"), metric(runs, "test_accuracy")
    difference = "–" if runs is anode else standing(runs, anode)
    return [percent(fitted, 1), percent(test, 1), percent(fitted - test, 1), difference]


def calm(runs: Sequence, free: Sequence) -> list[str]:
    """A regularised flow against the free one: accuracy, evaluations, and the solver error of both."""
    return [
        percent(metric(runs, "test_accuracy"), 1),
        standing(runs, free),
        spread(metric(runs, "nfe_adaptive"), 3),
        standing(runs, free, "nfe_adaptive", 1.0),
        f"{metric(runs, 'solver_error').max():.2g}",
        f"{metric(free, 'solver_error').max():.2g}",
    ]


def flow(runs: Sequence, model: str) -> list[str]:
    """Losses, evaluations, the worst solver error and the number of parameters of one model's runs."""
    losses = [spread(metric(runs, name)) for name in ("train_loss", "test_loss")]
    solved = ["–", "–"]
    if model in task.FLOWS:
        solved = [spread(metric(runs, "nfe_adaptive"), 3), f"{metric(runs, 'solver_error').max():.2g}"]
    return [*losses, *solved, f"{runs[0].metrics['body_parameters']:,.0f}"]


def score_rows(title: str, roles: Roles) -> list[list[str]]:
    """A table's rows: the accuracies (see :func:`scores`) of what varies γ."""
    rows = []
    for role, ((_, name), runs) in roles.items():
        if name not in regularisation.CALM:
            label = role if name == regularisation.FIXED or name in role else f"{role}: {name}"
            rows.append([title, label, *scores(runs, roles["ANODE"][1])])
    return rows


def calm_rows(title: str, roles: Roles) -> list[list[str]]:
    """A table's rows: the evaluations (see :func:`calm`) of what regularises the flow."""
    free = roles["open loop"][1]
    return [[title, name, *calm(runs, free)] for (_, name), runs in roles.values() if name in regularisation.CALM]


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
