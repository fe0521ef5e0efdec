"""Controllers: what sets a field's parameters θ for every sample.

Open loop, θ(0) = γ(x(0)) and θ' = 0. Closed loop, θ' = g(θ, x, t). Any module with the right shapes will do; here
are the paper's. A controller gives rows of m numbers, and :class:`~ncode.models.controlled.NCODE` cuts them into the
parameters that it steers. One that is a :class:`Controller` is told by the model which these are: it need not be given
a size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, instance, integer, integers, one_of, optional, real
from ncode.fields.base import Field
from ncode.fields.conv import ConvBlock
from ncode.fields.kernels import Perceptron, perceptron, plain, plan, untouched, untouched_linear
from ncode.fields.mlp import ACTIVATIONS, activation_function, last, layers
from ncode.modes import evaluating

GIVES = "gamma: gives {} control variables, {} are steered"


class Controller(nn.Module):
    """Base of the controllers that learn from the model what they steer."""

    def attach(self, field: Field, names: Sequence[str]) -> None:
        """Take the size of what is steered, or check it; called by the model, before ``field`` hands it over.

        A controller belongs to every model that is built with it, as a module does to every module that holds it. So
        where another model has attached it before, or its weights were loaded, its weights stay as they are.

        Args:
            field: whose parameters are steered.
            names: which, in the order of θ's columns.

        Raises:
            ValueError: when this controller has another size.
        """


class OpenLoop(Controller):
    """γ, a multilayer perceptron that maps the initial state to the control: θ(0) = γ(x(0)) (Eq. 4).

    Its last layer starts small around one bias that all samples share, the field's own parameters, so that at first
    every sample's field is near an ordinary, well-initialised one. Without that the first losses explode. The first
    model that is built with it sets that bias; weights that were loaded, or that another model trains, stay.

    Args:
        inputs: size of one sample's x(0), flattened; the model's where none is given.
        outputs: m, the number of control variables; the model's where none is given.
        hidden: widths of the hidden layers; none for a linear γ.
        activation: of the hidden layers.
        spread: standard deviation, over the initialisation, of what the last layer adds to its bias for an
            input of unit variance.

    Without a size it has no layers before a model is built with it.

    Attributes:
        started: whether its bias was set: by a model, or with weights that were loaded.
    """

    started = False

    @arguments(
        inputs=optional(integer(1)),
        outputs=optional(integer(1)),
        hidden=integers(1),
        activation=one_of(ACTIVATIONS),
        spread=real(least=0),
    )
    def __init__(
        self,
        inputs: int | None = None,
        outputs: int | None = None,
        *,
        hidden: Sequence[int] = (),
        activation: str = "tanh",
        spread: float = 0.1,
    ):
        super().__init__()
        self.inputs, self.outputs, self.hidden, self.spread = inputs, outputs, tuple(hidden), spread
        self.activation = activation_function(activation)
        self.layers = nn.ModuleList()
        if inputs is not None and outputs is not None:
            self._build(inputs, outputs)

    def attach(self, field: Field, names: Sequence[str]) -> None:
        start = field.start(names)
        self.inputs = _fitting(
            "gamma: reads {} numbers a sample, x has {}", self.inputs, _state_size(field, self.inputs)
        )
        self.outputs = _fitting(GIVES, self.outputs, len(start))
        if not self.layers:
            self._build(self.inputs, self.outputs)
            self.layers.to(start)
        if not self.started:
            self.start_from(start)

    def start_from(self, theta: Float[Tensor, " m"]) -> None:
        """Make ``theta``, the field's own initial parameters, the control that all samples start around.

        Raises:
            ValueError: when this γ gives another number of control variables.
        """
        _fitting(GIVES, self.outputs, len(theta))
        with torch.no_grad():
            last(self.layers).bias.copy_(theta)
        self.started = True

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.started |= any(name.startswith(f"{prefix}layers.") for name in state_dict)

    def forward(self, x: Float[Tensor, "batch *state"]) -> Float[Tensor, "batch m"]:
        return _perceptron(self.layers, self.activation, x.reshape(x.shape[0], -1))

    def _build(self, inputs: int, outputs: int) -> None:
        self.layers = small_head(layers(inputs, self.hidden, outputs), self.spread)


class DataControl(Controller):
    """γ(x) = x: the data themselves are the control (data control, Section 3.1; Massaroli et al. 2020)."""

    def attach(self, field: Field, names: Sequence[str]) -> None:
        size = _state_size(field, None if field.shape is None else math.prod(field.shape))
        _fitting(GIVES, size, field.size(names))

    def forward(self, x: Float[Tensor, "batch *state"]) -> Float[Tensor, "batch m"]:
        return x.reshape(x.shape[0], -1)


class ClosedLoop(Controller):
    """g, a multilayer perceptron that moves the control along the path: θ' = g(θ, x) (Eq. 4).

    Its last layer starts small, so that the control stays near where it began.

    Args:
        state: size of one sample's x, flattened; the model's where none is given.
        control: m, the number of control variables; the model's where none is given.
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        spread: as in :class:`OpenLoop`.

    Without a size it has no layers before a model is built with it.
    """

    @arguments(
        state=optional(integer(1)),
        control=optional(integer(1)),
        hidden=integers(1),
        activation=one_of(ACTIVATIONS),
        spread=real(least=0),
    )
    def __init__(
        self,
        state: int | None = None,
        control: int | None = None,
        *,
        hidden: Sequence[int] = (32,),
        activation: str = "tanh",
        spread: float = 0.1,
    ):
        super().__init__()
        self.state, self.control, self.hidden, self.spread = state, control, tuple(hidden), spread
        self.activation = activation_function(activation)
        self.layers = nn.ModuleList()
        if state is not None and control is not None:
            self._build(state, control)

    def attach(self, field: Field, names: Sequence[str]) -> None:
        self.state = _fitting("g: reads a state of {} numbers, x has {}", self.state, _state_size(field, self.state))
        self.control = _fitting("g: moves {} control variables, {} are steered", self.control, field.size(names))
        if not self.layers:
            self._build(self.state, self.control)
            self.layers.to(field.start(names))

    def forward(
        self, t: Tensor, x: Float[Tensor, "batch *state"], theta: Float[Tensor, "batch m"]
    ) -> Float[Tensor, "batch m"]:
        return _perceptron(self.layers, self.activation, torch.cat([x.reshape(x.shape[0], -1), theta], dim=1))

    def _build(self, state: int, control: int) -> None:
        self.layers = small_head(layers(state + control, self.hidden, control), self.spread)

    def bind(self, z: Tensor) -> Perceptron | None:
        """g as arithmetic with its own gradient, the batch last; ``None`` where it has no such form.

        Args:
            z: [x, θ], (batch, …), of which only shape and kind count.
        """
        own = untouched(self, forward=ClosedLoop.forward, __call__=nn.Module.__call__)
        if self.control is None or not own or not all(map(untouched_linear, self.layers)) or not plain(z):
            return None
        names = [(f"layers.{i}.weight", f"layers.{i}.bias") for i in range(len(self.layers))]
        return perceptron(*plan(self, names, {}), self.activation, z, self.control)


def small_head(stack: nn.ModuleList, spread: float) -> nn.ModuleList:
    """Layers whose last gives numbers of standard deviation ``spread`` for inputs of unit variance, around zero."""
    head = last(stack)
    nn.init.normal_(head.weight, std=spread * head.in_features**-0.5)
    nn.init.zeros_(head.bias)
    return stack


def _state_size(field: Field, given: int | None) -> int:
    """The size of one sample's state, as the field declares it or, where it declares none, as it is ``given``."""
    if field.shape is not None:
        return math.prod(field.shape)
    if given is None:
        raise ValueError("shape: give the model shape=(…) of one sample's x, or the controller its sizes")
    return given


