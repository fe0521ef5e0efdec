"""Classify images by a linear readout of x(T) (Section 4.2, Table 1, Fig. A.2): MNIST and CIFAR-10.

All flows share one kind of field, the paper's convolutional block, and one solver; no features are extracted before
the flow. All but the plain neural ODE have the same augmented state, so that what differs is the control.
"""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ncode.controllers import ImageControl, KernelController
from ncode.costs import Running, Terminal, control_deviation, jacobian, kinetic, path_cost
from ncode.fields.conv import ConvBlock
from ncode.fields.mlp import activation_function
from ncode.models import NCODE, AugmentedNeuralODE, Flow, NeuralODE
from ncode.reproduction.data import datasets
from ncode.reproduction.models.images import ResNet, augment, filters_for, reading
from ncode.reproduction.precision import tf32
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput, fingerprint
from ncode.solvers.options import FIXED, Solver
from ncode.training import Batches, cosine, fit

FLOWS = ("node", "anode", "data", "open", "mix")
"""NODE; ANODE; NODE with data control; N-CODE open loop with all kernels steered, and with the 3×3 kernels only."""

STEERED = ("open", "mix")
"""Of them those whose kernels γ sets."""

MODELS = (*FLOWS, "gamma", "resnet")
"""And what has no flow: γ's hidden units with a linear readout; a ResNet (Eq. 3) of ANODE's number of parameters."""

WIDE = "wide"
"""NODE with ANODE's number of parameters, the readout's included. So ANODE's authors match them: 92 filters to 64."""

PROBE = 64
"""Validation images on which the evaluations of an adaptive solve are counted."""

FITTED = 5000
"""Training images on which the trained model is scored as on the test images: how far it has fitted them."""

RATE_SEED = 100
"""What learning rates are chosen on: no seed of a comparison."""


@dataclass(frozen=True)
class Config:
    """One run of one model.

    Attributes:
        model: one of :data:`MODELS`, or :data:`WIDE`.
        seed: of initialisation and batches; the splits are fixed.
        dataset, variant: as for :func:`ncode.reproduction.data.datasets.load`.
        images: how many training images are used; 0 for all.
        size: height and width that the images are averaged down to.
        filters: k of ANODE's and the controlled models' block; NODE and the ResNet get what makes their number of
            parameters ANODE's (without the readout; with it for :data:`WIDE`).
        augment: a, channels of zeros.
        hidden: γ's hidden units.
        activation: of them: ``"tanh"``, ``"relu"``, or ``""`` for a linear γ.
        spread: of γ's kernels over images at first (see :class:`ncode.controllers.KernelController`).
        dropout: share of γ's hidden units that are dropped at each step of training.
        reads: what γ reads: the image's ``"pixels"``, ``"convolutions"`` of it, ``"another"`` image of its batch, or
            ``"nothing"`` (see :func:`ncode.reproduction.models.images.reading`).
        gamma_rate: the learning rate of γ's matrices, as a multiple of the others'.
        depth: layers of the ResNet.
        epochs, batch: of training.
        learning_rate: Adam's.
        cosine: let the learning rate fall to zero along half a cosine; otherwise it is constant.
        clip: largest norm of the gradient; beyond it, it is scaled down.
        method, steps, tolerance, horizon: of the solver; ``steps`` for fixed, ``tolerance`` for adaptive methods.
        flips: mirror each training image with probability one half.
        decay: decoupled weight decay, of the rate's multiple (Loshchilov and Hutter 2019), of γ's matrices where there
            is a γ and of the kernels elsewhere. The bias that γ's heads share is free.
        deviation: weight in the loss of how far θ lies from its mean over the batch (:func:`control_deviation`).
        kinetic, jacobian: weights in the loss of the path's kinetic energy and of its field's squared Jacobian, each
            over the state's dimension (Finlay et al. 2020); all weights are 0 in the paper's loss.
        looks: how often during training the validation images are looked at, evenly spaced.
        tf32: let a GPU round the factors of products to TF32's ten bits in training, which is faster. The trained model
            is scored in full float32 all the same.
    """

    model: str
    seed: int
    dataset: str = "digits"
    variant: str = ""
    images: int = 0
    size: int = 14
    filters: int = 50
    augment: int = 10
    hidden: int = 10
    activation: str = "tanh"
    spread: float = 1.0
    dropout: float = 0.0
    reads: str = "pixels"
    gamma_rate: float = 1.0
    depth: int = 4
    epochs: int = 5
    batch: int = 64
    learning_rate: float = 1e-3
    cosine: bool = False
    clip: float | None = 1.0
    method: str = "rk4"
    steps: int = 2
    tolerance: float = 1e-3
    horizon: float = 1.0
    flips: bool = False
    decay: float = 0.0
    deviation: float = 0.0
    kinetic: float = 0.0
    jacobian: float = 0.0
    looks: int = 10
    tf32: bool = False


