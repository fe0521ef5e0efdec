"""How an image forms along AutoN-CODE's orbit, and along a straight line that no flow drew (Section 4.4, N24)."""

from ncode.reproduction.experiments.orbits.train import (
    FORMED,
    LATE,
    MODELS,
    Config,
    experiment,
)

__all__ = ["FORMED", "LATE", "MODELS", "Config", "experiment"]
