"""Trained models of the annuli: the fields that their points see, and the questions behind claims N9 and N10."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ncode.models import Flow
from ncode.reproduction.experiments.annuli import steering
from ncode.reproduction.metrics.comparison import metric

Records = Mapping[str, Sequence]
"""Runs by model, one a seed, all models with the same seeds in the same order."""

CONTROLLED = ("open", "closed")


@torch.no_grad()
def field_seen_by(
    flow: Flow, x0: Float[Tensor, "1 2"], time: float, side: Float[Tensor, " n"]
) -> Float[Tensor, "n n 2"]:
    """The velocity on a grid of the plane under the control of the single sample ``x0`` at a time; rows are x₂."""
    theta = flow.trajectory(x0, [0.0, max(time, 1e-6)]).theta
    u, v = torch.meshgrid(side, side, indexing="xy")
    points = torch.stack([u.reshape(-1), v.reshape(-1)], dim=1)
    # Where nothing is steered, as in NODE, all samples see one field.
    values = {} if theta is None else flow.field.unpack(theta[-1].expand(len(points), -1))
    return flow.field(torch.tensor(0.0), points, values).reshape(len(side), len(side), 2)


@torch.no_grad()
def probability(record, points: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """The probability of the disk's class that the trained model gives each point."""
    return torch.sigmoid(record.model()(points)).squeeze(1)


def along_a_ray(record) -> Float[Tensor, " radii"]:
    """:func:`probability` along the first ray."""
    return probability(record, F.pad(steering.RADII.unsqueeze(1), (0, 1)))


def portraits(record) -> list[list[steering.Equilibria]]:
    """The equilibria of the open loop's field along every ray."""
    return [steering.portraits(record.model()[0], angle) for angle in steering.ANGLES]


def changing(runs: Sequence) -> list:
    """The runs whose portraits change at all: those that say where changes lie."""
    return [run for run in runs if run.metrics["changes"] > 0]


def reached(record, level: float) -> float | int:
    """The first look at which the cross-entropy on fresh points is at most ``level``; infinite where none is."""
    looks = zip(record.history.evaluated, record.history.evaluations["cross_entropy"], strict=True)
    return next((k for k, value in looks if value <= level), math.inf)


def earlier(node, record) -> bool:
    """Whether a run reaches the cross-entropy that NODE ends with before NODE does."""
    level = node.metrics["cross_entropy"]
    return reached(record, level) < reached(node, level)


def separates(records: Records) -> dict[str, bool]:
    """The questions that decide claim N9, each asked of every seed."""
    controlled = [run for model in CONTROLLED for run in records[model]]
    pairs = [pair for model in CONTROLLED for pair in zip(records["node"], records[model], strict=True)]

    def larger(name: str) -> bool:
        return all(node.metrics[name] > run.metrics[name] for node, run in pairs)

    answers = {
        "NODE leaves part of the dense grid wrong": min(metric(records["node"], "grid_error")) > 0,
        "open and closed loop: every test point right": min(metric(controlled, "accuracy")) == 1,
        "open and closed loop: no point of the dense grid wrong": max(metric(controlled, "grid_error")) == 0,
        "their cross-entropy is smaller than NODE's": larger("cross_entropy"),
        "faster: they reach the cross-entropy that NODE ends with before NODE does": all(
            earlier(node, run) for node, run in pairs
        ),
        "simpler paths: their detours are smaller": larger("detour"),
    }
    return {name: bool(held) for name, held in answers.items()}


def all_right(records: Records) -> list[str]:
    """The models outside the claim that get every test point right on every seed."""
    return [model for model in ("anode", "data", "gamma") if min(metric(records[model], "accuracy")) == 1]


def bifurcates(found: Sequence[Mapping[str, float]]) -> dict[str, bool]:
    """The questions that decide claim N10, of :func:`steering.bifurcations` of every seed."""
    gap = [seed["in_gap"] for seed in found if seed["changes"]]
    return {
        "portraits change somewhere along the rays, on every seed": len(gap) == len(found),
        "the portraits of disk and annulus differ, on most rays of every seed": min(seed["differs"] for seed in found)
        > 0.5,
        "portraits change more often in the gap than its share of the radius, on every seed that has a change": min(
            gap, default=0.0
        )
        > steering.GAP_SHARE,
        "most changes lie in the gap, on every seed that has a change": min(gap, default=0.0) > 0.5,
    }
