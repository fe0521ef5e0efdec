"""Shared by the tests of CUDA graphs: what a graph cannot hold, and a graphed model beside the model itself."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ncode import NCODE, Field, OpenLoop, Solver
from ncode.fields.conv import ConvBlock

SOLVER = Solver(rtol=1e-5, atol=1e-5)
# Both take the same steps; h multiplies a sum here, and its terms there.
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
READS = ("_local_scalar_dense", "nonzero", "is_nonzero", "lift_fresh", "equal.default")
"""Operations that bring a number off the device, or one to it: what a graph cannot hold."""


class NoReads(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert not any(name in str(function) for name in READS), f"{function} while a graph is captured"
        return function(*args, **(kwargs or {}))


def conv(solver=SOLVER):
    torch.manual_seed(0)
    field = ConvBlock(2, 6, filters=4)
    return NCODE(field, gamma=OpenLoop(2 * 36, field.size(), hidden=(3,)), solver=solver)


def solved(call, model, x, *u):
    """x(T), its gradients with respect to x(0), u and all parameters, and the evaluations."""
    leaves = [part.detach().clone().requires_grad_() for part in (x, *u)]
    end = call(*leaves)
    found = torch.autograd.grad(end.square().sum(), [*leaves, *model.parameters()], allow_unused=True)
    return end.detach(), found, model.nfe


def must_agree(fast, x, *u):
    """``fast`` and its model give the same at x."""
    model = fast.model
    (end, found, nfe), (other, expected, eager) = solved(fast, model, x, *u), solved(model, model, x, *u)
    torch.testing.assert_close(end, other, **CLOSE)
    assert nfe.forward == eager.forward and nfe.backward > 0
    for one, two in zip(found, expected, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, **CLOSE)


def moved(model, by=0.1):
    """As an optimiser does: all parameters in place."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(by * torch.randn_like(p))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, t, x):
        return torch.sin(self.layer(x))


class Switching(Field):
    """A field that runs at another speed in evaluation."""

    def __init__(self, inner):
        super().__init__(shape=inner.shape)
        self.inner, self.steered = inner, inner.steered

    def forward(self, t, x, theta):
        return self.inner(t, x, theta) * (1.0 if self.training else 0.5)
