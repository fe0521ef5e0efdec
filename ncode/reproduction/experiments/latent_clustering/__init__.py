"""Cluster images by their embeddings, and score the clusters against the classes (C.7, Figs. A.10, A.11)."""

from ncode.reproduction.experiments.latent_clustering.train import (
    IMAGES,
    MODELS,
    Config,
    embedded,
    experiment,
    spectral,
)

__all__ = ["IMAGES", "MODELS", "Config", "embedded", "experiment", "spectral"]
