"""Trained models of the reflection: the fields that their samples see, and how the controls differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ncode.models import Flow
from ncode.reproduction.experiments import reflection
from ncode.reproduction.metrics.comparison import metric

FEW = torch.linspace(-0.9, 0.9, 7).unsqueeze(1)
"""The samples whose fields and controls are looked at."""


def floor() -> float:
    """The least mean squared error of an increasing function on the test points."""
    return reflection.grid().square().mean().item()


@torch.no_grad()
def field_at(
    model: Flow, x0: Float[Tensor, "samples 1"], time: float, x: Float[Tensor, "points 1"]
) -> Float[Tensor, "samples points"]:
    """The field f(x, θ_i(time)) that each sample of ``x0`` sees at a time."""
    theta = model.trajectory(x0, [0.0, time or 1e-6]).theta[-1]
    fields = [model.field(torch.tensor(0.0), x, model.field.unpack(row.expand(len(x), -1))) for row in theta]
    return torch.stack(fields)[..., 0]


@torch.no_grad()
def control_spread(record, x0: Float[Tensor, "samples 1"] = FEW) -> Float[Tensor, "2"]:
    """How much θ differs between samples at the start and at the end: its standard deviation over them, averaged over
    its entries."""
    return record.model().trajectory(x0, [0.0, 1.0]).theta.std(1).mean(1)


@torch.no_grad()
def keeps_order(record, tolerance: float = 1e-3) -> bool:
    """Whether the model's map is increasing on the test points, up to the solver's tolerance."""
    end = record.model()(reflection.grid())[:, 0]
    return bool((end.diff() >= -tolerance).all())


def checks(records: Mapping[str, Sequence]) -> dict[str, bool]:
    """The questions that decide claim N8."""
    mse = {model: metric(runs, "mse") for model, runs in records.items()}
    first, last = control_spread(records["open"][0])
    moving = [control_spread(record) for record in records["closed"]]
    return {
        "NODE stays at 1/3, within 0.32 to 0.35, on every seed": bool(
            ((mse["node"] >= 0.32) & (mse["node"] <= 0.35)).all()
        ),
        "open loop of a single parameter: mean squared error at most 10⁻³, mean over seeds": bool(
            mse["single"].mean() <= 1e-3
        ),
        "open loop of all parameters: mean squared error at most 10⁻³, mean over seeds": bool(
            mse["open"].mean() <= 1e-3
        ),
        "closed loop: mean squared error at most 10⁻⁴, mean over seeds": bool(mse["closed"].mean() <= 1e-4),
        "by different means: the open loop's θ differs between samples from the start and is constant "
        "(by construction)": bool(first > 0 and torch.isclose(first, last)),
        "the closed loop's θ is the same for all samples at first (by construction) and differs at the end, on every "
        "seed": all(bool(start < 1e-6 and end > 0.01) for start, end in moving),
    }


def also_reach(records: Mapping[str, Sequence], level: float = 1e-3) -> list[str]:
    """The models outside the claim whose mean squared error is at most ``level``, mean over seeds."""
    return [model for model in ("anode", "data") if np.mean(metric(records[model], "mse")) <= level]
