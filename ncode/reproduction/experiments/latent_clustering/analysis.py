"""What the page on clustering asks of its runs: which runs stand nearest to the paper's, and what a start decides."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ncode.reproduction.experiments.autoencoding.evaluation import label
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.metrics.intervals import interval, is_above
from ncode.reproduction.publishing import numbers

METHODS = {"mixture": "mixture", "tsne_mixture": "t-SNE + mixture"}
"""What starts several times, by metric."""

CHOICES = {"": "likeliest", "_mean": "mean over starts", "_by_labels": "best by labels"}
"""What is taken of the starts, by the metric's ending; the last is no measure of clustering."""

COLUMNS = ("runs", "embedding", "clustered by", "seeds", *CHOICES.values(), "spread of starts", "correlation")
"""The headings of :func:`start_rows`."""

EMBEDDED = {
    "pixels": "pixels",
    "pca": "principal components",
    "vae": "the VAE's embeddings",
    "autoencoder": "the plain autoencoder's",
    "sparse": "the sparse autoencoder's",
    "denoising": "the denoising autoencoder's",
}
"""What t-SNE embeds besides AutoN-CODE's embeddings, in words."""


def accuracy(runs: Runs, model: str, method: str) -> np.ndarray:
    """Accuracies over seeds, or nothing where that method does not apply."""
    has = method in runs[model][0].metrics
    return metric(runs[model], method) if has else np.array([])


def ahead(runs: Runs, a: tuple[str, str], b: tuple[str, str]) -> bool | None:
    """Whether a's accuracy, a model's by a method, is above b's: by the 95 % interval, paired by seed."""
    return is_above(interval(accuracy(runs, *a) - accuracy(runs, *b)))


def start_rows(named: Mapping[str, Runs]) -> list[list[str]]:
    """A table's rows: accuracy in % by what is taken of a mixture's starts, of all runs that kept every start.

    The spread is the standard deviation over the starts of one embedding, mean over seeds; the correlation is that of
    their likelihoods and accuracies, mean over seeds.
    """
    rows = []
    for name, made in named.items():
        for model, runs in made.items():
            for method, text in METHODS.items():
                kept = [run for run in runs if f"{method}_mean" in run.metrics]
                if not kept:
                    continue
                taken = [numbers.spread(metric(kept, f"{method}{ending}", 100.0)) for ending in CHOICES]
                spread = metric(kept, f"{method}_spread", 100.0).mean()
                related = [run.metrics[key] for run in kept if (key := f"{method}_correlation") in run.metrics]
                correlation = numbers.number(round(sum(related) / len(related), 1), 1) if related else "–"
                rows.append(
                    [name, label(model), text, str(len(kept)), *taken, numbers.number(float(spread)), correlation]
                )
    return rows
