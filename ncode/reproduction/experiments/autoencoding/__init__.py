"""Train AutoN-CODE and the autoencoders it is compared with (Sections 4.4 and 4.5, C.4 to C.8)."""

from ncode.reproduction.experiments.autoencoding.train import (
    BOTTLENECKS,
    COMPONENT_WISE,
    MODELS,
    TUNING_SEED,
    Config,
    Prepared,
    build,
    data,
    experiment,
    prepare,
    reconstruction,
)

__all__ = [
    "BOTTLENECKS",
    "COMPONENT_WISE",
    "MODELS",
    "TUNING_SEED",
    "Config",
    "Prepared",
    "build",
    "data",
    "experiment",
    "prepare",
    "reconstruction",
]
