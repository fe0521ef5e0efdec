"""Fit the Van der Pol oscillator (Fig. 3): x'' = μ(1 - x²)x' - x, from observations of x alone."""

from ncode.reproduction.experiments.van_der_pol.train import (
    MODELS,
    START,
    TRUE_MU,
    Config,
    Observed,
    build,
    experiment,
    landscape,
    monotone_floor,
    observe,
    oscillator,
    path,
)

__all__ = [
    "MODELS",
    "START",
    "TRUE_MU",
    "Config",
    "Observed",
    "build",
    "experiment",
    "landscape",
    "monotone_floor",
    "observe",
    "oscillator",
    "path",
]
