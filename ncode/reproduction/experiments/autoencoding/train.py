"""Train AutoN-CODE and the autoencoders it is compared with (Sections 4.4 and 4.5, C.4 to C.8)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncode.reproduction.data import datasets
from ncode.reproduction.models.autoencoders import Autoencoder, AutoNCODE, LinearBottleneck, MappedControl
from ncode.reproduction.models.encoders import ARCHITECTURES, networks
from ncode.reproduction.models.rivals import DenoisingAutoencoder, SparseAutoencoder, VariationalAutoencoder
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint
from ncode.solvers.errors import SolveError
from ncode.training import Batches, Plateaus, cosine, fit

MODELS = ("autoencoder", "ncode", "double", "vae", "sparse", "denoising")
"""The models of Table 2 and Fig. A.10, in the order in which a seed is recorded."""

BOTTLENECKS = ("ncode", "linear", "mapped", "equal", "autoencoder")
"""The models of N16: AutoN-CODE; a learned linear map in its flow's place, of the code or of the normalised control; an
autoencoder whose code is as large as gives it AutoN-CODE's number of parameters; and one with AutoN-CODE's latent
size."""

COMPONENT_WISE = ("row", "tanh", "batch")
"""The readings of "component-wise" normalisation."""

TUNING_SEED = 100
"""Of the runs on which a learning rate and a scale are chosen; no comparison uses it."""

CHECKPOINT_EVERY = 1000
"""Iterations."""


@dataclass(frozen=True)
class Config:
    """One run of one model.

    Attributes:
        model: one of :data:`MODELS` or :data:`BOTTLENECKS`.
        seed: of initialisation and batches; the splits are fixed.
        dataset, variant: as for :func:`ncode.reproduction.data.datasets.load`.
        images: how many training images are used; 0 for all.
        kind, width: of the networks (see :func:`ncode.reproduction.models.encoders.networks`).
        latent: m, what the decoder is given; 0 for Table A.1's. The double-size autoencoder gets 2m.
        likelihood: ``"bernoulli"``, ``"gaussian"`` or ``"mse"``.
        entries, normalisation, scale, horizon, redraw: of AutoN-CODE.
        activity, weight: of the sparse autoencoder.
        noise: of the denoising autoencoder.
        batch_norm: of a printed perceptron (see :func:`ncode.reproduction.models.encoders.networks`).
        epochs, batch: of training.
        learning_rate: Adam's.
        plateau: 0 for a rate that falls to zero along half a cosine; otherwise C.4's schedule, which halves the rate
            when this many looks in a row brought no new best validation loss (:class:`ncode.training.Plateaus`).
        clip: largest norm of the gradient; ``None`` for none.
        looks: how often during training the validation images are looked at, evenly spaced.
    """

    model: str
    seed: int
    dataset: str = "digits"
    variant: str = ""
    images: int = 0
    kind: str = "perceptron"
    width: float = 1.0
    latent: int = 0
    likelihood: str = "bernoulli"
    entries: int = 2
    normalisation: str = "row"
    scale: float = 0.2
    horizon: float = 10.0
    redraw: bool = False
    activity: float = 0.1
    weight: float = 1.0
    noise: float = 0.3
    batch_norm: str = ""
    epochs: int = 5
    batch: int = 128
    learning_rate: float = 1e-3
    plateau: int = 0
    clip: float | None = None
    looks: int = 5


def build(config: Config) -> Autoencoder:
    """The model, initialised by the configuration's seed.

    Raises:
        ValueError: when ``config.model`` is none of :data:`MODELS` and :data:`BOTTLENECKS`.
    """
    architecture = ARCHITECTURES["mnist" if config.dataset == "digits" else config.dataset]
    m = config.latent or architecture.latent
    pair = functools.partial(networks, architecture, config.width, kind=config.kind, batch_norm=config.batch_norm)
    torch.manual_seed(config.seed)
    if config.model == "autoencoder":
        return Autoencoder(*pair(m), config.likelihood)
    if config.model == "double":
        return Autoencoder(*pair(2 * m), config.likelihood)
    if config.model == "equal":
        return Autoencoder(*pair(_equal_code(config, m)), config.likelihood)
    if config.model in ("ncode", "mapped"):
        kind = AutoNCODE if config.model == "ncode" else MappedControl
        settings = ("entries", "normalisation", "scale", "horizon", "redraw", "likelihood")
        return kind(*pair(config.entries * m, m), m, **{name: getattr(config, name) for name in settings})
    if config.model == "linear":
        return LinearBottleneck(*pair(config.entries * m, m), config.entries * m, m, config.likelihood)
    if config.model == "vae":
        return VariationalAutoencoder(*pair(2 * m, m), config.likelihood)
    if config.model == "sparse":
        return SparseAutoencoder(*pair(m), config.likelihood, config.activity, config.weight)
    if config.model == "denoising":
        return DenoisingAutoencoder(*pair(m), config.likelihood, config.noise)
    raise ValueError(f"model: {config.model!r} is not one of {', '.join(dict.fromkeys(MODELS + BOTTLENECKS))}")


def _equal_code(config: Config, m: int) -> int:
    """The code size with which an autoencoder has as nearly as possible AutoN-CODE's number of parameters."""
    architecture = ARCHITECTURES["mnist" if config.dataset == "digits" else config.dataset]

    def parameters(code: int, latent: int) -> int:
        pair = networks(architecture, config.width, code, latent, config.kind, config.batch_norm)
        return sum(p.numel() for network in pair for p in network.parameters())

    wanted = parameters(config.entries * m, m)
    return min(range(m, config.entries * m + 1), key=lambda code: abs(parameters(code, code) - wanted))


