"""Metrics of generated images, embeddings and latent paths, and intervals over seeds."""

from ncode.reproduction.metrics.clustering import clustering_accuracy
from ncode.reproduction.metrics.densities import draw, kernel_density, mixture, mixtures, nearest, neighbours
from ncode.reproduction.metrics.frechet import Reference, frechet_distance, moments
from ncode.reproduction.metrics.paths import linear, perceptual_path

__all__ = [
    "Reference",
    "clustering_accuracy",
    "draw",
    "frechet_distance",
    "kernel_density",
    "linear",
    "mixture",
    "mixtures",
    "moments",
    "nearest",
    "neighbours",
    "perceptual_path",
]
