"""What the tests of the adjoint and of its backward solve share: tight solvers, and a model of every kind."""

from __future__ import annotations

import torch

import ncode

TIGHT = 1e-11


def tight(**options):
    return ncode.Solver(**{"rtol": TIGHT, "atol": TIGHT, "gradients": "adjoint"} | options)


def relative(a, b):
    flat = [torch.cat([g.detach().reshape(-1) for g in gradient]) for gradient in (a, b)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def open_loop(dim=2, spread=1.0, dtype=torch.float64):
    field = ncode.MLP(dim, [6])
    gamma = ncode.OpenLoop(dim, field.size(), hidden=[5], spread=spread)
    return ncode.NCODE(field, gamma=gamma).to(dtype)


def closed_loop(dim=2, dtype=torch.float64):
    field = ncode.MLP(dim, [6])
    m = field.size()
    g = ncode.ClosedLoop(dim, m, hidden=[5], spread=0.5)
    return ncode.NCODE(field, gamma=ncode.OpenLoop(dim, m, spread=1.0), g=g).to(dtype)


MODELS = {
    "neural ODE": lambda dtype=torch.float64: ncode.NeuralODE(ncode.MLP(2, [6])).to(dtype),
    "augmented": lambda dtype=torch.float64: ncode.AugmentedNeuralODE(ncode.MLP(3, [6]), augment=1).to(dtype),
    "data control": lambda dtype=torch.float64: ncode.DataControlledODE(ncode.MLP(2, [6], inputs=2)).to(dtype),
    "open loop": lambda dtype=torch.float64: open_loop(dtype=dtype),
    "closed loop": lambda dtype=torch.float64: closed_loop(dtype=dtype),
}
