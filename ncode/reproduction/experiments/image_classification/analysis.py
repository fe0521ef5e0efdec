"""What pages on image classification ask of their runs, live or recorded: who is compared, and by how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional as F

from ncode.reproduction.data.datasets import title
from ncode.reproduction.data.downloads import DataError
from ncode.reproduction.experiments.image_classification import rates
from ncode.reproduction.experiments.image_classification.plans import comparisons
from ncode.reproduction.experiments.image_classification.train import (
    FLOWS,
    MODELS,
    RATE_SEED,
    WIDE,
    Config,
    build,
    experiment,
    prepare,
)
from ncode.reproduction.metrics import comparison
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.metrics.comparison import by_model as by_model
from ncode.reproduction.metrics.intervals import difference_interval, is_above, is_below, ratio_interval, seeds_needed
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run


def at_hand(sets: Mapping[str, Mapping]) -> tuple[dict[str, dict], list[str]]:
    """Which data sets can be had here, and why the others cannot; the digits that need no download where none can.

    Args:
        sets: by name, what of a configuration belongs to the data: ``dataset``, ``size`` and whatever else.
    """
    found, missing = {}, []
    for name, own in sets.items():
        try:
            prepare(own["dataset"], own.get("variant", ""), own.get("images", 0), own["size"])
            found[name] = dict(own)
        except DataError as error:
            missing.append(str(error))
    return found or {"digits": {"dataset": "digits", "size": 14}}, missing


def runs_on(sets: Mapping[str, Mapping], missing: Iterable[str]) -> str:
    """What :func:`at_hand` found, as a sentence for each."""
    here = ", ".join(title(own["dataset"], own.get("variant", "")) for own in sets.values())
    return " ".join([f"This execution runs on {here}.", *(f"Not to be had here: {why}" for why in missing)])


def whole_recordings(wide: bool = False) -> dict[str, dict[str, list]]:
    """The recordings of all models, by name and model, of the seeds on which every model is trained.

    Data set by data set, from the smallest images to the largest; a recording without such a seed is left out.

    Args:
        wide: with the wide NODE's runs, where they were recorded on all these seeds.
    """
    found = {}
    for name in comparisons():
        made = by_model(recordings.find(name))
        if not complete(made):
            continue
        seeds = [run.config.seed for run in made["anode"]]
        beside = {run.config.seed: run for run in recordings.find(f"{name}_{WIDE}")} if wide else {}
        if beside.keys() >= set(seeds):
            made[WIDE] = [beside[seed] for seed in seeds]
        found[name] = made
    datasets = list(dict.fromkeys(made["anode"][0].config.dataset for made in found.values()))

    def place(name: str) -> tuple[int, int]:
        config = found[name]["anode"][0].config
        return datasets.index(config.dataset), config.size

    return {name: found[name] for name in sorted(found, key=place)}


def at_own_rates() -> dict[str, Runs]:
    """Recorded comparisons in which each model has the learning rate that is best for it, by name.

    For the comparisons whose rates were tried for every model
    (:mod:`ncode.reproduction.experiments.image_classification.rates`). A model's runs are taken from whatever recording
    has them; the seeds are those that all models have.
    """
    asked = rates.asked()
    names = [*comparisons(), *(f"{name}_own_rate" for name in asked)]
    made = {rates.unlooked(run.config): run for name in names for run in recordings.find(name)}
    found = {}
    for name in asked:
        best = rates.best(name)
        wanted = [replace(rates.unlooked(c), learning_rate=best[c.model]) for c in comparisons()[name] if best]
        runs = by_model(made[config] for config in wanted if config in made)
        if complete(runs):
            found[f"{name}_own_rate"] = runs
    return found


def model_rates_table(name: str) -> tuple[list[str], list[list[str]]]:
    """A table's columns and rows: the validation loss of every model at every learning rate, the lowest in bold.

    Args:
        name: of the comparison; without all its trials recorded there is no row.
    """
    tried, best = rates.tried(name), rates.best(name)
    rows = [
        [style.LABELS[model], *(f"**{v:.3f}**" if rate == best[model] else f"{v:.3f}" for rate, v in of.items())]
        for model, of in tried.items()
    ]
    return ["model", *(numbers.setting(rate) for of in list(tried.values())[:1] for rate in of)], rows


def close_call(name: str, model: str = "anode") -> str:
    """How near the choice of a model's own rate was, as a sentence; empty where not all trials are recorded."""
    losses = rates.tried(name).get(model)
    if not losses:
        return ""
    (first, best), (second, next_) = sorted(losses.items(), key=lambda item: item[1])[:2]
    return (
        f"{style.LABELS[model]}'s two best rates, {numbers.setting(first)} and {numbers.setting(second)}, differ by "
        f"{numbers.number(next_ - best)} in the validation loss of the one run that chose between "
        "them: what is decided at own rates hangs on such choices."
    )


