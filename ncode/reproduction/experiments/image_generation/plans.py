"""Recordings of this evaluation: one for every recording of autoencoders that it evaluates."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.experiments.autoencoding import plans as autoencoding
from ncode.reproduction.experiments.image_generation.train import MODELS, Config
from ncode.reproduction.runs.experiment import Plan


def plans() -> list[Plan[Config]]:
    """The evaluations of the recorded autoencoders, with their settings from ``profiles.toml``."""
    return autoencoding.evaluations("image_generation", Config, MODELS)


def followed(settings: Mapping) -> dict:
    """What follows from settings, for the comparison with the paper's: the autoencoders', and how many are scored."""
    test = {"digits": 1000, "celeba": 19_962}.get(settings["dataset"], 10_000)
    return autoencoding.followed(settings) | {"samples": settings["samples"] or test}
