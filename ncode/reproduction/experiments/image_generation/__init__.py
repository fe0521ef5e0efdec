"""Sample images from densities fitted to embeddings (Section 4.5, C.6, Table 2, Figs. 8, A.7 to A.9)."""

from ncode.reproduction.experiments.image_generation.train import (
    FITS,
    MODELS,
    Config,
    densities,
    experiment,
    name,
    neighbours,
)

__all__ = ["FITS", "MODELS", "Config", "densities", "experiment", "name", "neighbours"]
