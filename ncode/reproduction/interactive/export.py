"""Models as plain data, for the scripts that run them in the page."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.fields.mlp import ACTIVATIONS, MLP
from ncode.models import NCODE, AugmentedNeuralODE, DataControlledODE, Flow


def numbers(values: Tensor | np.ndarray, half: bool = False) -> dict[str, str]:
    """Numbers as base64: float32, or float16 where ``half``, little-endian."""
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    kept = np.ascontiguousarray(array.reshape(-1), dtype="<f2" if half else "<f4")
    return {"type": "f2" if half else "f4", "data": base64.b64encode(kept.tobytes()).decode()}


def flow(model: Flow, horizon: float) -> dict:
    """A flow of a perceptron as data: its field, what is steered of it, and its controllers.

    Args:
        model: a neural ODE, augmented or with data control, or N-CODE, on an :class:`~ncode.fields.mlp.MLP`.
        horizon: T, where the path ends.

    Raises:
        ValueError: for a field or a controller that the scripts do not know.
    """
    field = model.field
    if type(field) is not MLP:
        raise ValueError(f"model: its field must be an MLP, not {type(field).__name__}")
    added = model.augment if isinstance(model, AugmentedNeuralODE) else 0
    data = {
        "dim": field.shape[0] - added,
        "added": added,
        "horizon": horizon,
        "dataControl": isinstance(model, DataControlledODE),
        "field": {
            "layers": [_layer(layer, f"layers.{i}.", field.steered) for i, layer in enumerate(field.layers)],
            "activation": _activation(field),
        },
        "steered": [],
        "gamma": None,
        "g": None,
        "theta0": None,
    }
    if isinstance(model, NCODE):
        data["steered"] = [_place(name, shape) for name, shape in field.steered.items()]
        data["gamma"] = None if model.gamma is None else _perceptron(model.gamma, "gamma")
        data["g"] = None if model.g is None else _perceptron(model.g, "g")
        data["theta0"] = model.theta0.tolist() if model.gamma is None else None
    return data


def decoder(network: nn.Module) -> dict:
    """A decoder of linear layers with ReLU between them, as data in float16.

    What follows its last layer is the caller's.

    A batch normalisation after a layer is folded into it, with the statistics that evaluation uses.

    Raises:
        ValueError: when the network holds anything else that computes.
    """
    return {
        "layers": [
            {"weight": numbers(weight, half=True), "bias": numbers(bias, half=True), "rows": len(bias)}
            for weight, bias in folded(network)
        ]
    }


def folded(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """The matrices and biases of a decoder's linear layers, each with the batch normalisation after it folded in."""
    found: list[tuple[Tensor, Tensor]] = []
    for module in network.modules():
        if isinstance(module, nn.Linear):
            found.append((module.weight.detach(), module.bias.detach()))
        elif isinstance(module, nn.BatchNorm1d):
            weight, bias = found[-1]
            scale = module.weight.detach() / torch.sqrt(module.running_var + module.eps)
            shift = module.bias.detach() - module.running_mean * scale
            found[-1] = (scale.unsqueeze(1) * weight, scale * bias + shift)
        elif not list(module.children()) and not isinstance(module, nn.ReLU | nn.Flatten | nn.Unflatten | nn.Identity):
            raise ValueError(f"network: has a {type(module).__name__}, which the page can't run")
    return found


def points(x: Float[Tensor, "n dim"], labels: Sequence[int]) -> list[dict]:
    """Labelled samples as data."""
    return [{"x": row, "label": int(label)} for row, label in zip(x.tolist(), labels, strict=True)]


def _layer(layer: nn.Linear, name: str = "", steered: Collection[str] = ()) -> dict:
    # What a controller steers is None here, and comes from the control.
    return {part: None if name + part in steered else getattr(layer, part).tolist() for part in ("weight", "bias")}


def _place(name: str, shape: Sequence[int]) -> dict:
    _, layer, part = name.split(".")
    return {"layer": int(layer), "part": part, "shape": list(shape)}


def _perceptron(controller: nn.Module, name: str) -> dict:
    layers = getattr(controller, "layers", None)
    if layers is None:
        raise ValueError(f"{name}: the page knows perceptrons only, not {type(controller).__name__}")
    return {"layers": [_layer(layer) for layer in layers], "activation": _activation(controller)}


def _activation(module: nn.Module) -> str:
    if len(module.layers) == 1:
        return "identity"
    return next(name for name, function in ACTIVATIONS.items() if function is module.activation)