class Classifier(nn.Module):
    """Logits W·body(x) + b, where the body is a flow on the augmented image, or what takes its place.

    Args:
        body: from images to anything that flattens to ``features`` numbers.
        features: size of the body's output.
        augment: channels of zeros that the body wants behind the image's own.
        classes: how many there are.
    """

    def __init__(self, body: nn.Module, features: int, augment: int = 0, classes: int = 10):
        super().__init__()
        self.body = body
        self.augment = augment
        self.readout = nn.Linear(features, classes)

    def start(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch d h w"]:
        """The state x(0) that the body is given."""
        return augment(x, self.augment) if self.augment else x

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch classes"]:
        return self.readout(self.body(self.start(x)).flatten(1))

    def with_cost(
        self, x: Float[Tensor, "batch c h w"], running: Running | None, terminal: Terminal | None
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, " batch"]]:
        """Logits, and every sample's cost along the flow."""
        out = path_cost(self.body, self.start(x), running=running, terminal=terminal)
        return self.readout(out.x[-1].flatten(1)), out.cost


class HiddenUnits(nn.Module):
    """γ's hidden units alone. Its heads are linear, as is the readout: more of γ would add nothing."""

    def __init__(self, inputs: int, hidden: int, activation: str):
        super().__init__()
        self.layer = nn.Linear(inputs, hidden)
        self.activation = activation_function(activation) if activation else nn.Identity()

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch hidden"]:
        return self.activation(self.layer(x.flatten(1)))


def build(config: Config, classes: int = 10) -> Classifier:
    """The model, initialised by the configuration's seed.

    Args:
        classes: of the data set.

    Raises:
        ValueError: when ``config.model`` is none of :data:`MODELS` nor :data:`WIDE`.
    """
    channels, size = (1 if config.dataset in ("digits", "mnist") else 3), config.size
    state = channels + config.augment
    fixed = {"steps": config.steps} if config.method in FIXED else {}
    how = {
        "horizon": config.horizon,
        "solver": Solver(config.method, rtol=config.tolerance, atol=config.tolerance, **fixed),
    }
    pixels = size * size
    parameters = sum(p.numel() for p in ConvBlock(state, size, filters=config.filters).parameters())
    torch.manual_seed(config.seed)
    classifier = functools.partial(Classifier, classes=classes)
    if config.model in ("node", WIDE):
        larger = classes * config.augment * pixels if config.model == WIDE else 0
        block = ConvBlock(channels, size, filters=filters_for(parameters + larger, channels))
        return classifier(NeuralODE(block, **how), channels * pixels)
    if config.model == "anode":
        block = ConvBlock(state, size, filters=config.filters)
        return classifier(AugmentedNeuralODE(block, augment=config.augment, project=False, **how), state * pixels)
    if config.model == "data":
        block = ConvBlock(state, size, filters=config.filters, inputs=channels)
        flow = NCODE(block, gamma=ImageControl(channels), steer="u", **how)
        return classifier(flow, state * pixels, config.augment)
    if config.model in STEERED:
        block, steer = (
            ConvBlock(state, size, filters=config.filters),
            "*.weight" if config.model == "open" else "mix.weight",
        )
        gamma = KernelController(
            channels,
            hidden=config.hidden,
            activation=config.activation or None,
            spread=config.spread,
            dropout=config.dropout,
            features=reading(config.reads, channels),
        )
        return classifier(NCODE(block, gamma=gamma, steer=steer, **how), state * pixels, config.augment)
    if config.model == "gamma":
        return classifier(HiddenUnits(channels * pixels, config.hidden, config.activation), config.hidden)
    if config.model == "resnet":
        filters = filters_for(parameters // config.depth, state)
        return classifier(ResNet(state, size, filters, config.depth), state * pixels, config.augment)
    raise ValueError(f"model: {config.model!r} is not one of {', '.join(MODELS)}")


class Prepared:
    """A data set's splits as standardised floats at one resolution, by the training images' mean and deviation.

    They lie on the GPU where there is one.
    """

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def __init__(self, splits: datasets.Splits, images: int, size: int):
        self.name, self.classes = splits.name, splits.classes
        train = splits.train[slice(images or None)]
        x = _pooled(train.x, size)
        mean, deviation = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)

        def standardised(part: datasets.Images) -> tuple[Tensor, Tensor]:
            x = (_pooled(part.x, size) - mean) / deviation
            return x.to(self.device), part.y.to(self.device)

        self.train, self.validation, self.test = map(standardised, (train, splits.validation, splits.test))


