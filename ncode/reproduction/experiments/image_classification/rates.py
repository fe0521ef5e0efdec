"""A learning rate for each model, all with the same number of trials, and the comparison at those rates."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

from ncode.reproduction.experiments.image_classification.plans import comparisons, tables
from ncode.reproduction.experiments.image_classification.train import MODELS, RATE_SEED, Config
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Plan


def asked() -> list[str]:
    """The comparisons whose plan in ``profiles.toml`` asks for a rate of each model's own, by name."""
    return [name for name, table in tables().items() if "own_rates" in table.options]


def trials(name: str) -> list[Config]:
    """Every model at each of the plan's rates, on
    :data:`~ncode.reproduction.experiments.image_classification.train.RATE_SEED`."""
    table = tables()[name]
    return [
        Config(model, RATE_SEED, **{**table.settings, "learning_rate": rate})
        for rate in table.options["own_rates"]
        for model in MODELS
    ]


def tried(name: str) -> dict[str, dict[float, float]]:
    """Validation loss by model and rate, of the recorded :func:`trials`; infinite where it was not finite.

    Empty unless every one of them is recorded: a choice among fewer for one model is not made.
    """
    made = {unlooked(run.config): run.metrics["validation_loss"] for run in recordings.find(f"{name}_model_rates")}
    planned = trials(name)
    if any(unlooked(config) not in made for config in planned):
        return {}
    losses: dict[str, dict[float, float]] = {}
    for config in planned:
        loss = made[unlooked(config)]
        losses.setdefault(config.model, {})[config.learning_rate] = loss if math.isfinite(loss) else math.inf
    return losses


NEAR = 0.01
"""Nats of validation loss within which two rates count as equally good: another seed moves the loss by more."""


def carried(name: str) -> dict[str, float]:
    """For every model the rate that the trials of comparison ``name`` suggest for another setting.

    It is the lowest rate whose loss is within :data:`NEAR` of the best: of two that serve equally well, the one that
    leaves the field less stiff. Empty where :func:`tried` is.
    """
    return {
        model: min(rate for rate, loss in losses.items() if loss <= min(losses.values()) + NEAR)
        for model, losses in tried(name).items()
    }


def best(name: str) -> dict[str, float]:
    """For every model the rate with the lowest loss in :func:`tried`; empty where that is."""
    return {model: min(losses, key=losses.get) for model, losses in tried(name).items()}


def comparison(name: str) -> list[Config]:
    """What the comparison at models' own rates needs beyond the one called ``name``, which has one rate for all.

    Every seed of the models whose :func:`best` rate is another; whole seeds first.

    Raises:
        ValueError: when not every trial is recorded.
    """
    rates = best(name)
    if not rates:
        raise ValueError(f"{name}: not every run of {name}_model_rates is recorded, which says at what rates to train")
    return [replace(c, learning_rate=rates[c.model]) for c in comparisons()[name] if rates[c.model] != c.learning_rate]


def unlooked(config: Config) -> Config:
    """``config`` but for how often validation is looked at, which changes no training."""
    return replace(config, looks=0)


def plans() -> list[Plan[Config]]:
    """Every comparison's trials, and then what they choose."""
    made = []
    for name in asked():
        made.append(Plan(f"{name}_model_rates", functools.partial(trials, name)))
        made.append(Plan(f"{name}_own_rate", functools.partial(comparison, name)))
    return made
