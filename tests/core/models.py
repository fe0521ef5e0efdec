"""One small model of every kind, for tests that hold for all of them."""

from __future__ import annotations

import torch
from torch import nn

from ncode import (
    MLP,
    NCODE,
    AugmentedNeuralODE,
    ClosedLoop,
    DataControlledODE,
    Field,
    Flow,
    NeuralODE,
    OpenLoop,
    Solver,
)

KINDS = ("node", "anode", "data", "open", "closed", "both", "some")
"""``both`` has γ and g; ``some`` steers one bias and leaves the rest of the field to itself."""


def build(kind: str, solver: Solver, dim: int = 2, hidden: int = 4, seed: int = 0, spread: float = 1.0) -> Flow:
    """The model called ``kind``; a ``spread`` of 1 makes its samples' fields differ much."""
    torch.manual_seed(seed)
    if kind == "node":
        return NeuralODE(MLP(dim, (hidden,)), solver=solver)
    if kind == "anode":
        return AugmentedNeuralODE(MLP(dim + 1, (hidden,)), augment=1, solver=solver)
    if kind == "data":
        return DataControlledODE(MLP(dim, (hidden,), inputs=dim), solver=solver)
    field = MLP(dim, (hidden,))
    steer = "layers.0.bias" if kind == "some" else "*"
    m = field.size(steer)
    gamma = OpenLoop(dim, m, hidden=(3,), spread=spread) if kind != "closed" else None
    g = ClosedLoop(dim, m, hidden=(3,), spread=spread) if kind in ("closed", "both") else None
    return NCODE(field, gamma=gamma, g=g, steer=steer, solver=solver)


class Dropped(Field):
    """A random field: while it trains, it drops half of its state at every evaluation."""

    def __init__(self):
        super().__init__(shape=(2,))
        self.drop = nn.Dropout(0.5)

    def forward(self, t, x, theta):
        return -self.drop(x)


class Switched(Field):
    """x' = early x before t = 1/2, and late x from then on."""

    def __init__(self):
        super().__init__(shape=(1,))
        self.early, self.late = (nn.Parameter(torch.tensor([rate])) for rate in (0.5, 1.0))

    def forward(self, t, x, theta):
        return torch.where(t < 0.5, self.early, self.late) * x
