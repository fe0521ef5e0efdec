"""The evidence on N17 to N20: Fréchet distances and likelihoods of densities fitted to embeddings.

The paper fits its mixtures to test embeddings, so those are asked; mixtures fitted to training embeddings are context.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.autoencoding.verdict import nearness
from ncode.reproduction.experiments.image_generation import analysis
from ncode.reproduction.metrics.comparison import Runs

FIT = "test"


def n17(sets: Mapping[str, Runs]) -> list[Evidence]:
    """Distances at a hundred and at ten points a component, which are the paper's 100 and 1000 components."""
    found = []
    for words, runs in sets.items():
        parts = "efgh" if runs["ncode"][0].config.dataset == "celeba" else "abcd"
        pairs = [("ncode", "autoencoder", points) for points in (100, 10)]
        pairs += [("autoencoder", "vae", points) for points in (100, 10)]
        for part, (a, b, points) in zip(parts, pairs, strict=True):
            found.append(_difference(part, words, runs, a, b, analysis.mixture_of(runs[a], points)))
    return found


def _difference(part: str, words: str, runs: Runs, a: str, b: str, density: str) -> Evidence:
    distances = (analysis.of_density(runs[model], FIT, density, "distance") for model in (a, b))
    return evidence.difference(part, words, _near(runs, a), *distances, [*runs[a], *runs[b]])


def _near(runs: Runs, model: str) -> str:
    """The paper's setting has InceptionV3 for a judge, too."""
    config = runs[model][0].config
    near = nearness(config)
    # The claims are about CIFAR-10 and CelebA: digits stand in for them.
    if config.dataset in ("mnist", "digits"):
        return "toy"
    return near if getattr(config, "inception", False) else min(near, "reduced", key=("toy", "reduced", "paper").index)


def n18(sets: Mapping[str, Runs]) -> list[Evidence]:
    """AutoN-CODE's mixtures: the distance from ten components to ten points each, and unseen embeddings' likelihood."""
    found = []
    for words, runs in sets.items():
        ours = runs["ncode"]

        def of(density: str, what: str, ours=ours) -> np.ndarray:
            return analysis.of_density(ours, FIT, density, what)

        one, ten, hundred = (analysis.mixture_of(ours, points) for points in (1, 10, 100))
        few = min(analysis.sizes(ours, "mixture"), key=lambda size: abs(size - 10))
        start = analysis.name("mixture", few)
        where = _near(runs, "ncode")
        found += [
            evidence.difference("a", words, where, of(ten, "distance"), of(start, "distance"), ours),
            evidence.difference("b", words, where, of(one, "likelihood"), of(ten, "likelihood"), ours),
            evidence.difference("c", words, where, of(ten, "likelihood"), of(hundred, "likelihood"), ours),
        ]
    return found


def n19(sets: Mapping[str, Runs], components: int = 10) -> list[Evidence]:
    """The double-size autoencoder's distance at few components, minus AutoN-CODE's and the plain one's."""
    found = []
    for words, runs in sets.items():
        if "double" in runs:
            density = analysis.name("mixture", components)
            found += [
                _difference(part, words, runs, "double", other, density)
                for part, other in (("a", "ncode"), ("b", "autoencoder"))
            ]
    return found


def n20(sets: Mapping[str, Runs]) -> list[Evidence]:
    """Kernel densities: the largest variance's distance minus the smallest's, and who is lowest at the smallest."""
    found = []
    for words, runs in sets.items():
        variances, values = analysis.curve(runs["ncode"], FIT, "kernel", "distance")
        where = _near(runs, "ncode")
        found.append(evidence.difference("a", words, where, values[:, -1], values[:, 0], runs["ncode"]))
        found.append(_difference("b", words, runs, "ncode", "autoencoder", analysis.name("kernel", variances[0])))
    return found
