"""The evidence on N22, and its context: clustering accuracies of AutoN-CODE and of the other autoencoders."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.claims import evidence, published
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.autoencoding.evaluation import dataset, label
from ncode.reproduction.experiments.autoencoding.verdict import best_other, nearness
from ncode.reproduction.experiments.latent_clustering.analysis import EMBEDDED, accuracy, ahead
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.metrics.intervals import interval, is_above
from ncode.reproduction.publishing import numbers

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


def n22_checks(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """AutoN-CODE beside every other autoencoder by a mixture, and its t-SNE beside t-SNE of anything else."""
    claimed = published.get("clustering").value("AutoN-CODE with t-SNE and mixture", "MNIST") / 100
    checks = {}
    for name, runs in sets.items():
        for model in OTHERS:
            if model in runs:
                held = ahead(runs, ("ncode", "mixture"), (model, "mixture"))
                checks[f"{name}: AutoN-CODE with a mixture above the {label(model)}"] = held
        if dataset(runs) == "mnist":
            reached = is_above(interval(accuracy(runs, "ncode", "tsne_mixture")), claimed)
            checks[f"{name}: with t-SNE it reaches {numbers.number(100 * claimed, 3)} %"] = reached
        for model, what in EMBEDDED.items():
            if model in runs:
                held = ahead(runs, ("ncode", "tsne_mixture"), (model, "tsne_mixture"))
                checks[f"{name}: with t-SNE it is above t-SNE of {what}"] = held
    return checks


N22_NOTE = (
    "'Beats' and 'above' mean that the 95 % interval of the difference, paired by seed, lies above zero. Seeds are "
    "those of the autoencoder and of the clustering; pixels have only the latter. The best other autoencoder is the "
    "best by these same accuracies, which favours it: where its interval just misses zero, the evidence is weak. The "
    "checks set AutoN-CODE beside each of the others."
)
