"""How images change along straight lines between embeddings (C.8, Fig. A.12), in a feature network's eyes.

Two things are measured. A path is *smooth* when its features move evenly and without detour: perceptual path length,
over that of a straight path of constant speed between the same ends. And it stays *real* when images half-way are
distributed like real ones: their Fréchet distance. A cross-fade of pixels is the control: it is straight in the pixels,
and both measures ask what it is in the features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ncode.reproduction import metrics
from ncode.reproduction.experiments import autoencoding
from ncode.reproduction.experiments.autoencoding import latents
from ncode.reproduction.experiments.autoencoding.latents import Trained
from ncode.reproduction.metrics.features import extract
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint

MODELS = ("pixels", "autoencoder", "ncode", "control", "vae")
"""Where the lines are drawn: between images; between the embeddings of an autoencoder, AutoN-CODE (x(T)) or a
variational autoencoder; or between AutoN-CODE's controls, whose flow then gives x(T)."""

NO_MODEL = ("pixels", "control")
"""What is no autoencoder of its own: ``"control"`` is AutoN-CODE's."""

SIDE = 8
"""Images along either side of a two-dimensional interpolation."""

SHOWN, STEPS = 4, 11
"""Lines, the first that are measured, and images on each, that a run keeps."""

CHUNK = 250


@dataclass(frozen=True)
class Config(latents.Config):
    """One autoencoder's evaluation.

    Attributes:
        model: one of :data:`MODELS`.
        pairs: of test images, the same for every model; their paths' speed is measured. Two pairs make a square.
        times: at how many points of a path.
    """

    pairs: int = 200
    times: int = 20


