"""What the page on autoencoding asks of its runs: tuned normalisations, reconstructions along a path, comparisons."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ncode.reproduction.data.datasets import title
from ncode.reproduction.experiments.autoencoding.latents import orbit_images
from ncode.reproduction.experiments.autoencoding.train import (
    BOTTLENECKS,
    COMPONENT_WISE,
    TUNING_SEED,
    Config,
    experiment,
    prepare,
)
from ncode.reproduction.metrics.comparison import by_model, metric
from ncode.reproduction.metrics.intervals import difference_interval
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.configs import typed
from ncode.reproduction.runs.experiment import Run
from ncode.reproduction.runs.recordings import Picture, RecordedRun
from ncode.training import TrainingError


@dataclass(frozen=True)
class Tuned:
    """A way to train AutoN-CODE at the scale of θ that suits it best.

    Attributes:
        tuning: the run at every scale; ``None`` where training failed.
        scale: the one whose validation loss is lowest.
        runs: those of the comparison at that scale, by seed; ``None`` for one that failed.
    """

    tuning: dict[float, Run | None]
    scale: float
    runs: list[Run | None]

    @property
    def tried(self) -> dict[float, float]:
        """Validation nats by scale; infinite where training failed."""
        return {scale: one.metrics["validation_nats"] if one else np.inf for scale, one in self.tuning.items()}

    @property
    def completed(self) -> list[Run]:
        """The runs of the comparison that end with a finite test loss."""
        return [run for run in self.runs if run and math.isfinite(run.metrics["test_nats"])]


def attempt(config: Config) -> Run | None:
    """The run; ``None`` where training could not go on."""
    try:
        return experiment.run(config)
    except TrainingError:
        return None


def tuned(base: Config, scales: Sequence[float], seeds: int) -> Tuned:
    """Train ``base`` at the one of ``scales`` whose validation loss is lowest on :data:`TUNING_SEED`."""
    tuning = {scale: attempt(dataclasses.replace(base, seed=TUNING_SEED, scale=scale)) for scale in scales}
    best = min(scales, key=Tuned(tuning, np.nan, []).tried.get)
    return Tuned(tuning, best, [attempt(dataclasses.replace(base, seed=seed, scale=best)) for seed in range(seeds)])


def chosen(base: Config, scales: Sequence[float]) -> Config:
    """``base`` with what stands for AutoN-CODE: the best of :data:`COMPONENT_WISE`, at its best scale.

    Both are chosen by the validation loss on :data:`TUNING_SEED`.
    """
    tried = {name: tuned(dataclasses.replace(base, normalisation=name), scales, seeds=0) for name in COMPONENT_WISE}
    best = min(COMPONENT_WISE, key=lambda name: min(tried[name].tried.values()))
    return dataclasses.replace(base, normalisation=best, scale=tried[best].scale)


def sweep(base: Config, seeds: int) -> list[Run]:
    """The runs of ``base`` with seeds 0, 1, …."""
    return [experiment.run(dataclasses.replace(base, seed=seed)) for seed in range(seeds)]


def bottlenecks() -> dict[str, list[RecordedRun]]:
    """The recorded models of N16 on MNIST, each with the seeds that all of them have."""
    names = ("autoencoding_mnist", "autoencoding_mnist_bottlenecks")
    found = by_model(one for name in names for one in recordings.find(name) if one.config.model in BOTTLENECKS)
    return {model: runs for model, runs in found.items() if runs}


def printed() -> dict[str, list[RecordedRun]]:
    """The recorded models with Table A.1's networks on MNIST that N16 compares, on the seeds that all of them have."""
    of_question = (one for one in recordings.find("autoencoding_mnist_printed") if one.config.model in BOTTLENECKS)
    return {model: runs for model, runs in by_model(of_question).items() if runs}


def pairs() -> list[dict[str, list[RecordedRun]]]:
    """N16's pair, AutoN-CODE and the plain autoencoder, wherever else it is recorded, on the seeds that both have.

    These are the other readings of Table A.1's 25, and CIFAR-10. AutoN-CODE with one entry a row is compared with
    :func:`printed`'s autoencoder, whose code has as many numbers.
    """
    names = ("mnist_printed_dense", "mnist_printed_single", "cifar10_printed_eighth", "cifar10")
    made = [recordings.find(f"autoencoding_{name}") for name in names]
    return [pair for pair in map(with_autoencoder, made) if pair.keys() >= {"ncode", "autoencoder"}]


