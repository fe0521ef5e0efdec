"""What the page on image generation asks of its runs, live or recorded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ncode.experiments.image_generation import name


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
        fit: ``"train"`` or ``"test"``: what the densities were fitted to.
        what: ``"distance"``, ``"likelihood"``, ``"nearest"``, ``"unseen"`` or ``"copied"``.
    """
    x = sizes(runs, kind)
    return x, np.array([[run.metrics[f"{fit}.{name(kind, size)}.{what}"] for size in x] for run in runs])


def mixture_of(runs: Sequence, points: int) -> str:
    """The mixture with that many points a component, or the nearest number to it: its name."""
    wanted = runs[0].metrics["points"] / points
    return name("mixture", min(sizes(runs, "mixture"), key=lambda size: abs(np.log(size / wanted))))


def likeliest(runs: Sequence, fit: str = "train") -> str:
    """The mixture under which the validation embeddings have the largest mean likelihood: its name."""
    x, values = curve(runs, fit, "mixture", "likelihood")
    return name("mixture", x[int(values.mean(0).argmax())])


def slope(x: Sequence[float], values: np.ndarray) -> np.ndarray:
    """By how much ``values`` change when log10 x grows by one, by least squares: one number a row."""
    return np.polyfit(np.log10(x), values.T, 1)[0]