def beside(recorded: Mapping[str, Runs], live: Mapping[str, Runs]) -> dict[str, Runs]:
    """Recordings and the runs of this execution, by what they are (see :func:`described`).

    Where two are of the same data and length, the later one's name has its learning rate as well; where each model has
    its own, the name says so.
    """
    found = {}
    for kind, sets in (("recorded", recorded), ("this run", live)):
        for made in sets.values():
            run = made["anode"][0]
            name = described(run, kind)
            if len(set(learning_rates(made).values())) > 1:
                name = f"{name}, own rates"
            if name in found:
                name = f"{name}, rate {numbers.setting(run.config.learning_rate)}"
            if name in found:
                raise ValueError(f"two comparisons would be called {name!r}")
            found[name] = made
    return found


def learning_rates(made: Runs) -> dict[str, float]:
    """Every model's learning rate."""
    return {model: runs[0].config.learning_rate for model, runs in made.items()}


def budgets(compared: Mapping[str, Runs]) -> str:
    """The budget of all runs, and what was planned and is not recorded, as Markdown."""
    absent = ", ".join(sorted(comparisons().keys() - whole_recordings().keys())) or "none"
    lines = [f"- {name}: {budget(made)}" for name, made in compared.items()]
    return "\n".join(lines) + f"\n\nPlanned, with no whole seed recorded yet: {absent}."


def fullest(recorded: Mapping[str, Runs], dataset: str) -> Runs | None:
    """Of the recordings on a data set the one with the most models, then seeds, then the largest images; if any."""
    found = [made for made in recorded.values() if made["anode"][0].config.dataset == dataset]
    return max(found, key=lambda made: (len(made), len(made["anode"]), made["anode"][0].config.size), default=None)


def by_size(recorded: Mapping[str, Runs], dataset: str) -> tuple[list[int], dict[str, np.ndarray]]:
    """The sizes in pixels at which a data set was recorded, and test accuracy in % by model: a row a seed.

    Of the seeds that every size has. Nothing but the size differs: of several settings the one with the most sizes.
    """
    alike: dict[Config, dict[int, Runs]] = {}
    for made in recorded.values():
        config = made["anode"][0].config
        if config.dataset == dataset:
            alike.setdefault(replace(config, size=0, looks=0, seed=0), {})[config.size] = made
    found = max(alike.values(), key=len, default={})
    sizes = sorted(found)
    seeds = [{run.config.seed for run in found[size]["anode"]} for size in sizes]
    common = set.intersection(*seeds) if seeds else set()
    kept = {
        size: {model: [run for run in runs if run.config.seed in common] for model, runs in found[size].items()}
        for size in sizes
    }
    return sizes, {
        model: 100 * np.stack([metric(kept[size][model], "test_accuracy") for size in sizes], axis=1)
        for model in MODELS
        if sizes
    }