def with_autoencoder(runs: Sequence[RecordedRun]) -> dict[str, list[RecordedRun]]:
    """A recording's AutoN-CODE and plain autoencoder, on the seeds that both have; without one, :func:`printed`'s."""
    made = [run for run in runs if run.config.model in ("ncode", "autoencoder")]
    if made and all(run.config.model == "ncode" for run in made):
        made += printed().get("autoencoder", [])
    return {model: of for model, of in by_model(made).items() if of}


def normalisations() -> dict[str, list[RecordedRun]]:
    """AutoN-CODE's recorded runs on MNIST by normalisation, each at its best scale, on the seeds that all have."""
    return _of_ncode("normalisation", "autoencoding_mnist", "autoencoding_mnist_normalisations")


def printed_normalisations() -> dict[str, list[RecordedRun]]:
    """The same with Table A.1's networks, each at the scale that their own tuning found."""
    return _of_ncode("normalisation", "autoencoding_mnist_printed_normalisations")


def horizons() -> dict[float, list[RecordedRun]]:
    """AutoN-CODE's recorded runs with Table A.1's networks by horizon T, at one scale, on the seeds that all have."""
    return _of_ncode("horizon", "autoencoding_mnist_printed_horizon_readings")


def _of_ncode(field: str, *names: str) -> dict:
    made = (one for name in names for one in recordings.find(name) if one.config.model == "ncode")
    return by_model(made, field)


LEARNT = 0.9
"""The largest squared error of a model that has learnt something, as a share of the mean training image's."""


def learns(run: Run | None) -> bool:
    """Whether a training came to its end, and to reconstructions that are not the mean training image."""
    if run is None:
        return False
    ready = prepare(run.config.dataset, run.config.variant, run.config.images)
    mean = (ready.validation[0] - ready.train[0].mean(0)).square().mean().item()
    return run.metrics["validation_mse"] < LEARNT * mean


def nats(runs: Sequence) -> np.ndarray:
    """Test loss in nats an image, by seed."""
    return metric(runs, "test_nats")


def against(runs: Sequence, others: Sequence) -> tuple[float, float]:
    """The 95 % interval of :func:`nats` minus others', paired by seed; NaN where not the same seeds have finished."""
    of_seed, other = ({run.config.seed: run for run in made} for made in (runs, others))
    if of_seed.keys() != other.keys():
        return (np.nan,) * 2
    return difference_interval(nats(list(of_seed.values())), nats([other[seed] for seed in of_seed]))


def setting(config: Config) -> str:
    """A run's data, networks and budget in words, such as ``MNIST, as printed, 50 epochs``.

    Only Table A.1's networks are named, and narrower ones: they tell the paper's own setting from ours.
    """
    readings = {(0, 1): ", one entry a row", (5, 5): ", dense 5 × 5"}
    reading = readings.get((config.latent, config.entries), "")
    of_paper = f", as printed{reading}" if config.kind == "printed" else ""
    narrowed = config.kind in ("printed", "convolutional") and config.width < 1  # Perceptrons of ours have any width.
    narrow = f", 1/{1 / config.width:g} of the width" if narrowed else ""
    return f"{title(config.dataset, config.variant)}{of_paper}{narrow}, {config.epochs} epochs"


def pictured(picture: Picture) -> Config:
    """The configuration of the autoencoder that a picture is of; of several, the first."""
    kept = picture.facts["runs"][0]["config"]
    names = [field.name for field in dataclasses.fields(Config)]
    return typed(Config, {name: kept[name] for name in names if name in kept})


def orbit_picture(
    run: Run, rows: int = 8, columns: int = 9
) -> tuple[Float[np.ndarray, "rows columns c h w"], list[float]]:
    """What a finished AutoN-CODE's decoder makes of x(t), for the first validation image of each class, and the times.

    The last column is the image itself, the others are evenly spaced times from 0 to T.
    """
    config = run.config
    x, y = (part.cpu() for part in prepare(config.dataset, config.variant, config.images).validation)
    x = x[[int((y == label).nonzero()[0]) for label in range(rows)]]
    times = np.linspace(0, config.horizon, columns - 1).tolist()
    frames = torch.cat([orbit_images(run.model(), x, times), x[None]])
    return frames.transpose(0, 1).numpy(), times
