"""How images change along straight lines between embeddings (C.8, Fig. A.12), in a feature network's eyes."""

from ncode.reproduction.experiments.latent_interpolation.train import (
    MODELS,
    NO_MODEL,
    Config,
    Line,
    experiment,
    jump,
    pairs,
    square_peak,
)

__all__ = ["MODELS", "NO_MODEL", "Config", "Line", "experiment", "jump", "pairs", "square_peak"]
