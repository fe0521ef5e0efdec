"""The evidence on N22: clustering accuracies of AutoN-CODE and of the other autoencoders."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.autoencoding.verdict import best_other, nearness
from ncode.reproduction.metrics.comparison import Runs, metric

OTHERS = ("vae", "sparse", "denoising", "autoencoder")


def n22(sets: Mapping[str, Runs]) -> list[Evidence]:
    """The mixture's accuracy minus the best other autoencoder's, and what t-SNE with a mixture reaches."""
    found = []
    for words, runs in sets.items():
        config = runs["ncode"][0].config
        part = "c" if config.dataset == "cifar10" else "a"
        other = best_other(runs, OTHERS, "mixture")
        pair = [*runs["ncode"], *runs[other]]
        scores = (100 * metric(runs[model], "mixture") for model in ("ncode", other))
        found.append(evidence.difference(part, words, nearness(config), *scores, pair))
        if config.dataset != "cifar10":
            reached = 100 * metric(runs["ncode"], "tsne_mixture")
            found.append(evidence.mean("b", words, nearness(config), reached, runs["ncode"]))
    return found
