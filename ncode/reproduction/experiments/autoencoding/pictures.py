"""Keep, beside the recordings, pictures of what recorded models make of images.

``python -m ncode.reproduction.experiments.autoencoding.pictures autoencoding_mnist image_generation_mnist ...`` looks
up the finished runs that a recording is of, with their weights and images, and writes their pictures, which the book
draws. A run is found by its id, so pictures can be made after the code has gone on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from ncode.reproduction.experiments.autoencoding import analysis as autoencoding_analysis
from ncode.reproduction.experiments.image_generation import analysis as generation_analysis
from ncode.reproduction.experiments.latent_clustering import planes
from ncode.reproduction.experiments.latent_interpolation import analysis as interpolation_analysis
from ncode.reproduction.metrics.comparison import Runs
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run

SEED = 0
"""Whose runs are shown; none was chosen."""

COLUMNS = 7
"""Samples of every density."""

LINES = 2
"""Lines of every model."""


def finished(recording: str, models: Collection[str] | None = None) -> dict[str, Run]:
    """The runs of :data:`SEED` that a recording is of, with what they kept, by model.

    Args:
        models: which; all where none is named.

    Raises:
        FileNotFoundError: when one of them is not finished here.
    """
    of_seed = [run for run in recordings.load(recording) if run.config.seed == SEED]
    return {run.config.model: run.finished() for run in of_seed if models is None or run.config.model in models}


def keep(name: str, blocks: Mapping[str, np.ndarray], of: Sequence[Run]) -> Path:
    """Write blocks of images, all of one shape (rows, columns, channels, height, width), as the picture ``name``."""
    return recordings.save_picture(name, np.concatenate(list(blocks.values())), of, blocks=list(blocks))


def find(name: str) -> dict[str, np.ndarray]:
    """The blocks of images of the picture ``name``; empty where there is none yet."""
    picture = recordings.find_picture(name)
    if picture is None:
        return {}
    names = picture.facts["blocks"]
    return dict(zip(names, np.split(picture.images, len(names)), strict=True))


def described(name: str) -> str:
    """What the picture ``name`` is of, for its caption: ``recorded, MNIST, as printed, 50 epochs``."""
    picture = recordings.find_picture(name)
    return (
        f"recorded, {autoencoding_analysis.setting(autoencoding_analysis.pictured(picture))}" if picture else "recorded"
    )


def introduced(*names: str) -> str:
    """What the pictures are of, as a sentence: data, networks, budget and seed; none where there is no picture."""
    parts = []
    for picture in filter(None, map(recordings.find_picture, names)):
        config = autoencoding_analysis.pictured(picture)
        parts.append(f"{autoencoding_analysis.setting(config)}, seed {config.seed}")
    return f"Of the recorded models: {'; '.join(parts)}." if parts else "Of recorded models there is no picture yet."


def autoencoding(recording: str) -> list[Path]:
    """Reconstructions along AutoN-CODE's orbit (Figs. A.4 and A.5)."""
    (run,) = (run for run in recordings.load(recording) if (run.config.model, run.config.seed) == ("ncode", SEED))
    images, times = autoencoding_analysis.orbit_picture(run.finished())
    return [recordings.save_picture(f"{recording}_orbit", images, [run.finished()], times=times)]


def image_generation(recording: str) -> list[Path]:
    """Samples of every model, and AutoN-CODE's with their nearest neighbours (Figs. 8 and A.8)."""
    of = finished(recording)
    ours = of["ncode"]
    densities = [generation_analysis.mixture_of([ours], points) for points in generation_analysis.POINTS]
    samples = generation_analysis.samples(of)
    nearest = generation_analysis.nearest(ours, densities)
    sampled = [of[model] for model in generation_analysis.SAMPLED]
    return [
        keep(f"{recording}_samples", {text: images[:, :COLUMNS] for text, images in samples.items()}, sampled),
        keep(f"{recording}_nearest", {text: images[:, :COLUMNS] for text, images in nearest.items()}, [ours]),
    ]


def latent_interpolation(recording: str) -> list[Path]:
    """Lines and squares (Fig. A.12)."""
    of = finished(recording)
    lines, squares = interpolation_analysis.lines(of), interpolation_analysis.squares(of)
    shown = {text: images[:LINES] for text, images in lines.items()}
    return [
        keep(f"{recording}_lines", shown, [of[model] for model in interpolation_analysis.LINES]),
        keep(f"{recording}_squares", squares, [of[model] for model in interpolation_analysis.SQUARES]),
    ]


def latent_clustering(recording: str) -> list[Path]:
    """t-SNE of embeddings with a mixture's components (Fig. A.11)."""
    of = finished(recording, planes.MODELS)
    runs = [of[model] for model in planes.MODELS]
    made = {run.config.model: planes.of_run(run) for run in runs}
    accuracies = {model: plane.accuracy for model, plane in made.items()}
    return [recordings.save_picture(f"{recording}_tsne", planes.drawn([*made.values()]), runs, accuracies=accuracies)]


def find_planes(name: str, live: Runs) -> tuple[dict[str, planes.Plane], str]:
    """The planes of the picture ``name`` by model, or of live runs of one seed, and a sentence that says which."""
    picture = recordings.find_picture(name)
    if picture is None:
        return {model: planes.of_run(live[model][0]) for model in planes.MODELS}, "Of this execution, first seed."
    grids, accuracies = picture.images[:, 0, 0], picture.facts["accuracies"]
    kept = {model: planes.read(grid, accuracies[model]) for model, grid in zip(accuracies, grids, strict=True)}
    return kept, f"{introduced(name)} Of images in one cell of a grid, {planes.SIDE} cells wide, one is drawn."


MADE: dict[str, Callable[[str], list[Path]]] = {
    "autoencoding": autoencoding,
    "image_generation": image_generation,
    "latent_clustering": latent_clustering,
    "latent_interpolation": latent_interpolation,
}
"""What makes a recording's pictures, by the experiment that its name begins with."""


def main(arguments: list[str] | None = None) -> None:
    """Write the pictures of the recordings named."""
    parser = argparse.ArgumentParser(
        prog="python -m ncode.reproduction.experiments.autoencoding.pictures", description=__doc__
    )
    parser.add_argument("recordings", nargs="+")
    for recording in parser.parse_args(arguments).recordings:
        experiment = next((name for name in MADE if recording.startswith(f"{name}_")), None)
        if experiment is None:
            parser.error(f"{recording}: only recordings of {', '.join(MADE)} have pictures")
        for path in MADE[experiment](recording):
            print(path)


if __name__ == "__main__":
    main()
