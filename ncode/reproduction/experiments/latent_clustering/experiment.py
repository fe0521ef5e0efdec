"""Cluster images by their embeddings, and score the clusters by the best assignment to classes (C.7, Figs. A.10, A.11).

Clustering sees no label. Of several starts the one with the largest likelihood, or for k-means the smallest squared
distances, counts; the accuracy chooses nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from ncode.reproduction import metrics
from ncode.reproduction.experiments.autoencoding import experiment as autoencoding
from ncode.reproduction.experiments.autoencoding import latents
from ncode.reproduction.metrics.clustering import Labels, clustering_accuracy
from ncode.reproduction.metrics.points import Points
from ncode.reproduction.runs.store import Result, fingerprint

IMAGES = ("pixels", "pca")
"""No autoencoder: the images themselves; and their first principal components, as many as a code has numbers."""

MODELS = ("pixels", "pca", "vae", "sparse", "denoising", "autoencoder", "ncode")
"""Whose embeddings are clustered."""


@dataclass(frozen=True)
class Config(latents.Config):
    """One clustering of the test images.

    Attributes:
        model: one of :data:`MODELS`.
        points: how many test images are clustered; 0 for all.
        starts: of k-means and of every mixture.
        perplexity, iterations: of t-SNE.
        neighbours: of spectral clustering's graph.
    """

    points: int = 0
    starts: int = 10
    perplexity: float = 30.0
    iterations: int = 1000
    neighbours: int = 10


def train(config: Config, checkpoint: Path | None = None) -> Result:
    """Cluster the test images' embeddings.

    Returns:
        ``samples``, the number of images; accuracies: ``kmeans``; ``spectral``, of pixels alone; ``mixture``, of all
        but pixels, whose covariances have more entries than there are images; ``tsne_mixture``, of a mixture on a
        two-dimensional t-SNE. Array: ``tsne``, and the test images' classes as ``labels``.
    """
    z, labels, data = embedded(config)
    classes = int(labels.max()) + 1
    clusters = {"kmeans": KMeans(classes, n_init=config.starts, random_state=config.seed).fit_predict(z)}
    if config.model == "pixels":
        clusters["spectral"] = spectral(config, z, classes)
    else:
        clusters["mixture"] = metrics.mixture(z, classes, config.seed, config.starts).predict(z)
    tsne = TSNE(perplexity=config.perplexity, init="pca", max_iter=config.iterations, random_state=config.seed)
    plane = tsne.fit_transform(z)
    clusters["tsne_mixture"] = metrics.mixture(plane, classes, config.seed, config.starts).predict(plane)
    found = {"samples": float(len(z))} | {name: clustering_accuracy(labels, which) for name, which in clusters.items()}
    return Result(found, arrays={"tsne": torch.tensor(plane), "labels": torch.tensor(labels)}, data=data)


def embedded(config: Config) -> tuple[Points, Labels, str]:
    """The test images' embeddings and classes, and the data's fingerprint."""
    ready = autoencoding.prepare(config.dataset, config.variant, config.images)
    x, y = (part[: config.points or None] for part in ready.test)
    labels = y.cpu().numpy()
    if config.model not in IMAGES:
        trained = latents.Trained(config)
        return trained.embed(x), labels, trained.record.provenance["data"]
    flat, seen = (part.flatten(1).cpu().numpy().astype(np.float64) for part in (x, ready.train[0]))
    if config.model == "pca":
        fitted = PCA(latents.size(config), random_state=config.seed).fit(seen)
        flat = fitted.transform(flat) / np.sqrt(fitted.explained_variance_.mean())
    return flat, labels, fingerprint(ready.train[0])


def spectral(config: Config, z: Points, classes: int) -> Labels:
    """Spectral clustering on the graph of nearest neighbours."""
    model = SpectralClustering(
        classes,
        affinity="nearest_neighbors",
        n_neighbors=config.neighbours,
        n_init=config.starts,
        assign_labels="kmeans",
        random_state=config.seed,
    )
    with warnings.catch_warnings():
        # A graph in several pieces is partitioned all the same.
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        return model.fit_predict(z)


def recorded() -> dict[str, Callable[[], list[Config]]]:
    """The clusterings of the recorded autoencoders, by name; with their settings from ``profiles.toml``."""
    return latents.recorded("latent_clustering", Config, MODELS, without=IMAGES)
