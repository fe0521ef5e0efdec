"""Classify images by a linear readout of x(T) (Section 4.2, Table 1, Fig. A.2): MNIST and CIFAR-10."""

from ncode.reproduction.experiments.image_classification.train import (
    FLOWS,
    MODELS,
    PROBE,
    RATE_SEED,
    WIDE,
    Config,
    build,
    experiment,
    prepare,
    score,
)

__all__ = ["FLOWS", "MODELS", "PROBE", "RATE_SEED", "WIDE", "Config", "build", "experiment", "prepare", "score"]
