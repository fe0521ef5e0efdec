"""Recordings of the autoencoders, and of their evaluations; settings and seeds come from ``profiles.toml``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ncode.reproduction import profiles
from ncode.reproduction.experiments.autoencoding.train import COMPONENT_WISE, MODELS, TUNING_SEED, Config
from ncode.reproduction.profiles import Profile
from ncode.reproduction.runs.experiment import Plan

C = TypeVar("C", bound=Config)


def plans() -> list[Plan[Config]]:
    """Every comparison, after the tuning that it was chosen by.

    All models of one seed come before the next seed: a recording that was cut short is a fair comparison still.
    """
    made = []
    for name, table in profiles.recorded("autoencoding").items():
        if "tuning" in table.options:
            tried = functools.partial(tuning, table.settings, **table.options["tuning"])
            made.append(Plan(f"autoencoding_{name}_tuning", tried))
        made.append(Plan(f"autoencoding_{name}", functools.partial(comparison, table)))
    return made


def tuning(
    settings: dict,
    rates: Sequence[float],
    scales: Sequence[float],
    epochs: int,
    normalisations: Sequence[str] = COMPONENT_WISE,
) -> list[Config]:
    """What a comparison's learning rate and AutoN-CODE's normalisation and scale are chosen by, on validation images.

    The rate is the plain autoencoder's, for all models; at that rate AutoN-CODE is trained with every normalisation,
    at every scale.

    Args:
        settings: of the comparison; its normalisation and scale are varied.
        rates: none where another tuning has chosen the rate.
        epochs: of each of these runs.
    """
    settings = {**settings, "epochs": epochs, "looks": 1}
    bare = {name: value for name, value in settings.items() if name not in ("normalisation", "scale")}
    plain = [Config("autoencoder", TUNING_SEED, **{**bare, "learning_rate": rate}) for rate in rates]
    return plain + [
        Config("ncode", TUNING_SEED, **{**settings, "normalisation": normalisation, "scale": scale})
        for normalisation in normalisations
        for scale in scales
    ]


def comparison(table: Profile) -> list[Config]:
    """Every model, or AutoN-CODE with each normalisation at the scale that is best for it, on every seed."""
    seeds, settings = range(table.options["seeds"]), table.settings
    if "normalisations" not in table.options:
        models = table.options.get("models", MODELS)
        return [Config(model, seed, **settings) for seed in seeds for model in models]
    return [
        Config("ncode", seed, **settings, normalisation=normalisation, scale=scale)
        for seed in seeds
        for normalisation, scale in table.options["normalisations"].items()
    ]


def evaluations(section: str, kind: type[C], models: Sequence[str], without: Sequence[str] = ()) -> list[Plan[C]]:
    """The evaluations of recorded autoencoders: one for every table of ``recorded.<section>``.

    A table is called as the recording of the autoencoders that it evaluates, and holds the evaluation's settings.
    All models of one seed come before the next seed, as there.

    Args:
        section: such as ``"image_generation"``.
        kind: the evaluation's configuration.
        models: what is evaluated, of those that are recorded.
        without: of the models, those that are no autoencoder.
    """

    def configs(name: str, settings: Mapping[str, Any]) -> list[C]:
        bases = comparison(profiles.recorded("autoencoding")[name])
        shared = {k: v for k, v in dataclasses.asdict(bases[0]).items() if k not in ("model", "seed")}
        made = {base.model for base in bases} | set(without)
        seeds = dict.fromkeys(base.seed for base in bases)
        return [kind(model, seed, **shared, **settings) for seed in seeds for model in models if model in made]

    return [
        Plan(f"{section}_{name}", functools.partial(configs, name, table.settings))
        for name, table in profiles.recorded(section).items()
    ]