def _fitting(message: str, given: int | None, wanted: int) -> int:
    if given is not None and given != wanted:
        raise ValueError(message.format(given, wanted))
    return wanted


def _perceptron(stack: nn.ModuleList, activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    if not stack:
        raise RuntimeError("a controller without a size has no layers before a model is built with it")
    for i, layer in enumerate(stack):
        x = layer(x if i == 0 else activation(x))
    return x


class KernelController(Controller):
    """γ for a :class:`ConvBlock`: from the image to its kernels, through a few hidden units and one head each.

    The paper says both "a two-layer perceptron" and "a linear transformation into 10 hidden units with multiple
    heads": ``activation="tanh"`` or ``"relu"`` is the first reading, ``None`` the second. Both are one matrix into
    the hidden units and one out of them.

    The heads decide whether training starts at all. They share a bias, the block's own initialisation, so that every
    sample starts near an ordinary convolution; what they add to it per sample has, for hidden units of unit
    variance, a standard deviation of ``spread``/√(fan-in) in every kernel. With PyTorch's own initialisation the
    first losses explode, up to 1e17.

    The model sizes it: it has no layers before one is built with it.

    Args:
        channels: of the image: the first channels of x(0). Channels after them are augmentation and not read.
        hidden: number of hidden units (the paper: 10).
        activation: of the hidden units; ``None`` for a linear γ.
        spread: see above.
        dropout: share of the hidden units that training drops at random, one draw a sample and solve.
        features: what the hidden units read instead of the image's pixels: a module from images, shape (batch,
            channels, height, width), to (batch, n) numbers.

    Attributes:
        scales: 1/√(fan-in) of every control variable (see :meth:`ConvBlock.scales`).
    """

    @arguments(
        channels=integer(1),
        hidden=integer(1),
        activation=optional(one_of(ACTIVATIONS)),
        spread=real(least=0),
        dropout=real(least=0, below=1),
        features=optional(instance(nn.Module)),
    )
    def __init__(
        self,
        channels: int,
        *,
        hidden: int = 10,
        activation: str | None = "tanh",
        spread: float = 1.0,
        dropout: float = 0.0,
        features: nn.Module | None = None,
    ):
        super().__init__()
        self.features = nn.Flatten() if features is None else features
        self.channels, self.hidden, self.spread = channels, hidden, spread
        self.inputs: int | None = None
        self.layers = nn.ModuleList()
        self.activation = activation_function(activation) if activation else _identity
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.register_buffer("scales", torch.empty(0), persistent=False)

    def attach(self, field: Field, names: Sequence[str]) -> None:
        if not isinstance(field, ConvBlock):
            raise ValueError(f"gamma: KernelController steers a ConvBlock's kernels, not {type(field).__name__}'s")
        most, *image = field.shape or (0,)
        if self.channels > most:
            raise ValueError(f"channels: must be at most the state's {most}, not {self.channels}")
        start, scales = field.start(names), field.scales(names)
        self.inputs = _fitting(
            "gamma: reads {} numbers of an image, this one's has {}", self.inputs, self._read(start, image)
        )
        if self.layers:
            _fitting(GIVES, len(self.scales), len(scales))
            if not torch.equal(self.scales, scales.to(self.scales)):
                raise ValueError("gamma: gives the kernels of another model, which work at other sizes than these")
            return
        self.layers = small_head(layers(self.inputs, (self.hidden,), len(scales)), 1.0).to(start)
        self.scales = scales.to(start)
        with torch.no_grad():
            heads = last(self.layers)
            heads.weight.mul_(self.spread * self.scales.unsqueeze(1))
            heads.bias.copy_(start)

    @torch.no_grad()
    def _read(self, start: Tensor, image: Sequence[int]) -> int:
        """How many numbers of an image the hidden units read."""
        with evaluating(self.features):
            seen = self.features.to(start)(start.new_zeros(1, self.channels, *image))
        if seen.ndim != 2:
            raise ValueError(f"features: must give each image a row of numbers, not the shape {tuple(seen.shape[1:])}")
        return seen.shape[1]

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch m"]:
        units, heads = self.layers
        return heads(self.dropout(self.activation(units(self.features(x[:, : self.channels])))))


class ImageControl(Controller):
    """γ(x) = x without its augmentation: data control on images, as the slot ``u`` of a :class:`ConvBlock`.

    Args:
        channels: of the image: the first channels of x(0).
    """

    @arguments(channels=integer(1))
    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def attach(self, field: Field, names: Sequence[str]) -> None:
        size = self.channels * math.prod(field.shape[1:]) if field.shape else field.size(names)
        _fitting(GIVES, size, field.size(names))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch m"]:
        return x[:, : self.channels].flatten(1)


def _identity(x: Tensor) -> Tensor:
    return x