@functools.lru_cache(maxsize=2)
def prepare(dataset: str, variant: str, images: int, size: int) -> Prepared:
    """The data set, ready to train on (see :class:`Prepared`)."""
    return Prepared(datasets.load(dataset, variant), images, size)


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Train one model and test it, once.

    Returns:
        ``test_accuracy``, ``test_loss``, ``validation_accuracy``, ``validation_loss``; ``fitted_accuracy`` and
        ``fitted_loss``, of :data:`FITTED` training images once training is over; ``train_loss``, over the last tenth
        of the iterations; ``parameters`` and ``body_parameters`` (without the readout); and for a flow
        ``nfe``, ``nfe_adaptive``, of dopri5 at 1e-3 on :data:`PROBE` validation images, ``motion``, the mean over
        them of ‖x(T) - x(0)‖/‖x(0)‖, and ``solver_error``, the worst of eight validation images'.

        One with a γ has ``control_deviation`` besides, the mean over the probed images of
        :func:`ncode.costs.control_deviation`: how much θ differs between images; and ``unsteered_accuracy`` and
        ``unsteered_loss``, of the test images when each gets the mean θ of the first training images. One that was
        trained with TF32 has ``tf32_error``, how far that moves its x(T). The history's evaluations are validation's.
    """
    ready = prepare(config.dataset, config.variant, config.images, config.size)
    model = build(config, len(ready.classes)).to(ready.device)
    batches = Batches(*ready.train, size=config.batch, seed=config.seed)
    iterations = config.epochs * batches.per_epoch

    def loss(model, batch):
        return _loss(model, batch, config)

    def look(model):
        accuracy, cross_entropy = score(model, *ready.validation)
        return {"accuracy": accuracy, "loss": cross_entropy, **_adaptive(model, ready.validation[0][:PROBE])}

    with tf32(config.tf32):
        history = fit(
            model,
            loss,
            batches,
            iterations,
            _optimiser(model, config),
            clip=config.clip,
            schedule=cosine if config.cosine else None,
            evaluate=look,
            evaluate_every=-(-iterations // config.looks),
            checkpoint=checkpoint,
            label=f"{config.dataset} {config.model} {config.seed}",
        )
    model.eval()
    looks = history.evaluations
    metrics = {
        **evaluate(config, model),
        "validation_accuracy": looks["accuracy"][-1],
        "validation_loss": looks["loss"][-1],
        "train_loss": float(np.nanmean(history.loss[-max(1, iterations // 10) :])),
        "parameters": sum(p.numel() for p in model.parameters()),
        "body_parameters": sum(p.numel() for p in model.body.parameters()),
    }
    if isinstance(model.body, Flow):
        metrics |= {"nfe": model.body.nfe.forward, "nfe_adaptive": looks["nfe_adaptive"][-1]}
        metrics |= _motion(model, ready.validation[0][:PROBE])
        if config.model in STEERED:
            metrics |= _deviation(model, ready.validation[0][:PROBE])
            alike = unsteered(model, ready.train[0][:FITTED])
            metrics["unsteered_accuracy"], metrics["unsteered_loss"] = score(alike, *ready.test)
        if config.tf32:
            metrics |= _rounding(model, ready.validation[0][:PROBE])
    return RunOutput(metrics, history, model, data=fingerprint(*ready.train))


@torch.no_grad()
def evaluate(config: Config, model: Classifier) -> dict[str, float]:
    """A trained model's scores on the test images and on the first training images (see :func:`train`)."""
    ready = prepare(config.dataset, config.variant, config.images, config.size)
    parts = {"test": ready.test, "fitted": tuple(part[:FITTED] for part in ready.train)}
    found = {}
    for name, part in parts.items():
        found[f"{name}_accuracy"], found[f"{name}_loss"] = score(model.to(ready.device), *part)
    return found


def score(model: nn.Module, x: Tensor, y: Int64[Tensor, " n"], batch: int = 250) -> tuple[float, float]:
    """Accuracy and mean cross-entropy."""
    logits = torch.cat([model(part) for part in x.split(batch)])
    return (logits.argmax(1) == y).float().mean().item(), F.cross_entropy(logits, y).item()


def _loss(model: Classifier, batch: tuple[Tensor, ...], config: Config) -> tuple[Tensor, dict[str, float]]:
    x, y = batch
    if config.flips:
        mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
        x = torch.where(mirrored, x.flip(3), x)
    if not (config.deviation or config.kinetic or config.jacobian):
        logits = model(x)
        return F.cross_entropy(logits, y), {"accuracy": _accuracy(logits, y)}
    logits, cost = model.with_cost(x, *_costs(model.body, x, config))
    metrics = {"accuracy": _accuracy(logits, y), "cost": cost.mean().item()}
    return F.cross_entropy(logits, y) + cost.mean(), metrics


