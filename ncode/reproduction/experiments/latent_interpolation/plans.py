"""Recordings of this evaluation: one for every recording of autoencoders that it evaluates."""

from __future__ import annotations

from ncode.reproduction.experiments.autoencoding.plans import evaluations
from ncode.reproduction.experiments.latent_interpolation.train import MODELS, NO_MODEL, Config
from ncode.reproduction.runs.experiment import Plan


def plans() -> list[Plan[Config]]:
    """The evaluations of the recorded autoencoders, with their settings from ``profiles.toml``."""
    return evaluations("latent_interpolation", Config, MODELS, without=NO_MODEL)
