"""The training steps that solvers are compared on: one field a sample (or one for all), its loss, its exact end.

A case is what every way of solving is handed: the initial state and the parameters, as NumPy arrays, and the velocity,
written once over the few functions that PyTorch and JAX share. The state is 2-d, the field a tanh perceptron of width
32, T = 1. ``near`` fields differ little from sample to sample, ``far`` ones much, so that the steps that the worst
sample needs are wasted on most others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WIDTH, HIDDEN_OF_G = 32, 32
SPREAD = {"near": 0.1, "far": 0.6}
"""Standard deviation over the samples of every parameter of the field, its common part of PyTorch's usual size."""

KINDS = ("open loop", "neural ODE", "closed loop")


@dataclass(frozen=True)
class Case:
    """One training step: x(1) from x(0), and the gradient of <upstream, x(1)> to x(0) and all ``parameters``.

    Attributes:
        kind: ``open loop`` (parameters by sample, constant), ``neural ODE`` (one for all) or ``closed loop``, where
            the state is (x, θ) and g, a tanh perceptron of width 32, moves θ.
        x: (batch, 2).
        theta: (batch, 162), or (162,) for a neural ODE: W₁, b₁, W₂, b₂, each by rows.
        g: the closed loop's own weights: W₁ (32, 164), b₁, W₂ (162, 32), b₂.
    """

    kind: str
    fields: str
    x: np.ndarray
    theta: np.ndarray
    g: tuple[np.ndarray, ...]
    upstream: np.ndarray
    horizon: float = 1.0


def case(
    kind: str, fields: str, batch: int = 512, dim: int = 2, seed: int = 0, width: int = WIDTH, horizon: float = 1.0
) -> Case:
    """The case called so; ``batch``, ``dim`` and ``horizon`` other than the named cases' are for scaling."""
    rng = np.random.default_rng(seed)

    def uniform(fan_in: int, size: int) -> np.ndarray:
        return rng.uniform(-1, 1, size) / fan_in**0.5

    x = rng.standard_normal((batch, dim))
    common = np.concatenate(
        [uniform(dim, width * dim), uniform(dim, width), uniform(width, dim * width), uniform(width, dim)]
    )
    m = len(common)
    if kind == "neural ODE":
        # Weights of the size that one sample of the open loop has: the batch shares them.
        theta = common + SPREAD[fields] * rng.standard_normal(m)
    else:
        theta = common + SPREAD[fields] * rng.standard_normal((batch, m))
    g = ()
    if kind == "closed loop":
        first = rng.uniform(-1, 1, (HIDDEN_OF_G, dim + m)) / (dim + m) ** 0.5
        last = 0.1 * rng.standard_normal((m, HIDDEN_OF_G)) / HIDDEN_OF_G**0.5
        g = (first, uniform(dim + m, HIDDEN_OF_G), last, np.zeros(m))
    return Case(kind, fields, x, theta, g, rng.standard_normal((batch, dim)), horizon)


def unpack(theta, dim: int, width: int = WIDTH):
    """W₁ (…, width, dim), b₁, W₂ (…, dim, width), b₂ of rows θ."""
    a, b, c = width * dim, width * dim + width, 2 * width * dim + width
    lead = theta.shape[:-1]
    first, last = theta[..., :a].reshape(*lead, width, dim), theta[..., b:c].reshape(*lead, dim, width)
    return first, theta[..., a:b], last, theta[..., c:]


def width_of(case: Case) -> int:
    """The field's hidden units."""
    dim = case.x.shape[1]
    return (case.theta.shape[-1] - dim) // (2 * dim + 1)
