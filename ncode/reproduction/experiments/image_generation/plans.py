"""Recordings of this evaluation: one for every recording of autoencoders that it evaluates."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.experiments.autoencoding.plans import evaluations
from ncode.reproduction.experiments.image_generation.train import MODELS, Config
from ncode.reproduction.runs.experiment import Plan


def plans() -> list[Plan[Config]]:
    """The evaluations of the recorded autoencoders, with their settings from ``profiles.toml``."""
    return evaluations("image_generation", Config, MODELS)


def followed(settings: Mapping) -> dict:
    """What follows from settings, for the comparison with the paper's: how many images are scored on a data set."""
    test = {"digits": 1000, "celeba": 19_962}.get(settings["dataset"], 10_000)
    return {"samples": settings["samples"] or test}