def harder(sizes: Sequence[int], reached: Mapping[str, np.ndarray]) -> list[tuple[int, int, list[str]]]:
    """From which size to the next the test accuracy falls on every seed, and for which models.

    Args:
        sizes, reached: as of :func:`by_size`.
    """
    found = []
    for k, (before, after) in enumerate(pairwise(sizes)):
        models = [model for model, values in reached.items() if (values[:, k + 1] < values[:, k]).all()]
        if models:
            found.append((before, after, models))
    return found


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


def complete(runs: Runs) -> bool:
    """Whether every model has a run, each at least one."""
    return set(runs) == set(MODELS) and all(runs.values())


def described(run, kind: str = "") -> str:
    """A run's data and epochs in words, after what kind of run it is: ``recorded, MNIST 14×14, 5 epochs``."""
    config = run.config
    of = title(config.dataset, config.variant)
    few = f", {config.images} images" if config.images else ""
    solved = f", {config.method}" if config.method != "rk4" else ""
    return f"{kind}{', ' if kind else ''}{of} {config.size}×{config.size}{few}{solved}, {config.epochs} epochs"


def budget(made: Runs) -> str:
    """ANODE's width, solver and number of seeds, and the models' learning rates, in words."""
    runs = made["anode"]
    config = runs[0].config
    by_rate: dict[float, list[str]] = {}
    for model, rate in learning_rates(made).items():
        by_rate.setdefault(rate, []).append(style.LABELS[model])
    if len(by_rate) == 1:
        rate = f"learning rate {numbers.setting(config.learning_rate)}"
    else:
        each = [f"{numbers.setting(rate)} ({' · '.join(of)})" for rate, of in sorted(by_rate.items())]
        rate = f"learning rate {'; '.join(each)}"
    falling = ", falling to 0" if config.cosine else ""
    solver = "" if config.method == "rk4" else f"{config.method} at {numbers.setting(config.tolerance)}, "
    return f"k = {config.filters}, {solver}{rate}{falling}, {len(runs)} seed{'s' if len(runs) > 1 else ''}"


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


def rate_table(live: Mapping[str, Sequence], recorded: Iterable) -> list[list[str]]:
    """A table's rows: ANODE's validation loss and accuracy at every learning rate, and which rate the page uses.

    A live page uses the best; a recorded comparison what its plan says.
    """
    # How often a run is looked at does not change its training.
    plans = [configs[0] for configs in comparisons().values()]
    used = {replace(plan, model="anode", seed=RATE_SEED, looks=0) for plan in plans}
    rows = []
    for kind, runs in (*(("this run", runs) for runs in live.values()), ("recorded", recorded)):
        for run in runs:
            rate, scores, config = run.config.learning_rate, run.metrics, run.config
            taken = rate == best_rate(runs) if kind == "this run" else replace(config, looks=0) in used
            loss, accuracy = f"{scores['validation_loss']:.4g}", f"{100 * scores['validation_accuracy']:.1f}"
            rows.append([described(run, kind), numbers.setting(rate), loss, accuracy, "✓" if taken else ""])
    return rows


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


def picture(image: torch.Tensor) -> torch.Tensor:
    """A standardised image (c, h, w) as (h, w, c) between 0 and 1."""
    return ((image - image.min()) / (image.max() - image.min())).movedim(0, 2)


def mosaic(kernels: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs, h, w) kernels side by side in one picture, with a line of NaN after each."""
    return F.pad(kernels, (0, 1, 0, 1), value=torch.nan).movedim(2, 1).flatten(2).flatten(0, 1)


def flow_cells(runs: Sequence, model: str) -> list[str]:
    """Cells of a table: losses, evaluations, the worst solver error and the parameters, without readout and with."""
    losses = [numbers.spread(metric(runs, name)) for name in ("train_loss", "test_loss")]
    solved = ["–", "–"]
    if model in FLOWS:
        solved = [numbers.spread(metric(runs, "nfe_adaptive")), numbers.number(metric(runs, "solver_error").max())]
    return [*losses, *solved, *(f"{runs[0].metrics[name]:,.0f}" for name in ("body_parameters", "parameters"))]
