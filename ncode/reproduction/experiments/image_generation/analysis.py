"""What the page on image generation asks of its runs, live or recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from ncode.reproduction.experiments import autoencoding
from ncode.reproduction.experiments.autoencoding import latents
from ncode.reproduction.experiments.autoencoding.evaluation import label
from ncode.reproduction.experiments.image_generation.train import FITS, name
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.metrics.intervals import interval, is_below
from ncode.reproduction.runs.experiment import Run

SAMPLED = ("autoencoder", "ncode", "vae")
"""The models whose samples are shown (Fig. 8)."""

POINTS = (100, 10, 1)
"""Points a component of the mixtures whose samples are shown: with 10,000 embeddings 100, 1000 and 10,000
components."""


def sizes(runs: Sequence, kind: str) -> list[float]:
    """The numbers of components of the runs' mixtures, or their kernels' variances; ascending.

    Args:
        runs: of one model and one configuration.
        kind: ``"mixture"`` or ``"kernel"``.
    """
    start = f"test.{kind}-"
    found = {key.removeprefix(start).rsplit(".", 1)[0] for key in runs[0].metrics if key.startswith(start)}
    return sorted(map(float, found))


def curve(runs: Sequence, fit: str, kind: str, what: str) -> tuple[list[float], np.ndarray]:
    """:func:`sizes`, and one of the densities' metrics at each: a row a seed.

    Args:
        fit: ``"train"`` or ``"test"``: what the densities were fitted to; ``"both"`` for the mean of the two. An
            autoencoder treats images that it was trained on otherwise than test images, so either side alone has more
            or less than half of the samples of a density that copies nothing; the mean has not.
        what: ``"distance"``, ``"likelihood"``, ``"nearest"``, ``"unseen"`` or ``"copied"``.
    """
    x = sizes(runs, kind)
    return x, np.stack([of_density(runs, fit, name(kind, size), what) for size in x], axis=1)


def of_density(runs: Sequence, fit: str, density: str, what: str) -> np.ndarray:
    """One density's metric, one a seed; arguments as of :func:`curve`."""
    sides = FITS if fit == "both" else (fit,)
    return np.mean([metric(runs, f"{side}.{density}.{what}") for side in sides], axis=0)


def mixture_of(runs: Sequence, points: int) -> str:
    """The name of the mixture with that many points a component, to within a half.

    Raises:
        ValueError: where the runs have none.
    """
    wanted = runs[0].metrics["points"] / points
    size = min(sizes(runs, "mixture"), key=lambda size: abs(np.log(size / wanted)))
    if abs(np.log(size / wanted)) > np.log(1.5):
        raise ValueError(f"points: no mixture has {points} a component; the nearest to {wanted:g} is of {size:g}")
    return name("mixture", size)


def fewest(runs: Sequence) -> str:
    """The name of the mixture with the fewest components: one, or ten where the paper's are taken."""
    return name("mixture", sizes(runs, "mixture")[0])


def samples(runs: Mapping[str, Run]) -> dict[str, np.ndarray]:
    """Samples of mixtures fitted to test embeddings and of the VAE's prior, a row for each (Fig. 8).

    Args:
        runs: one for each of :data:`SAMPLED`.
    """
    rows = {}
    for model in SAMPLED:
        for density in [fewest([runs[model]]), *(mixture_of([runs[model]], points) for points in POINTS)]:
            drawn = runs[model].array(f"test.{density}.samples")
            rows[f"{label(model)}, {density.removeprefix('mixture-')}"] = drawn[None]
    rows["VAE, its prior"] = runs["vae"].array("prior.samples")[None]
    return rows


@torch.no_grad()
def reconstructions(runs: Mapping[str, Run], count: int = 10) -> dict[str, np.ndarray]:
    """The same test images, and what each model makes of them, in rows (Fig. 8, left)."""
    config = next(iter(runs.values())).config
    x = autoencoding.prepare(config.dataset, config.variant, config.images).test[0][:count]
    rows = {"test images": x}
    for model, run in runs.items():
        trained = latents.Trained(run.config).model
        rows[label(model)] = trained.decode(trained.latent(trained.encode(x)))
    return {name: images.cpu().numpy()[None] for name, images in rows.items()}


def sampled(runs: Mapping[str, Run], points: int = 100) -> dict[str, np.ndarray]:
    """A row a model (Fig. 8, right): samples from the mixture with so many points a component, and the VAE's prior."""
    rows = {}
    for model, run in runs.items():
        density = "prior" if model == "vae" else f"test.{mixture_of([run], points)}"
        rows[label(model)] = run.array(f"{density}.samples")[None]
    return rows


def kernel_ends(runs: Sequence) -> tuple[str, str]:
    """The names of the kernel densities of the smallest and of the largest variance."""
    variances = sizes(runs, "kernel")
    return name("kernel", variances[0]), name("kernel", variances[-1])


def nearest(run: Run, densities: Iterable[str]) -> dict[str, np.ndarray]:
    """Samples, and the nearest images that a density was fitted to, as the decoder gives them, in rows (Fig. A.8).

    Args:
        densities: by name, such as ``"mixture-100"``.
    """
    rows = {}
    for density in densities:
        kind, _, size = density.partition("-")
        text = f"{'components' if kind == 'mixture' else 'variance'}: {size}"
        for what in ("samples", "nearest"):
            rows[f"{text}, {what}"] = run.array(f"test.{density}.{what}")[None]
    return rows


def falls(runs: Sequence, fit: str) -> bool | None:
    """Whether the distance falls from the fewest components to ten points each (95 %, paired by seed)."""
    last, first = mixture_of(runs, 10), fewest(runs)
    return is_below(interval(of_density(runs, fit, last, "distance") - of_density(runs, fit, first, "distance")))


def overfits(runs: Sequence, points: int) -> bool | None:
    """Whether unseen embeddings are less likely under so many points a component than under ten times as many (95 %).

    As in the paper the mixtures are fitted to test embeddings. Their distance cannot tell: it is to those same images.
    Log-likelihoods of narrow components differ by orders of magnitude between seeds, so the interval is of the
    difference's inverse hyperbolic sine, which keeps its sign.
    """
    finer, coarser = (of_density(runs, "test", mixture_of(runs, k), "likelihood") for k in (points, 10 * points))
    return is_below(interval(np.arcsinh(finer - coarser)))


def copies(runs: Sequence, density: str) -> tuple[float, float]:
    """The 95 % interval over seeds of :func:`copied`."""
    return interval(copied(runs, density))


def copied(runs: Sequence, density: str) -> np.ndarray:
    """By seed, the share of samples that lie nearer to a fitted image than to an unseen one; 1/2 is no copying."""
    return of_density(runs, "both", density, "copied")


def likeliest(runs: Sequence, fit: str = "train") -> str:
    """The mixture under which the validation embeddings have the largest mean likelihood: its name."""
    x, values = curve(runs, fit, "mixture", "likelihood")
    return name("mixture", x[int(values.mean(0).argmax())])


def limit_is_reconstruction(runs: Runs) -> bool:
    """Whether a mixture with a component for every point scores as reconstructions do, as it must.

    It draws reconstructions with replacement, and the floor of real images bounds what that adds.
    """
    held = []
    for of_model in runs.values():
        limit = of_density(of_model, "test", mixture_of(of_model, 1), "distance")
        best, floor = (metric(of_model, part) for part in ("reconstructed", "floor"))
        held.append((0.9 * best < limit).all() and (limit < best + floor[0]).all())
    return all(held)
