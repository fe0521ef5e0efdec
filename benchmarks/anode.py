"""Nested spheres in the plane as ANODE's public code trains them, beside the same training by this library.

That code's model, loop and settings (github.com/EmilienDupont/augmented-neural-odes, its example notebook: 1000 and
2000 points, batches of 64, width 32, a field that sees the time, dopri5 at 1e-3, Adam at 1e-3, 12 epochs) are written
again here, without its plots and prints. Both begin at the same weights and see the same points; their batches'
order differs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchdiffeq import odeint

from ncode.reproduction.experiments.augmentation.train import Config, Regressor, build, sample
from ncode.training import Batches, fit


class Field(nn.Module):
    """Its ODEFunc: two hidden layers of ReLUs, the time before the state."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.nfe = 0
        self.fc1, self.fc2, self.fc3 = nn.Linear(dim + 1, width), nn.Linear(width, width), nn.Linear(width, dim)
        self.non_linearity = nn.ReLU(inplace=True)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        self.nfe += 1
        t_vec = torch.ones(x.shape[0], 1).to(x.device) * t
        out = self.non_linearity(self.fc1(torch.cat([t_vec, x], 1)))
        return self.fc3(self.non_linearity(self.fc2(out)))


class Net(nn.Module):
    """Its ODENet with direct gradients."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.odefunc, self.linear_layer = Field(dim, width), nn.Linear(dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.odefunc.nfe = 0
        times = torch.tensor([0, 1]).float().type_as(x)
        out = odeint(self.odefunc, x, times, rtol=1e-3, atol=1e-3, method="dopri5", options={"max_num_steps": 1000})
        return self.linear_layer(out[1])


class Points(Dataset):
    """Its data set: a list of points and one of targets."""

    def __init__(self, x: Tensor, y: Tensor):
        self.data, self.targets = list(x), list(y[:, None])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.data[index], self.targets[index]

    def __len__(self) -> int:
        return len(self.data)


def settings(seed: int) -> Config:
    return Config("shells", dim=2, augment=0, matched=0, seed=seed)


def _theirs(config: Config) -> Net:
    ours, model = build(config), Net(config.dim, config.hidden)
    values = [part.detach().clone() for part in ours.parameters()]
    # The time lies before the state there, and after it here.
    values[0] = values[0].roll(1, dims=1)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(value)
    return model


def theirs(config: Config) -> dict[str, float]:
    """Train by their loop: the last epoch's mean loss and evaluations."""
    model, (x, y) = _theirs(config), sample(config, 2 * config.seed)
    loader = DataLoader(Points(x, y), batch_size=config.batch, shuffle=True)
    optimizer, loss_func = torch.optim.Adam(model.parameters(), lr=config.learning_rate), nn.SmoothL1Loss()
    losses, counts = [], []
    for _ in range(config.epochs):
        for x_batch, y_batch in loader:
            optimizer.zero_grad()
            y_pred = model(x_batch)
            counts.append(model.odefunc.nfe)
            loss = loss_func(y_pred, y_batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    last = len(loader)
    return {"loss": statistics.fmean(losses[-last:]), "nfe": statistics.fmean(counts[-last:])}


def ours(config: Config) -> dict[str, float]:
    """Train as this library's experiment does: the last epoch's mean loss and evaluations."""
    model = build(config)
    x, y = sample(config, 2 * config.seed)
    batches = Batches(x, y, size=config.batch, seed=config.seed)
    last = batches.per_epoch

    def loss(model: Regressor, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict]:
        return F.smooth_l1_loss(model(batch[0]), batch[1]), {}

    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    history = fit(model, loss, batches, config.epochs * last, optimiser, label="shells")
    return {"loss": statistics.fmean(history.loss[-last:]), "nfe": statistics.fmean(history.nfe_forward[-last:])}


WAYS: dict[str, Callable[[Config], dict[str, float]]] = {"ncode": ours, "ANODE's public code": theirs}


def solve(config: Config) -> tuple[Callable, Callable, Callable]:
    """One iteration of ours, cut in three: the solve, its gradient, and the whole with loss and optimiser."""
    model = build(config)
    x, y = (part[: config.batch] for part in sample(config, 2 * config.seed))
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    parameters = list(model.flow.parameters())

    def back(end: Tensor) -> None:
        torch.autograd.grad(end, parameters, torch.ones_like(end))

    def iteration() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.smooth_l1_loss(model(x), y).backward()
        optimiser.step()

    return lambda: model.flow(x), back, iteration
