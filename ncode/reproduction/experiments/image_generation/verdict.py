"""The evidence on N17 to N20, and their context: Fréchet distances and likelihoods of densities fitted to embeddings.

The paper fits its mixtures to test embeddings, so those are asked; mixtures fitted to training embeddings are context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.autoencoding.evaluation import label
from ncode.reproduction.experiments.autoencoding.verdict import nearness
from ncode.reproduction.experiments.image_generation import analysis
from ncode.reproduction.experiments.image_generation.train import FITS
from ncode.reproduction.metrics.comparison import Runs, below, difference, metric
from ncode.reproduction.metrics.intervals import every, interval, is_above, is_below
from ncode.reproduction.publishing import numbers
from ncode.reproduction.words import counted

FIT = "test"

COPIES = 0.55
"""A larger share of samples nearer to a fitted image than to an unseen one counts as copying; 1/2 is none."""

ORDER = (
    "The data or the networks' width differ from Table 2's, and the features are not InceptionV3's. So only the order "
    "is tested. A comparison counts if the 95 % interval of the difference, paired by seed, lies on its side of zero."
)
"""Below every verdict that compares distances."""


def n17(sets: Mapping[str, Runs]) -> list[Evidence]:
    """Distances at a hundred and at ten points a component, which are the paper's 100 and 1000 components.

    The VAE is sampled from its prior, as in C.6.
    """
    found = []
    for words, runs in sets.items():
        against_ours, against_vae = ("ef", "gh") if runs["ncode"][0].config.dataset == "celeba" else ("ab", "cd")
        prior = metric(runs["vae"], "prior.distance")
        for ours, vaes, points in zip(against_ours, against_vae, (100, 10), strict=True):
            density = analysis.mixture_of(runs["autoencoder"], points)
            found.append(_difference(ours, words, runs, "ncode", "autoencoder", density))
            distances = analysis.of_density(runs["autoencoder"], FIT, density, "distance")
            pair = [*runs["autoencoder"], *runs["vae"]]
            found.append(evidence.difference(vaes, words, _near(runs, "autoencoder"), distances, prior, pair))
    return _declared(sorted(found, key=lambda one: one.part))


def _declared(found: list[Evidence]) -> list[Evidence]:
    """The claims are about CIFAR-10 and CelebA: MNIST was declared as context before it ran, and digits are farther."""
    return [replace(one, context=one.nearness == "toy") for one in found]


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
    """AutoN-CODE's mixtures: the distance from ten components to ten points each, and the samples that are copies."""
    found = []
    for words, runs in sets.items():
        ours = runs["ncode"]

        def of(density: str, what: str, ours=ours) -> np.ndarray:
            return analysis.of_density(ours, FIT, density, what)

        one, ten = (analysis.mixture_of(ours, points) for points in (1, 10))
        few = min(analysis.sizes(ours, "mixture"), key=lambda size: abs(size - 10))
        start = analysis.name("mixture", few)
        where = _near(runs, "ncode")
        found += [
            evidence.difference("a", words, where, of(ten, "distance"), of(start, "distance"), ours),
            evidence.mean("b", words, where, analysis.copied(ours, one), ours),
            evidence.mean("c", words, where, analysis.copied(ours, ten), ours),
        ]
    return _declared(found)


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
    return _declared(found)


def n20(sets: Mapping[str, Runs]) -> list[Evidence]:
    """Kernel densities: the largest variance's distance minus the smallest's, and who is lowest at the smallest."""
    found = []
    for words, runs in sets.items():
        variances, values = analysis.curve(runs["ncode"], FIT, "kernel", "distance")
        where = _near(runs, "ncode")
        found.append(evidence.difference("a", words, where, values[:, -1], values[:, 0], runs["ncode"]))
        found.append(_difference("b", words, runs, "ncode", "autoencoder", analysis.name("kernel", variances[0])))
    return _declared(found)


