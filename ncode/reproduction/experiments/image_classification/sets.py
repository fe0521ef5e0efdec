"""Sets of runs that the pages on images compare: the recorded ones, this execution's, and what each of them is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ncode.reproduction.data.datasets import title
from ncode.reproduction.data.downloads import DataError
from ncode.reproduction.experiments.image_classification import rates
from ncode.reproduction.experiments.image_classification.plans import comparisons, first
from ncode.reproduction.experiments.image_classification.train import MODELS, WIDE, Config, prepare
from ncode.reproduction.metrics.comparison import Runs, by_model, metric
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings
from ncode.reproduction.words import counted


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


def whole(runs: Iterable, models: Sequence[str]) -> dict[str, list]:
    """Runs by model, of the seeds that all of ``models`` have; empty where they share none.

    Any other model stands beside them where it has all these seeds: one that a plan names ``afterwards`` and that has
    only begun shortens no comparison.
    """
    runs = list(runs)
    found = by_model(run for run in runs if run.config.model in models)
    if set(found) != set(models) or not all(found.values()):
        return {}
    seeds = [run.config.seed for run in found[models[0]]]
    for model in dict.fromkeys(run.config.model for run in runs if run.config.model not in models):
        of_seed = {run.config.seed: run for run in runs if run.config.model == model}
        if of_seed.keys() >= set(seeds):
            found[model] = [of_seed[seed] for seed in seeds]
    return {model: found[model] for model in (*MODELS, WIDE) if model in found}


def example(made: Runs) -> Config:
    """A configuration of a set of runs; all of them have its data, size and budget."""
    return next(iter(made.values()))[0].config


def whole_recordings(wide: bool = False) -> dict[str, dict[str, list]]:
    """The recordings of every model that their plan names first, by name and model, of the seeds that all these have.

    Data set by data set, from the smallest images to the largest; a recording without such a seed is left out.

    Args:
        wide: with the wide NODE's runs, where they were recorded on all these seeds.
    """
    found = {}
    for name in comparisons():
        beside = recordings.find(f"{name}_{WIDE}") if wide else []
        if made := whole([*recordings.find(name), *beside], first(name)):
            found[name] = made
    datasets = list(dict.fromkeys(example(made).dataset for made in found.values()))

    def place(name: str) -> tuple[int, int]:
        config = example(found[name])
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
        if runs := whole((made[config] for config in wanted if config in made), first(name)):
            found[f"{name}_own_rate"] = runs
    return found


def beside(recorded: Mapping[str, Runs], live: Mapping[str, Runs]) -> dict[str, Runs]:
    """Recordings and the runs of this execution, by what they are (see :func:`described`).

    Where two are of the same data and length, the later one's name has its learning rate as well; where each model has
    its own, the name says so.
    """
    found = {}
    for kind, sets in (("recorded", recorded), ("this run", live)):
        for made in sets.values():
            config = example(made)
            name = described(config, kind)
            if len(set(learning_rates(made).values())) > 1:
                name = f"{name}, own rates"
            if name in found:
                name = f"{name}, rate {numbers.setting(config.learning_rate)}"
            if name in found:
                raise ValueError(f"two comparisons would be called {name!r}")
            found[name] = made
    return found


def learning_rates(made: Runs) -> dict[str, float]:
    """Every model's learning rate."""
    return {model: runs[0].config.learning_rate for model, runs in made.items()}


def budgets(compared: Mapping[str, Runs]) -> str:
    """The budget of all runs, as Markdown. The page on the status lists what is planned."""
    return "\n".join(f"- {name}: {budget(made)}" for name, made in compared.items())


def fullest(recorded: Mapping[str, Runs], dataset: str) -> Runs | None:
    """Of the recordings on a data set the one with the most models, then seeds, then the largest images; if any."""
    found = [made for made in recorded.values() if example(made).dataset == dataset]
    return max(found, key=lambda made: (len(made), seeds(made), example(made).size), default=None)


def as_printed(recorded: Mapping[str, Runs]) -> dict[str, Runs]:
    """Of the recordings those that have Table 1's solver and size of field."""
    return {name: made for name, made in recorded.items() if example(made).method == "dopri5"}


def nearest(recorded: Mapping[str, Runs], dataset: str) -> Runs | None:
    """Of the recordings on a data set the one nearest to Table 1's setting, if any.

    That has an adaptive solver, then the largest images, then the widest field, then the most models and seeds.
    """
    found = [made for made in recorded.values() if example(made).dataset == dataset]

    def place(made: Runs) -> tuple:
        config = example(made)
        return config.method == "dopri5", config.size, config.filters, len(made), seeds(made)

    return max(found, key=place, default=None)


def seeds(made: Runs) -> int:
    """How many seeds every model of a set has."""
    return len(next(iter(made.values())))


def by_size(recorded: Mapping[str, Runs], dataset: str) -> tuple[list[int], dict[str, np.ndarray]]:
    """The sizes in pixels at which a data set was recorded, and test accuracy in % by model: a row a seed.

    Of the seeds that every size has. Nothing but the size differs: of several settings the one with the most sizes.
    """
    alike: dict[Config, dict[int, Runs]] = {}
    for made in recorded.values():
        config = example(made)
        if config.dataset == dataset:
            alike.setdefault(replace(config, size=0, looks=0, seed=0), {})[config.size] = made
    found = max(alike.values(), key=len, default={})
    sizes = sorted(found)
    there = [{run.config.seed for run in next(iter(found[size].values()))} for size in sizes]
    common = set.intersection(*there) if there else set()
    kept = {
        size: {model: [run for run in runs if run.config.seed in common] for model, runs in found[size].items()}
        for size in sizes
    }
    return sizes, {
        model: 100 * np.stack([metric(kept[size][model], "test_accuracy") for size in sizes], axis=1)
        for model in MODELS
        if sizes and all(model in made for made in kept.values())
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


def described(config: Config, kind: str = "") -> str:
    """A run's data and epochs in words, after what kind of run it is: ``recorded, MNIST 14×14, 5 epochs``."""
    of = title(config.dataset, config.variant)
    few = f", {config.images} images" if config.images else ""
    solved = f", {config.method}" if config.method != "rk4" else ""
    return f"{kind}{', ' if kind else ''}{of} {config.size}×{config.size}{few}{solved}, {config.epochs} epochs"


def budget(made: Runs) -> str:
    """The models' width, solver, learning rates and number of seeds in words, and which models they are if not all."""
    config, count = example(made), seeds(made)
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
    rounded = "products rounded to TF32 in training, " if config.tf32 else ""
    alone = "" if set(made) >= set(MODELS) else f"; {' · '.join(style.LABELS[model] for model in made)} alone"
    return f"k = {config.filters}, {solver}{rounded}{rate}{falling}, {counted(count, 'seed')}{alone}"
