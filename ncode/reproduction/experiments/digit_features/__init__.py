"""Train the classifier of digits in whose features generated digits are compared with real ones."""

from ncode.reproduction.experiments.digit_features.train import (
    Config,
    accuracy,
    build,
    experiment,
)

__all__ = ["Config", "accuracy", "build", "experiment"]
