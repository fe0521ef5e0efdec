"""Separate a disk from the annulus around it (Section 4.1, Figs. 1, 5 and A.1): ANODE's nested spheres in the plane."""

from ncode.reproduction.experiments.annuli.train import (
    DISK,
    INNER,
    MODELS,
    OUTER,
    Config,
    build,
    dense_grid,
    experiment,
    sample,
)

__all__ = ["DISK", "INNER", "MODELS", "OUTER", "Config", "build", "dense_grid", "experiment", "sample"]
