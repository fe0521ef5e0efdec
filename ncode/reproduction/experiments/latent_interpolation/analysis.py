"""What the page on latent interpolation shows of its runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ncode.reproduction.experiments.autoencoding import evaluation
from ncode.reproduction.runs.experiment import Run

LINES = ("ncode", "autoencoder", "control", "pixels")
"""Whose lines are shown (Fig. A.12), with two control experiments."""

SQUARES = ("ncode", "autoencoder")
"""Whose squares are shown."""


def label(model: str) -> str:
    """A model's name on the page: between pixels, a straight line is a cross-fade."""
    return "cross-fade of pixels" if model == "pixels" else evaluation.label(model)


def lines(runs: Mapping[str, Run]) -> dict[str, np.ndarray]:
    """The images on the first lines that were measured, a row for each line, by model.

    Args:
        runs: one for each of :data:`LINES`.
    """
    return {label(model): runs[model].array("lines") for model in LINES}


def squares(runs: Mapping[str, Run]) -> dict[str, np.ndarray]:
    """The images between the first three anchors, by model (Fig. A.12, lower panel).

    Args:
        runs: one for each of :data:`SQUARES`.
    """
    return {label(model): runs[model].array("anchors") for model in SQUARES}