def n17_checks(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """N17's order under either fit, and beside the VAE's prior."""
    checks = {}
    for name, runs in sets.items():
        for fit in FITS:
            for points in (100, 10):
                held = _lower(runs, "ncode", "autoencoder", points, fit)
                checks[f"{name}: AutoN-CODE below the autoencoder, {points} points a component, fitted to {fit}"] = held
            better = f"{name}: the autoencoder below the VAE"
            held = _lower(runs, "autoencoder", "vae", 10, fit)
            checks[f"{better} with a mixture, 10 points a component, fitted to {fit}"] = held
            ten = analysis.mixture_of(runs["autoencoder"], 10)
            ahead = metric(runs["autoencoder"], f"{fit}.{ten}.distance") - metric(runs["vae"], "prior.distance")
            checks[f"{better}'s prior, 10 points a component, fitted to {fit}"] = is_below(interval(ahead))
    return checks


def n17_note(sets: Mapping[str, Runs]) -> str:
    """What a reader must know of N17: the order only, and where the distances start from."""
    gaps = [
        f"{name}: {numbers.interval(difference(runs, 'ncode', 'autoencoder', 'reconstructed'), 3)}"
        for name, runs in sets.items()
    ]
    return (
        f"{ORDER} AutoN-CODE has its rival's learning rate. Its distances start from those of its reconstructions, "
        f"which differ from the autoencoder's by {'; '.join(gaps)} (95 % intervals)."
    )


def _lower(runs: Runs, a: str, b: str, points: int, fit: str) -> bool | None:
    """Whether a's distance is below b's at so many points a component (95 %)."""
    return below(runs, a, b, f"{fit}.{analysis.mixture_of(runs[a], points)}.distance")


def n18_checks(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """What AutoN-CODE's mixtures do with more components: distance, likelihood, copies."""
    checks = {}
    for name, runs in sets.items():
        ours = runs["ncode"]
        few = analysis.sizes(ours, "mixture")[0]
        for fit in FITS:
            falls = (
                f"{name}: fitted to {fit}, the distance falls from {counted(int(few), 'component')} to ten points each"
            )
            checks[falls] = analysis.falls(ours, fit)
        one, ten = (analysis.overfits(ours, points) for points in (1, 10))
        checks |= {
            f"{name}: unseen embeddings are less likely with one point a component than with ten": one,
            f"{name}: unseen embeddings are no less likely with ten points a component than with a hundred": (
                None if ten is None else not ten
            ),
        }
    return checks


def n18_note(sets: Mapping[str, Runs]) -> str:
    """What a reader must know of N18: what stands for the paper's components, and how many samples copy."""
    shares = []
    for name, runs in sets.items():
        for points in (1, 10):
            copied = analysis.copies(runs["ncode"], analysis.mixture_of(runs["ncode"], points))
            shares.append(f"{name}: {numbers.interval(copied, 2)} at {points}")
    return (
        "These are AutoN-CODE's mixtures. The paper's 10,000 and 1,000 components have one and ten points each, and so "
        "have ours. All checks ask 95 % intervals. The likelihood of unseen embeddings is context: ten points or fewer "
        "do not determine a full covariance, and the smallest variance that is allowed decides how unlikely they are. "
        "The paper does not name its covariances. Share of samples nearer to a fitted image than to an unseen one, by "
        f"points a component (1/2 is no copying): {'; '.join(shares)}."
    )


def n19_checks(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """The double-size autoencoder above the plain one at one and at ten components."""
    return {
        f"{name}: the double-size autoencoder above the autoencoder, {counted(k, 'component')}, fitted to {fit}": (
            below(runs, "autoencoder", "double", f"{fit}.{analysis.name('mixture', k)}.distance")
        )
        for name, runs in sets.items()
        if "double" in runs
        for fit in FITS
        for k in (1, 10)
        if k in analysis.sizes(runs["double"], "mixture")
    }


def n20_checks(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """Kernel densities: rising distances, the order at the smallest variance, and copies at the largest."""
    checks = {}
    for name, runs in sets.items():
        variances, values = analysis.curve(runs["ncode"], FIT, "kernel", "distance")
        small, large = analysis.kernel_ends(runs["ncode"])
        rises = every(is_above(interval(step)) for step in np.diff(values, axis=1).T)
        checks[f"{name}: AutoN-CODE's distance rises from each variance to the next"] = rises
        for other in runs:
            if other != "ncode":
                lower = below(runs, "ncode", other, f"{FIT}.{small}.distance")
                checks[f"{name}: at the smallest variance AutoN-CODE below: {label(other)}"] = lower
        copied = analysis.copies(runs["ncode"], large)
        checks[
            f"{name}: at σ = {np.sqrt(variances[-1]):g} its samples are no copies (at most {numbers.share(COPIES)} "
            "nearer to a fitted image)"
        ] = is_below(copied, COPIES)
    return checks


N20_NOTE = (
    f"{ORDER} σ is in units of the embeddings' standard deviation; the paper does not give its embeddings' scale. If "
    "the noise is much wider than the embeddings' own spread, samples are hardly images any more, and it is no merit "
    "that they are no copies. At the smallest variance samples are reconstructions. The lowest distance there is that "
    "of the best reconstructions."
)
