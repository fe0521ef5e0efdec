"""Learn x ↦ -x on [-1, 1] (Section 4.1, Fig. 4): what a one-dimensional neural ODE cannot do."""

from ncode.reproduction.experiments.reflection.train import (
    MODELS,
    Config,
    build,
    experiment,
    grid,
)

__all__ = ["MODELS", "Config", "build", "experiment", "grid"]
