"""Train the classifier of digits in whose features generated digits are compared with real ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from ncode.reproduction.data import datasets
from ncode.reproduction.metrics.features import DigitNetwork
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint
from ncode.training import Batches, cosine, fit


@dataclass(frozen=True)
class Config:
    """One classifier.

    Attributes:
        dataset, variant: as for :func:`ncode.reproduction.data.datasets.load`; of one channel.
        seed: of initialisation and batches; all autoencoders share one judge.
        width, hidden: of the :class:`~ncode.reproduction.metrics.features.DigitNetwork`.
        epochs, batch: of training.
        learning_rate: Adam's at first; it falls to zero along half a cosine.
    """

    dataset: str = "digits"
    variant: str = ""
    seed: int = 0
    width: int = 16
    hidden: int = 64
    epochs: int = 12
    batch: int = 64
    learning_rate: float = 2e-3


def build(config: Config) -> DigitNetwork:
    """The classifier, initialised by the configuration's seed."""
    torch.manual_seed(config.seed)
    return DigitNetwork(28, config.width, config.hidden)


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Train on the training images, shifted by up to two pixels; ``validation_accuracy`` and ``test_accuracy``."""
    train = _floats(datasets.load(config.dataset, config.variant).train)
    model = build(config)
    batches = Batches(*train, size=config.batch, seed=config.seed)

    def loss(model, batch):
        x, y = batch
        down, right = torch.randint(-2, 3, (2,)).tolist()
        return F.cross_entropy(model(x.roll((down, right), (2, 3))), y), {}

    history = fit(
        model,
        loss,
        batches,
        config.epochs * batches.per_epoch,
        torch.optim.Adam(model.parameters(), lr=config.learning_rate),
        schedule=cosine,
        checkpoint=checkpoint,
        label="classifier of digits",
    )
    return RunOutput(evaluate(config, model), history, model, data=fingerprint(*train))


def evaluate(config: Config, model: DigitNetwork) -> dict[str, float]:
    """A trained classifier's ``validation_accuracy`` and ``test_accuracy``."""
    splits = datasets.load(config.dataset, config.variant)
    parts = {"validation": splits.validation, "test": splits.test}
    return {f"{name}_accuracy": accuracy(model, *_floats(part)) for name, part in parts.items()}


def _floats(part: datasets.Images) -> tuple[torch.Tensor, torch.Tensor]:
    return part.x.float() / 255, part.y


@torch.no_grad()
def accuracy(model: DigitNetwork, x: torch.Tensor, y: torch.Tensor) -> float:
    """The share of images that are classified right."""
    model.eval()
    return sum((model(a).argmax(1) == b).sum().item() for a, b in zip(x.split(500), y.split(500), strict=True)) / len(x)


def data(config: Config) -> str:
    """The fingerprint of the data that a configuration asks for."""
    return datasets.identity(config.dataset, config.variant)


experiment = Experiment("digit_features", Config, build, train, data=data, evaluate=evaluate)
