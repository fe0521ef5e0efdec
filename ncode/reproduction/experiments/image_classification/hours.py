"""What training on images would take at full size, as far as one step of an untrained model tells."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch.nn import functional as F

from ncode.reproduction import profiles
from ncode.reproduction.data.datasets import title
from ncode.reproduction.experiments.image_classification.plans import comparisons
from ncode.reproduction.experiments.image_classification.train import FLOWS, Config, build
from ncode.reproduction.runs import provenance, recordings

TRAINING_IMAGES = {"mnist": 55_000, "cifar10": 45_000, "svhn": 68_257, "imagenet64": 95_000}
"""Of the full data sets, without validation's; of ImageNet the 200 classes that ANODE's authors use (Tiny ImageNet)."""


def step_seconds(config: Config, images: int = 4) -> float:
    """Seconds that one image's share of a training step takes here, forward and backward, at initialisation."""
    model = build(config)
    channels = 1 if config.dataset in ("digits", "mnist") else 3
    x, y = torch.randn(images, channels, config.size, config.size), torch.arange(images) % 10
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        F.cross_entropy(model(x), y).backward()
        taken.append(time.perf_counter() - start)
    return min(taken) / images


def hours(config: Config) -> float:
    """Hours of one run on a full data set here, as far as :func:`step_seconds` tells: training stiffens fields."""
    return step_seconds(config) * TRAINING_IMAGES[config.dataset] * config.epochs / 3600


def plan_in_words() -> str:
    """What the open loop costs at full size, in the ``paper`` profile and as planned recordings, as Markdown."""
    paper = profiles.load("image_classification", "paper")
    plans = {
        f"`paper` profile, {title(of['dataset'])}": (Config("open", 0, **paper.settings, **of), paper.options["seeds"])
        for name, of in paper.options["sets"].items()
    }
    for name, configs in comparisons().items():
        if configs[0].size >= 28:
            plans[f"`{name}`"] = configs[0], len({config.seed for config in configs})
    lines = [
        f"- {name}: {config.epochs} epochs at {config.size}×{config.size}, k = {config.filters}, {config.method}: "
        f"about **{hours(replace(config, model='open')):.2g} hours** for the open loop and one seed of {seeds}."
        for name, (config, seeds) in plans.items()
    ]
    return "\n".join(lines + measured()) + (
        "\n\nHours are one training step of an untrained model, timed on this machine beside whatever else it did, and "
        "multiplied."
    )


def measured() -> list[str]:
    """What the recorded flows took that were trained on a GPU, by recording, as Markdown."""
    lines = []
    for name in comparisons():
        runs = [
            run
            for run in recordings.find(name)
            if run.config.model in FLOWS and run.provenance["device_type"] == "cuda"
        ]
        if runs:
            seconds = [run.provenance["seconds"] for run in runs]
            epochs = runs[0].config.epochs
            devices = dict.fromkeys(one for run in runs for one in run.provenance["device"].split(provenance.THEN))
            lines.append(
                f"- `{name}`, as it was recorded: {min(seconds):.0f} to {max(seconds):.0f} seconds a run of "
                f"{epochs} epochs on {' and '.join(devices)}, which many runs shared."
            )
    return lines
