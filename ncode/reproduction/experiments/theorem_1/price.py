"""What the gradients of the open loop cost on a convolutional block with a kernel of its own for every sample.

The same solver, tolerance and error norm for all; the ways differ in what is solved backward:

==============  ======================================================================================
``direct``      nothing: backpropagation through the solver's steps
``adjoint``     (x, a); θ's gradient is summed from the stages of the steps (:mod:`ncode.solvers.adjoint.backward`)
``parameter``   torchdiffeq's adjoint with θ among ``adjoint_params``: its quadrature is carried along
``state``       Appendix B: θ is a part of the state with θ' = 0, torchdiffeq's adjoint
==============  ======================================================================================
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchdiffeq import odeint_adjoint

from ncode.fields.base import Field
from ncode.fields.mlp import ACTIVATIONS
from ncode.fields.per_sample import conv2d
from ncode.reproduction.experiments.theorem_1.train import distance
from ncode.solvers.dispatch import solve
from ncode.solvers.norms import per_sample
from ncode.solvers.options import NFE, Solver

WAYS = ("direct", "adjoint", "parameter", "state")


class Block(Field):
    """1×1, 3×3 and 1×1 convolutions, each kernel shared or per sample.

    Args:
        channels: of the state.
        size: height and width.
        activation: between the convolutions.
    """

    def __init__(self, channels: int = 16, size: int = 8, activation: str = "tanh"):
        super().__init__(shape=(channels, size, size))
        self.activation = ACTIVATIONS[activation]
        # PyTorch's default initialisation of a convolution.
        self.inner = nn.Parameter(nn.Conv2d(channels, channels, 1).weight.detach())
        self.spatial = nn.Parameter(nn.Conv2d(channels, channels, 3).weight.detach())
        self.outer = nn.Parameter(nn.Conv2d(channels, channels, 1).weight.detach())

    def forward(self, t, x, theta):
        x = self.activation(conv2d(x, self.value("inner", theta)))
        x = self.activation(conv2d(x, self.value("spatial", theta)))
        return conv2d(x, self.value("outer", theta))


@dataclass(frozen=True)
class Problem:
    """x' = f(x, θ) with a θ of its own for every sample, and the loss mean(x(T)²)."""

    field: Field
    x: Tensor
    theta: Tensor

    @classmethod
    def build(
        cls,
        batch: int = 32,
        channels: int = 16,
        size: int = 8,
        activation: str = "tanh",
        spread: float = 0.1,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> Problem:
        """θ scatters around an ordinary initialisation by ``spread`` times its entries' size."""
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            field = Block(channels, size, activation)
            start = field.release()
        noise = torch.randn(batch, len(start), generator=generator)
        theta = start + spread * start.abs().mean() * noise
        x = torch.randn(batch, *field.shape, generator=generator)
        return cls(field, x.to(dtype), theta.to(dtype).detach())

    def gradient(self, way: str, tolerance: float, max_nfe: int = 100_000) -> tuple[Tensor, Tensor, NFE]:
        """∂loss/∂x(0), ∂loss/∂θ and the evaluations, in one of :data:`WAYS`."""
        x, theta = (part.clone().requires_grad_() for part in (self.x, self.theta))
        gradients = "direct" if way == "direct" else "adjoint"
        solver = Solver(rtol=tolerance, atol=tolerance, gradients=gradients, max_nfe=max_nfe)
        end, nfe = SOLVES[way](self.field, x, theta, solver)
        found = torch.autograd.grad(end.square().mean(), (x, theta))
        return *found, nfe


def _ours(field, x, theta, solver):
    values, t = field.unpack(theta), x.new_tensor([0.0, 1.0])
    nfe = NFE()
    path = solve(lambda t, x: field(t, x, values), x, t, solver=solver, parameters=(theta,), nfe=nfe)
    return path[-1], nfe


def _torchdiffeq(f: nn.Module, state, x, solver, parameters=()):
    """torchdiffeq's own adjoint with this library's error norm, forward and backward; θ's parts do not count."""
    t = x.new_tensor([0.0, 1.0])

    def norm(parts):
        return per_sample([part.detach() for part in parts]).max()

    def backward_norm(parts):
        # t, the state, its adjoint, the parameters.
        return norm([part for part in parts[1:] if part.dim() == x.dim()])

    path = odeint_adjoint(
        f,
        state,
        t,
        rtol=solver.rtol,
        atol=solver.atol,
        options={"norm": norm},
        adjoint_options={"norm": backward_norm},
        adjoint_params=tuple(parameters),
    )
    return path[0][-1], f.nfe


class _Counted(nn.Module):
    def __init__(self, function: Callable):
        super().__init__()
        self.function, self.nfe = function, NFE()

    def forward(self, t, z):
        if torch.is_grad_enabled():
            self.nfe.backward += 1
        else:
            self.nfe.forward += 1
        return self.function(t, z)


def _parameter(field, x, theta, solver):
    values = field.unpack(theta)
    f = _Counted(lambda t, z: (field(t, z[0], values),))
    return _torchdiffeq(f, (x,), x, solver, (theta,))


def _state(field, x, theta, solver):
    f = _Counted(lambda t, z: (field(t, z[0], field.unpack(z[1])), torch.zeros_like(z[1])))
    return _torchdiffeq(f, (x, theta), x, solver)


SOLVES = {"direct": _ours, "adjoint": _ours, "parameter": _parameter, "state": _state}


@dataclass(frozen=True)
class Price:
    """Seconds of every repetition and the evaluations, by way."""

    seconds: dict[str, list[float]]
    nfe: dict[str, NFE]

    def ratio(self, way: str) -> tuple[float, float, float]:
        """Median, smallest and largest of the ratios to ``direct``, each of two runs one after the other."""
        ratios = [a / b for a, b in zip(self.seconds[way], self.seconds["direct"], strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


def price(problem: Problem, tolerance: float = 1e-3, repeats: int = 10, ways: Sequence[str] = WAYS) -> Price:
    """Processor time of one gradient in each of ``ways``, interleaved, after one round to warm up."""
    seconds, nfe = {way: [] for way in ways}, {}
    for i in range(repeats + 1):
        for way in ways:
            # Processor time: other programs on a shared machine do not count.
            start = time.process_time()
            nfe[way] = problem.gradient(way, tolerance)[-1]
            if i:
                seconds[way].append(time.process_time() - start)
    return Price(seconds, nfe)


def kept_bytes(problem: Problem, way: str, tolerance: float) -> int:
    """What autograd keeps between the forward and the backward pass, in bytes; inputs and θ are kept anyway."""
    x, theta = (part.clone().requires_grad_() for part in (problem.x, problem.theta))
    solver = Solver(rtol=tolerance, atol=tolerance, gradients="direct" if way == "direct" else "adjoint")
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        # Several operations may keep one storage; holding it keeps its address its own.
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in (x.data_ptr(), theta.data_ptr()):
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        end, _ = SOLVES[way](problem.field, x, theta, solver)
    del end
    return sum(storage.nbytes() for storage in kept.values())


def errors(problem: Problem, tolerance: float, exact: Sequence[Tensor], ways: Sequence[str]) -> dict[str, float]:
    """Relative error of the gradient with respect to x(0) and θ together, by way."""
    return {way: distance(problem.gradient(way, tolerance)[:2], exact) for way in ways}
