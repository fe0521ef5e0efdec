"""What training the autoencoders would take at full size, as far as one step of a narrow model tells."""

from __future__ import annotations

import dataclasses
import time

import torch

from ncode.reproduction import profiles
from ncode.reproduction.experiments.autoencoding.plans import TRAINING_IMAGES
from ncode.reproduction.experiments.autoencoding.train import Config, build
from ncode.reproduction.publishing import numbers

NARROWER = 8
"""By which factor the timed model is narrower; the work of convolutions grows with its square."""

IMAGES = 8


def plan_in_words() -> str:
    """Parameters and days of one run of the ``paper`` profile on this processor, as Markdown."""
    config = Config("ncode", 0, **profiles.load("autoencoding", "paper").settings)
    narrow = build(dataclasses.replace(config, width=config.width / NARROWER))
    start = time.perf_counter()
    narrow.loss(torch.rand(IMAGES, 3, 32, 32))[0].backward()
    seconds = (time.perf_counter() - start) / IMAGES
    days = NARROWER**2 * seconds * config.epochs * TRAINING_IMAGES[config.dataset] / 3600 / 24
    parameters = sum(p.numel() for p in build(config).parameters())
    return (
        f"At full width a model has {parameters / 1e6:.0f} million parameters. An image takes "
        f"{numbers.number(seconds)} s here for one step at 1/{NARROWER} of the width, and the work of convolutions "
        f"grows with the square of it. That makes about {days:.0f} days for each of the runs on this processor. It "
        "wants a GPU."
    )