class Line:
    """Straight lines between pairs of images in the model's space; ``at`` gives the images on them.

    Args:
        config: whose ``model`` says in which space.
    """

    def __init__(self, config: Config):
        self.kind = config.model
        self.trained = None if self.kind == "pixels" else Trained(_autoencoder(config))

    def ends(self, x: Tensor) -> Tensor:
        """The points that stand for images ``x``."""
        if self.trained is None:
            return x
        model = self.trained.model
        codes = torch.cat([model.encode(part) for part in x.split(CHUNK)])
        return codes if self.kind == "control" else model.latent(codes)

    def images(self, z: Tensor) -> Tensor:
        """The images that points stand for."""
        if self.trained is None:
            return z
        model = self.trained.model
        return model.decode(model.latent(z) if self.kind == "control" else z)


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Measure paths between pairs of test images of different classes, drawn at random.

    Returns:
        ``length``, the perceptual path length, and ``excess`` (see :class:`ncode.reproduction.metrics.paths.Path`);
        ``peak``, the fastest a path gets over its mean speed, median over pairs; ``jump`` (see :func:`jump`);
        ``square_peak``, the largest change between neighbours on a square over the mean change, median over squares;
        ``half_way``, the Fréchet distance of images half-way between as many pairs as there are test images (or
        training images, where fewer); ``ends``, that of the pairs' own first images as the model gives them; ``floor``,
        of real images.
        Arrays: ``speed``, mean over pairs at the times ``t``; images on the first ``lines``, (pair, place, channel,
        row, column), and on the first ``square`` and between its first three ``anchors``, (side, side, channel, row,
        column).

    Raises:
        ValueError: with InceptionV3 as the judge, whose features have no derivative.
    """
    if config.inception:
        raise ValueError("inception: takes bytes, and path lengths need the features' derivative")
    ready, network = autoencoding.prepare(config.dataset, config.variant, config.images), latents.judge(config)
    line = Line(config)
    reference = latents.reference(config, size=latents.points(config))
    first, second = (rows[: reference.size] for rows in pairs(ready.test[1]))
    with torch.no_grad():
        start, end = (line.ends(ready.test[0][rows]) for rows in (first, second))
        half_way, ends = (
            reference.score(_features(network, line, points)) for points in (torch.lerp(start, end, 0.5), start)
        )
        arrays = shown(line, start, end)
    path = metrics.perceptual_path(
        metrics.linear(lambda z: network(line.images(z))), start[: config.pairs], end[: config.pairs], config.times
    )
    speed = torch.tensor(path.speed)
    found = {
        "length": path.length,
        "excess": path.excess,
        "peak": (speed.amax(0) / speed.mean(0)).median().item(),
        "jump": jump(network, line, start[: config.pairs], end[: config.pairs], config.times),
        "square_peak": square_peak(network, line, start[: config.pairs], end[: config.pairs]),
        "half_way": half_way.distance,
        "ends": ends.distance,
        "floor": reference.floor,
    }
    arrays |= {"speed": speed.mean(1), "t": torch.tensor(path.t)}
    return RunOutput(found, arrays=arrays, data=fingerprint(ready.train[0]))


def shown(line: Line, start: Tensor, end: Tensor) -> dict[str, Tensor]:
    """The images on the first lines, on the first square and between three anchors, as a run keeps them."""
    places = torch.linspace(0, 1, STEPS).tolist()
    lines = [line.images(torch.lerp(start[:SHOWN], end[:SHOWN], t)) for t in places]
    found = {"lines": torch.stack(lines, dim=1).cpu()}
    four, three = corners(start[:2], end[:2]), (start[:1], start[1:2], end[:1])
    for name, points in (("square", square(four)), ("anchors", plane(*three))):
        found[name] = line.images(points.flatten(0, 2)).unflatten(0, points.shape[:2]).cpu()
    return found


def corners(start: Tensor, end: Tensor) -> list[Tensor]:
    """The corners of squares (see :func:`square`): of every two lines, both starts, then both ends."""
    half = len(start) // 2
    return [part[: 2 * half][k::2] for part in (start, end) for k in (0, 1)]


def square(four: Sequence[Tensor], side: int = SIDE) -> Tensor:
    """Points on the bilinear surface between four corners: (side, side, …), the first two along the first row."""
    t = torch.linspace(0, 1, side).tolist()
    edges = [[torch.lerp(a, b, s) for s in t] for a, b in (four[:2], four[2:])]
    return torch.stack([torch.stack([torch.lerp(a, b, s) for a, b in zip(*edges, strict=True)]) for s in t])


def plane(a: Tensor, b: Tensor, c: Tensor, side: int = SIDE) -> Tensor:
    """Points on the plane through three anchors (Fig. A.12): (side, side, …), a up left, b up right, c down left."""
    return square((a, b, c, b + c - a), side)


def jump(network: Callable[[Tensor], Tensor], line: Line, start: Tensor, end: Tensor, steps: int) -> float:
    """The largest change of features over one of ``steps`` equal parts of a line over the mean change.

    The 95th percentile over lines: a jump anywhere on a line shows, and so does one on every twentieth line.
    """
    points = torch.stack([torch.lerp(start, end, t) for t in torch.linspace(0, 1, steps + 1).tolist()])
    features = torch.tensor(_features(network, line, points.flatten(0, 1))).unflatten(0, points.shape[:2])
    changes = features.diff(dim=0).norm(dim=-1)
    return (changes.amax(0) / changes.mean(0)).quantile(0.95).item()


def square_peak(network: Callable[[Tensor], Tensor], line: Line, start: Tensor, end: Tensor) -> float:
    """The largest change of features between neighbours on a square over the mean change, median over squares."""
    points = square(corners(start, end))
    features = torch.tensor(_features(network, line, points.flatten(0, 2))).unflatten(0, points.shape[:3])
    steps = torch.cat([features.diff(dim=d).norm(dim=-1).flatten(0, 1) for d in (0, 1)])
    return (steps.amax(0) / steps.mean(0)).median().item()


def pairs(y: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Every image once as a start, with an end of another class: the same pairs for every model and seed."""
    generator = torch.Generator().manual_seed(seed)
    labels, ends = y.cpu(), torch.empty(len(y), dtype=torch.long)
    for label in labels.unique():
        here, there = (labels == label).nonzero()[:, 0], (labels != label).nonzero()[:, 0]
        ends[here] = there[torch.randint(len(there), (len(here),), generator=generator)]
    order = torch.randperm(len(y), generator=generator)
    return order.to(y.device), ends[order].to(y.device)


def _autoencoder(config: Config) -> Config:
    return replace(config, model="ncode") if config.model == "control" else config


def _features(network: Callable[[Tensor], Tensor], line: Line, points: Tensor) -> metrics.Points:
    return extract(lambda z: network(line.images(z)), points, batch=CHUNK)


experiment = Experiment(
    "latent_interpolation", Config, None, train, plans=f"{__package__}.plans", data=autoencoding.data
)
