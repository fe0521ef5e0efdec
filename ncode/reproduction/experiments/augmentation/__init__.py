"""What augmentation buys on toy problems (Augmented Neural ODEs, Sections 4 and 5.1): p = 0 against p > 0."""

from ncode.reproduction.experiments.augmentation.train import (
    FAILURES,
    Config,
    Regressor,
    build,
    experiment,
    sample,
    surrounds,
    width,
)

__all__ = ["FAILURES", "Config", "Regressor", "build", "experiment", "sample", "surrounds", "width"]
