"""Recordings of this evaluation: one for every recording of autoencoders that it evaluates."""

from __future__ import annotations

from ncode.reproduction.experiments.autoencoding.plans import evaluations
from ncode.reproduction.experiments.latent_clustering.train import IMAGES, MODELS, Config
from ncode.reproduction.runs.experiment import Plan


def plans() -> list[Plan[Config]]:
    """The evaluations of the recorded autoencoders, with their settings from ``profiles.toml``."""
    return evaluations("latent_clustering", Config, MODELS, without=IMAGES)
