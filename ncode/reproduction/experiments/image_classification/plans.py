"""Recordings of image classification: comparisons, the rates that they are made at, and variations of γ."""

from __future__ import annotations

import functools

from ncode.reproduction import profiles
from ncode.reproduction.experiments.image_classification.train import MODELS, RATE_SEED, WIDE, Config
from ncode.reproduction.profiles import Profile
from ncode.reproduction.runs.experiment import Plan


def plans() -> list[Plan[Config]]:
    """Every recording, each after those that it reads."""
    # They read this module.
    from ncode.reproduction.experiments.image_classification import rates
    from ncode.reproduction.experiments.image_regularisation import studies, variations

    made = [Plan(name, functools.partial(list, configs)) for name, configs in (comparisons() | wide()).items()]
    return [Plan("image_classification_rates", tried), *made, *rates.plans(), *variations.plans(), *studies.plans()]


def tables() -> dict[str, Profile]:
    """Every comparison's table in ``profiles.toml``, by the recording's name."""
    return {f"image_classification_{name}": table for name, table in profiles.recorded("image_classification").items()}


def comparisons() -> dict[str, list[Config]]:
    """Recordings of several models at one setting each: of all, unless the table names its ``models``.

    All models of one seed come before the next seed: a recording that was cut short is a fair comparison still. Those
    that a table names ``afterwards`` come after all others. The learning rate is the setting's, or what the trials of
    the comparison ``rates_of`` chose for each model: while one of them is not recorded, there is no such comparison.
    """
    made = {name: _compared(table) for name, table in tables().items()}
    return {name: configs for name, configs in made.items() if configs}


def first(name: str) -> tuple[str, ...]:
    """The models without which the comparison called ``name`` is not whole: those that its table names first."""
    return tuple(tables()[name].options.get("models", MODELS))


def _compared(table: Profile) -> list[Config]:
    options, seeds = table.options, range(table.options["seeds"])
    order = [(model, seed) for seed in seeds for model in options.get("models", MODELS)]
    order += [(model, seed) for seed in seeds for model in options.get("afterwards", ())]
    if "rates_of" not in options:
        return [Config(model, seed, **table.settings) for model, seed in order]
    # It reads this module.
    from ncode.reproduction.experiments.image_classification import rates

    chosen = rates.carried(f"image_classification_{options['rates_of']}")
    wanted = order if chosen else []
    return [Config(model, seed, **{**table.settings, "learning_rate": chosen[model]}) for model, seed in wanted]


def tried() -> list[Config]:
    """The baseline ANODE at several learning rates, on a seed of its own: the choice of every comparison's rate."""
    return [
        Config("anode", RATE_SEED, **{**table.settings, "learning_rate": rate})
        for table in tables().values()
        for rate in table.options.get("rates", ())
    ]


def wide() -> dict[str, list[Config]]:
    """Recordings of :data:`WIDE` beside those of :func:`comparisons` whose table asks for them."""
    return {
        f"{name}_{WIDE}": [Config(WIDE, seed, **table.settings) for seed in range(table.options["seeds"])]
        for name, table in tables().items()
        if table.options.get(WIDE)
    }
