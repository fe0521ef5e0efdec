"""Clustering accuracies as rows of tables, and as sentences."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.claims import published
from ncode.reproduction.experiments.autoencoding import evaluation
from ncode.reproduction.experiments.latent_clustering.analysis import EMBEDDED, accuracy
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.metrics.intervals import interval
from ncode.reproduction.publishing import numbers

ROWS = {
    "k-means": ("pixels", "kmeans"),
    "spectral clustering": ("pixels", "spectral"),
    "VAE": ("vae", "mixture"),
    "sparse autoencoder": ("sparse", "mixture"),
    "denoising autoencoder": ("denoising", "mixture"),
    "autoencoder with mixture": ("autoencoder", "mixture"),
    "AutoN-CODE with mixture": ("ncode", "mixture"),
    "AutoN-CODE with t-SNE and mixture": ("ncode", "tsne_mixture"),
}
"""Fig. A.10's rows that run here: the representation, and the method."""

CONTROLS = {
    "principal components with mixture": ("pca", "mixture"),
    "pixels with t-SNE and mixture": ("pixels", "tsne_mixture"),
    "principal components with t-SNE and mixture": ("pca", "tsne_mixture"),
    "autoencoder with t-SNE and mixture": ("autoencoder", "tsne_mixture"),
    "VAE with t-SNE and mixture": ("vae", "tsne_mixture"),
    "sparse autoencoder with t-SNE and mixture": ("sparse", "tsne_mixture"),
    "denoising autoencoder with t-SNE and mixture": ("denoising", "tsne_mixture"),
}
"""What Fig. A.10 leaves out."""

DATASETS = {"MNIST": "mnist", "CIFAR-10": "cifar10"}
"""Fig. A.10's columns."""

NOT_RUN = "not run"


def headings(named: Mapping[str, Runs]) -> list[str]:
    """The headings of :func:`accuracies`."""
    return ["method", *(f"paper, {column}" for column in published.get("clustering").columns), *named]


def accuracies(named: Mapping[str, Runs]) -> list[list[str]]:
    """Fig. A.10: the controls first, which it leaves out, and then its rows beside the paper's numbers, in %."""
    printed = published.get("clustering")
    none = ["–"] * len(printed.columns)
    controls = [[name, *none, *(_ours(runs, row) for runs in named.values())] for name, row in CONTROLS.items()]
    rows = [
        [name, *values, *(_ours(runs, ROWS.get(name)) for runs in named.values())]
        for name, values in printed.rows.items()
    ]
    return rows + controls


def nearest(found: evaluation.Evaluation) -> tuple[dict[str, dict[str, str]], str]:
    """By Fig. A.10's rows and columns, the accuracies of the runs nearest to the paper's setting; and the settings."""
    rows: dict[str, dict[str, str]] = {name: {} for name in ROWS}
    settings: dict[str, None] = {}
    for name, row in ROWS.items():
        for column, dataset in DATASETS.items():
            runs = evaluation.nearest(found.named, dataset, row[0]) or (found.live if column == "MNIST" else None)
            if runs and (value := _ours(runs, row)) != NOT_RUN:
                rows[name][column] = value
                settings[evaluation.described("", runs).strip(", ")] = None
    return rows, f"Mean ± standard deviation over seeds, on {'; '.join(settings)}; test images."


def counted(named: Mapping[str, Runs]) -> str:
    """How many images are clustered, and on how many seeds, by set of runs."""
    return "; ".join(
        f"{name}: {numbers.number(int(metric(runs['ncode'], 'samples')[0]))} test images, seeds: {len(runs['ncode'])}"
        for name, runs in named.items()
    )


def margins(found: evaluation.Evaluation) -> str:
    """By how much t-SNE of AutoN-CODE's embeddings is ahead of t-SNE of anything else, in a sentence."""
    runs = evaluation.nearest(found.named, "mnist", "pixels") or found.live
    ours = accuracy(runs, "ncode", "tsne_mixture")
    ahead = [
        f"{numbers.interval(interval(100 * (ours - accuracy(runs, model, 'tsne_mixture'))), 3)} over that of {what}"
        for model, what in EMBEDDED.items()
        if model in runs
    ]
    return (
        f"On {evaluation.described('', runs).strip(', ')}, t-SNE of AutoN-CODE's embeddings is ahead, in points of "
        f"accuracy, by {', '.join(ahead)}. These are 95 % intervals: one that includes zero decides nothing, one below "
        "zero is behind."
    )


def _ours(runs: Runs, row: tuple[str, str] | None) -> str:
    """Accuracy in %, or why there is none."""
    if row is None:
        return "quoted"
    values = accuracy(runs, *row) if row[0] in runs else []
    return numbers.percent(values) if len(values) else NOT_RUN
