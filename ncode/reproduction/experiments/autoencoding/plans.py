"""Recordings of the autoencoders, and of their evaluations; settings and seeds come from ``profiles.toml``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ncode.reproduction import profiles
from ncode.reproduction.experiments.autoencoding.train import COMPONENT_WISE, MODELS, TUNING_SEED, Config
from ncode.reproduction.models.encoders import ARCHITECTURES
from ncode.reproduction.profiles import Profile
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Plan

C = TypeVar("C", bound=Config)


def plans() -> list[Plan[Config]]:
    """Every comparison, after the tuning that it was chosen by.

    All models of one seed come before the next seed: a recording that was cut short is a fair comparison still.
    """
    made = []
    for name, table in profiles.recorded("autoencoding").items():
        if "tuning" in table.options:
            tried = functools.partial(
                tuning, table.settings, of=table.options.get("of", {}).get("ncode"), **table.options["tuning"]
            )
            made.append(Plan(f"autoencoding_{name}_tuning", tried))
        made.append(Plan(f"autoencoding_{name}", functools.partial(comparison, table)))
    return made


def tuning(
    settings: dict,
    rates: Sequence[float],
    scales: Sequence[float],
    epochs: int,
    normalisations: Sequence[str] = COMPONENT_WISE,
    of: Mapping | None = None,
) -> list[Config]:
    """What a comparison's learning rate and AutoN-CODE's normalisation and scale are chosen by, on validation images.

    The rate is the plain autoencoder's, for all models; at that rate AutoN-CODE is trained with every normalisation,
    at every scale.

    Args:
        settings: of the comparison; its normalisation and scale are varied.
        rates: none where another tuning has chosen the rate.
        epochs: of each of these runs.
        of: settings of AutoN-CODE alone.
    """
    # So short a training has no plateau to wait for, but the rate must not fall by another schedule.
    looks = epochs if settings.get("plateau") else 1
    settings, of = {**settings, "epochs": epochs, "looks": looks}, of or {}
    bare = {name: value for name, value in settings.items() if name not in ("normalisation", "scale")}
    plain = [Config("autoencoder", TUNING_SEED, **{**bare, "learning_rate": rate}) for rate in rates]
    return plain + [
        Config("ncode", TUNING_SEED, **{**settings, **of, "normalisation": normalisation, "scale": scale})
        for normalisation in normalisations
        for scale in scales
    ]


def comparison(table: Profile) -> list[Config]:
    """The runs of one table: every model on every seed, or as its ``normalisations`` or ``readings`` ask.

    A table with ``chosen_by`` reads AutoN-CODE's normalisation and scale, and that with ``normalisations = "tuning"``
    each normalisation's scale, from the recording of a tuning: it has no runs before that is whole.
    """
    options, settings = table.options, table.settings
    if "readings" in options:
        # Of what the text leaves open, one setting at a time, on a seed that no comparison uses but where one is named.
        return [Config(**{"seed": TUNING_SEED, **settings, **reading}) for reading in options["readings"]]
    seeds, models = range(options["seeds"]), options.get("models", MODELS)
    if "normalisations" in options:
        # AutoN-CODE with each normalisation, at the scale that is best for it.
        chosen = options["normalisations"]
        if chosen == "tuning":
            chosen = {name: one.scale for name, one in tuned(options["chosen_by"]).items()}
        return [
            Config("ncode", seed, **settings, normalisation=normalisation, scale=scale)
            for seed in seeds
            for normalisation, scale in chosen.items()
        ]
    of = options.get("of", {})  # Settings of one model alone.
    if "chosen_by" in options:
        best = next((one for name, one in tuned(options["chosen_by"]).items() if name in COMPONENT_WISE), None)
        if best is None:
            return []
        of = {**of, "ncode": {**of.get("ncode", {}), "normalisation": best.normalisation, "scale": best.scale}}
    made = [Config(model, seed, **{**settings, **of.get(model, {})}) for seed in seeds for model in models]
    # A recording takes hours: what is asked first comes first, and the rest in its order.
    first = options.get("first", {"models": (), "seeds": 0})
    return sorted(made, key=lambda c: not (c.model in first["models"] and c.seed < first["seeds"]))


def tuned(table: str) -> dict[str, Config]:
    """By normalisation, the best first, the run of AutoN-CODE with the lowest validation loss in a table's tuning.

    Nothing before the tuning is recorded whole.
    """
    of = profiles.recorded("autoencoding")[table]
    wanted = tuning(of.settings, of=of.options.get("of", {}).get("ncode"), **of.options["tuning"])
    tried = sorted(recordings.find(f"autoencoding_{table}_tuning"), key=lambda run: run.metrics["validation_nats"])
    if len(tried) < len(wanted):
        return {}
    best: dict[str, Config] = {}
    for run in tried:
        if run.config.model == "ncode":
            best.setdefault(run.config.normalisation, run.config)
    return best


def evaluations(section: str, kind: type[C], models: Sequence[str], without: Sequence[str] = ()) -> list[Plan[C]]:
    """The evaluations of recorded autoencoders: one for every table of ``recorded.<section>``.

    A table is called as the recording of the autoencoders that it evaluates, and holds the evaluation's settings.
    The order is theirs, so what was asked first is evaluated first.

    Args:
        section: such as ``"image_generation"``.
        kind: the evaluation's configuration.
        models: what is evaluated, of those that are recorded.
        without: of the models, those that are no autoencoder; they come behind a seed's first autoencoder.
    """

    def configs(name: str, settings: Mapping[str, Any]) -> list[C]:
        made, seeds = [], set()
        for base in comparison(profiles.recorded("autoencoding")[name]):
            shared = {k: v for k, v in dataclasses.asdict(base).items() if k not in ("model", "seed")}
            if base.model in models:
                made.append(kind(base.model, base.seed, **shared, **settings))
            if base.seed not in seeds:
                made += [kind(model, base.seed, **shared, **settings) for model in without]
                seeds.add(base.seed)
        return made

    return [
        Plan(f"{section}_{name}", functools.partial(configs, name, table.settings))
        for name, table in profiles.recorded(section).items()
    ]


TRAINING_IMAGES = {"digits": 3500, "mnist": 55_000, "cifar10": 45_000}
"""Of whole data sets, without validation's."""


def followed(settings: Mapping) -> dict:
    """What follows from settings, for the comparison with the paper's.

    The latent size, and the doubled one; whether plateaus count; how many images are trained on; and where there is a
    batch normalisation (see :func:`ncode.reproduction.models.encoders.networks`).
    """
    architecture = ARCHITECTURES["mnist" if settings["dataset"] == "digits" else settings["dataset"]]
    latent = settings["latent"] or architecture.latent
    printed_perceptron = settings["kind"] == "printed" and architecture.hidden
    placed = {"": "", "hidden": "hidden layers", "code": "the code", "all": "all layers"}
    return {
        "latent": latent,
        "doubled": 2 * latent,
        "kernel": architecture.kernel,
        "plateaus": settings["plateau"] > 0,
        "training_images": settings["images"] or TRAINING_IMAGES.get(settings["dataset"]),
        "normalised": placed[settings["batch_norm"]] if printed_perceptron else "hidden layers",
    }
