"""Image generation's distances as rows of tables, and as sentences."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.claims import published
from ncode.reproduction.experiments.autoencoding.evaluation import label
from ncode.reproduction.experiments.image_generation import analysis
from ncode.reproduction.experiments.image_generation.train import FITS
from ncode.reproduction.metrics.comparison import Runs, difference, metric
from ncode.reproduction.metrics.intervals import is_below
from ncode.reproduction.publishing import numbers

ROWS = {
    "VAE": ("vae", None),
    "autoencoder, 100 components": ("autoencoder", 100),
    "autoencoder, 1000 components": ("autoencoder", 10),
    "AutoN-CODE, 100 components": ("ncode", 100),
    "AutoN-CODE, 1000 components": ("ncode", 10),
}
"""Table 2's rows: the model, and the points a component of its mixture; the VAE samples from its prior."""

PARTS = ("data", "model", "real images", "reconstructed", "fitted to training", "fitted to test", "copied")
"""The headings of :func:`parts`."""


def headings(named: Mapping[str, Runs]) -> list[str]:
    """The headings of :func:`distances`."""
    ours = (f"{name}: fitted to training / test" for name in named)
    return ["model", "paper, FID, CIFAR-10", "paper, FID, CelebA", *ours]


def distances(named: Mapping[str, Runs]) -> list[list[str]]:
    """Table 2: the paper's FIDs beside the distances of every set of runs."""
    printed = published.get("generation").rows
    return [[row, *values, *(_both(runs, *ROWS[row]) for runs in named.values())] for row, values in printed.items()]


def elsewhere() -> list[list[str]]:
    """FIDs of comparable models that others published."""
    return [[row, *values] for row, values in published.get("generation-ghosh").rows.items()]


FEWEST = 100
"""The fewest components of the paper's Table 2."""


def doubled(sets: Mapping[str, Runs]) -> str:
    """The double-size autoencoder at :data:`FEWEST` components, beside AutoN-CODE and the plain one, in sentences."""
    density = analysis.name("mixture", FEWEST)
    told = []
    for name, runs in sets.items():
        if FEWEST in analysis.sizes(runs["double"], "mixture"):
            gaps = [
                numbers.interval(difference(runs, "double", other, f"test.{density}.distance"), 3)
                for other in ("ncode", "autoencoder")
            ]
            told.append(f"{name}: {gaps[0]} minus AutoN-CODE's, {gaps[1]} minus the plain autoencoder's")
    return (
        f"We read 'few components' as fewer than Table 2 has. At {FEWEST}, its fewest, the double-size autoencoder's "
        f"distance is, as 95 % intervals of differences: {'; '.join(told) or 'not measured yet'}."
    )


def parts(named: Mapping[str, Runs]) -> list[list[str]]:
    """A distance's parts at ten points a component: real images, reconstructions, samples, and the share of copies."""
    rows = []
    for name, runs in named.items():
        for model, of_model in runs.items():
            copied = analysis.of_density(of_model, "both", analysis.mixture_of(of_model, 10), "copied")
            bounds = (numbers.spread(metric(of_model, part)) for part in ("floor", "reconstructed"))
            scores = (_score(runs, model, 10, fit) for fit in FITS)
            rows.append([name, label(model), *bounds, *scores, numbers.spread(copied)])
    return rows


def likeliest(runs: Runs) -> str:
    """The numbers of components under which unseen embeddings are likeliest, by model, in words."""
    chosen = {model: analysis.likeliest(of_model).removeprefix("mixture-") for model, of_model in runs.items()}
    return ", ".join(f"{components} ({label(model)})" for model, components in chosen.items())


def reconstruction(runs: Runs) -> str:
    """AutoN-CODE's reconstructions beside the autoencoder's by distance, in a sentence."""
    gap = difference(runs, "ncode", "autoencoder", "reconstructed")
    words = {
        True: "better than the autoencoder's",
        False: "worse than the autoencoder's",
        None: "not told apart from the autoencoder's",
    }
    return (
        f"AutoN-CODE's distance minus the autoencoder's is {numbers.interval(gap, 3)} there (95 % interval): its "
        f"reconstructions are {words[is_below(gap)]}."
    )


def _score(runs: Runs, model: str, points: int | None, fit: str) -> str:
    density = f"{fit}.{analysis.mixture_of(runs[model], points)}" if points else "prior"
    return numbers.spread(metric(runs[model], f"{density}.distance"))


def _both(runs: Runs, model: str, points: int | None) -> str:
    """The distances of fits to training and to test embeddings; one, of a prior."""
    fits = FITS if points else FITS[:1]
    return " / ".join(_score(runs, model, points, fit) for fit in fits)