class Prepared:
    """A data set's splits as floats in [0, 1], on the GPU where there is one."""

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def __init__(self, splits: datasets.Splits, images: int):
        self.name, self.classes = splits.name, splits.classes

        def floats(part: datasets.Images) -> tuple[Tensor, Tensor]:
            return (part.x.float() / 255).to(self.device), part.y.to(self.device)

        parts = (splits.train[slice(images or None)], splits.validation, splits.test)
        self.train, self.validation, self.test = map(floats, parts)


@functools.lru_cache(maxsize=2)
def prepare(dataset: str, variant: str = "", images: int = 0) -> Prepared:
    """The data set, ready to train on (see :class:`Prepared`): ``(x, y)`` for each of its splits."""
    return Prepared(datasets.load(dataset, variant), images)


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Train one model, and test its reconstructions, once.

    Returns:
        ``test_nats`` and ``test_mse``, an image's and a pixel's; the same of ``validation``; ``train_nats``, over
        the last tenth of the iterations; ``parameters``; ``failures``, steps whose solve failed or whose loss was
        not finite. The history's evaluations are validation's. The weights are kept.
    """
    ready = prepare(config.dataset, config.variant, config.images)
    # Convolutions of a batch of small images are a fifth faster with the channels last.
    model = build(config).to(ready.device, memory_format=torch.channels_last)
    batches = Batches(ready.train[0], size=config.batch, seed=config.seed)
    iterations = config.epochs * batches.per_epoch
    history = fit(
        model,
        lambda model, batch: model.loss(*batch),
        batches,
        iterations,
        torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True),
        clip=config.clip,
        schedule=Plateaus("nats", config.plateau) if config.plateau else cosine,
        evaluate=lambda model: reconstruction(model, ready.validation[0]),
        evaluate_every=-(-iterations // config.looks),
        checkpoint=checkpoint,
        checkpoint_every=CHECKPOINT_EVERY,
        label=f"{config.dataset} {config.model} {config.seed}",
    )
    metrics = evaluate(config, model.eval())
    metrics |= {f"validation_{name}": values[-1] for name, values in history.evaluations.items()}
    trained = history.metrics.get("nats", [math.inf])  # No step of a short training need have succeeded.
    metrics["train_nats"] = float(np.nanmean(trained[-max(1, iterations // 10) :]))
    metrics["parameters"] = sum(p.numel() for p in model.parameters())
    metrics["failures"] = len(history.failures)
    return RunOutput(metrics, history, model, data=fingerprint(*ready.train))


@torch.no_grad()
def evaluate(config: Config, model: Autoencoder) -> dict[str, float]:
    """A trained model's reconstructions of the test images: ``test_nats`` and ``test_mse``."""
    ready = prepare(config.dataset, config.variant, config.images)
    test = reconstruction(model.to(ready.device), ready.test[0])
    return {f"test_{name}": value for name, value in test.items()}


def reconstruction(model: Autoencoder, x: Tensor, batch: int = 500) -> dict[str, float]:
    """How well ``model`` gives images back: ``nats`` an image by its likelihood, and ``mse`` a pixel.

    Both are infinite where the flow carries one of the images out of the floating-point range.
    """
    nats, mse = 0.0, 0.0
    for part in x.split(batch):
        try:
            logits = model.decoder(model.latent(model.encode(part)))
        except SolveError:
            return {"nats": math.inf, "mse": math.inf}
        nats += model.negative_log_likelihood(logits, part).item() * len(part)
        mse += (torch.sigmoid(logits) - part).square().mean().item() * len(part)
    return {"nats": nats / len(x), "mse": mse / len(x)}


def data(config: Config) -> str:
    """The fingerprint of the data that a configuration asks for."""
    return datasets.identity(config.dataset, config.variant)


experiment = Experiment(
    "autoencoding", Config, build, train, plans=f"{__package__}.plans", data=data, evaluate=evaluate
)