def _costs(flow: Flow, x: Tensor, config: Config) -> tuple[Running | None, Terminal | None]:
    """What the configuration adds to the loss: a running cost ℓ and a terminal cost φ, weighted."""
    shape = flow.field.shape
    terms = [(config.kinetic, kinetic)] if config.kinetic else []
    if config.jacobian:
        # One direction a solve, drawn anew at every step of training.
        terms.append((config.jacobian, jacobian(torch.randn(len(x), *shape, device=x.device))))
    running, terminal = None, None
    if terms:
        running = lambda point: sum(weight * cost(point) for weight, cost in terms) / math.prod(shape)  # noqa: E731
    if config.deviation:
        distance = control_deviation(flow.gamma.scales)
        terminal = lambda x, theta: config.deviation * distance(x, theta)  # noqa: E731
    return running, terminal


def _optimiser(model: Classifier, config: Config) -> torch.optim.Optimizer:
    """AdamW, which without weight decay is Adam, with decay where the configuration wants it."""
    weights = {name: p for name, p in model.body.named_parameters() if name.endswith("weight")}
    steered = {name: p for name, p in weights.items() if name.startswith("gamma.")}
    decayed = list((steered or weights).values())
    free = [p for p in model.parameters() if all(p is not other for other in decayed)]
    groups = [{"params": decayed, "weight_decay": config.decay}, {"params": free, "weight_decay": 0.0}]
    if config.gamma_rate != 1:
        # The bias of the heads, which all images share, is no part of what steers them.
        groups[0]["lr"] = config.gamma_rate * config.learning_rate
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


def _adaptive(model: Classifier, x: Tensor) -> dict[str, float]:
    """The evaluations that dopri5 needs at 1e-3, whatever solver the model is trained with."""
    if not isinstance(model.body, Flow):
        return {}
    flow = model.body
    solver, flow.solver = flow.solver, Solver("dopri5", rtol=1e-3, atol=1e-3)
    try:
        flow(model.start(x))
        return {"nfe_adaptive": float(flow.nfe.forward)}
    finally:
        flow.solver = solver


@torch.no_grad()
def _motion(model: Classifier, x: Tensor) -> dict[str, float]:
    """How far the flow moves its states, and how far the solver's x(T) is from the accurate one."""
    start = model.start(x)
    end = model.body(start)
    start = augment(start, end.shape[1] - start.shape[1])
    moved = (end - start).flatten(1).norm(dim=1) / start.flatten(1).norm(dim=1)
    error = model.body.solver_error(model.start(x[:8]), tolerance=1e-6)
    return {"motion": moved.mean().item(), "solver_error": error.max().item()}


@torch.no_grad()
def _deviation(model: Classifier, x: Tensor) -> dict[str, float]:
    """How much θ differs between images, in squares of an ordinary kernel's size."""
    start, distance = model.start(x), control_deviation(model.body.gamma.scales)
    return {"control_deviation": distance(start, model.body.initial_control(start)).mean().item()}


@torch.no_grad()
def unsteered(model: Classifier, x: Float[Tensor, "n c h w"], batch: int = 250) -> Classifier:
    """A copy of a model with a γ that gives every image one θ: the mean over the images ``x``."""
    model = copy.deepcopy(model)
    mean = torch.cat([model.body.initial_control(model.start(part)) for part in x.split(batch)]).mean(0)
    *_, heads = model.body.gamma.layers
    heads.weight.zero_()
    heads.bias.copy_(mean)
    return model


@torch.no_grad()
def _rounding(model: Classifier, x: Tensor) -> dict[str, float]:
    """The largest relative change of an image's x(T) when a GPU rounds to TF32; 0 where it does not."""
    exact = model.body(model.start(x)).flatten(1)
    with tf32():
        rounded = model.body(model.start(x)).flatten(1)
    return {"tf32_error": ((rounded - exact).norm(dim=1) / exact.norm(dim=1)).max().item()}


def _accuracy(logits: Tensor, y: Tensor) -> float:
    return (logits.argmax(1) == y).float().mean().item()


def _pooled(x: Tensor, size: int) -> Float[Tensor, "n c size size"]:
    """Bytes as floats in [0, 1], averaged down to ``size`` pixels a side."""
    parts = [F.adaptive_avg_pool2d(part.float() / 255, size) for part in x.split(5000)]
    return torch.cat(parts)


def data(config: Config) -> str:
    """The fingerprint of the data that a configuration asks for."""
    return datasets.identity(config.dataset, config.variant)


experiment = Experiment(
    "image_classification", Config, build, train, plans=f"{__package__}.plans", data=data, evaluate=evaluate
)
