"""Cluster images by their embeddings, and score the clusters by the best assignment to classes (C.7, Figs. A.10, A.11).

Clustering sees no label. Of several starts the one with the largest likelihood, or for k-means the smallest squared
distances, counts. The paper does not say which of its "different initializations" it prints, and a mixture's start
moves its accuracy by several points, so the mean over starts stands beside that, and the best accuracy of all starts,
which is chosen *by the labels* and no measure of clustering: it tells what such a choice would print.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from ncode.reproduction import metrics
from ncode.reproduction.experiments import autoencoding
from ncode.reproduction.experiments.autoencoding import latents
from ncode.reproduction.metrics.clustering import Labels, clustering_accuracy
from ncode.reproduction.metrics.points import Points
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint

IMAGES = ("pixels", "pca")
"""No autoencoder: the images themselves; and their first principal components, as many as a code has numbers."""

STARTED = ("mixture", "tsne_mixture")
"""The metrics of what starts several times."""

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


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Cluster the test images' embeddings.

    Returns:
        ``samples``, the number of images; accuracies: ``kmeans``; ``spectral``, of pixels alone; ``mixture``, of all
        but pixels, whose covariances have more entries than there are images; ``tsne_mixture``, of a mixture on a
        two-dimensional t-SNE. Of both mixtures also ``<name>_mean`` and ``<name>_spread``, mean and standard deviation
        over the starts, ``<name>_by_labels``, the best of them, and ``<name>_correlation`` of their likelihoods and
        accuracies. Where all images have one embedding, all of them are the share of the largest class, and there are
        no arrays. Arrays: ``tsne``, the test images' classes as ``labels``, ``clusters``, of the mixture on t-SNE, and
        of both mixtures ``<name>_starts``, likelihood and accuracy of every start.
    """
    z, labels, data = embedded(config)
    if not np.ptp(z, axis=0).any():
        # One point is one cluster, by any method and from any start; t-SNE of such points crashes the interpreter.
        alone = clustering_accuracy(labels, np.zeros_like(labels))
        names = ("kmeans", *(f"{name}{end}" for name in STARTED for end in ("", "_mean", "_by_labels")))
        spreads = {f"{name}_spread": 0.0 for name in STARTED}
        return RunOutput({"samples": float(len(z)), **dict.fromkeys(names, alone), **spreads}, data=data)
    classes = int(labels.max()) + 1
    kmeans = KMeans(classes, n_init=config.starts, random_state=config.seed).fit_predict(z)
    found = {"samples": float(len(z)), "kmeans": clustering_accuracy(labels, kmeans)}
    arrays = {"labels": torch.tensor(labels)}
    if config.model == "pixels":
        found["spectral"] = clustering_accuracy(labels, spectral(config, z, classes))
    else:
        of_starts, _, arrays["mixture_starts"] = started("mixture", config, z, labels)
        found |= of_starts
    tsne = TSNE(perplexity=config.perplexity, init="pca", max_iter=config.iterations, random_state=config.seed)
    plane = tsne.fit_transform(z)
    of_starts, clusters, arrays["tsne_mixture_starts"] = started("tsne_mixture", config, plane, labels)
    arrays |= {"tsne": torch.tensor(plane), "clusters": torch.tensor(clusters)}
    return RunOutput(found | of_starts, arrays=arrays, data=data)


def started(name: str, config: Config, z: Points, labels: Labels) -> tuple[dict[str, float], Labels, torch.Tensor]:
    """A mixture from every start: metrics (see :func:`train`), the likeliest one's clusters, and what each start gave.

    Args:
        name: the metrics' prefix.
        config: with seed and number of starts.
        z: points.
        labels: their classes, which choose nothing but ``<name>_by_labels``.
    """
    fitted = metrics.mixtures(z, int(labels.max()) + 1, config.seed, config.starts)
    likelihoods = np.array([one.lower_bound_ for one in fitted])
    clusters = [one.predict(z) for one in fitted]
    accuracies = np.array([clustering_accuracy(labels, which) for which in clusters])
    likeliest = int(likelihoods.argmax())
    found = {
        name: accuracies[likeliest],
        f"{name}_mean": accuracies.mean(),
        f"{name}_spread": accuracies.std(),
        f"{name}_by_labels": accuracies.max(),
    }
    if min(likelihoods.std(), accuracies.std()) > 0:
        found[f"{name}_correlation"] = np.corrcoef(likelihoods, accuracies)[0, 1]
    of_starts = torch.tensor(np.stack([likelihoods, accuracies], axis=1))
    return {key: float(value) for key, value in found.items()}, clusters[likeliest], of_starts


def embedded(config: Config) -> tuple[Points, Labels, str]:
    """The test images' embeddings and classes, and the data's fingerprint."""
    ready = autoencoding.prepare(config.dataset, config.variant, config.images)
    x, y = (part[: config.points or None] for part in ready.test)
    labels = y.cpu().numpy()
    if config.model not in IMAGES:
        trained = latents.Trained(config)
        return trained.embed(x), labels, trained.run.provenance["data"]
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


experiment = Experiment("latent_clustering", Config, None, train, plans=f"{__package__}.plans", data=autoencoding.data)
