"""Where the controlled field of the annuli bifurcates (Section 4.1, Figs. 1, A.1), by what is steered of it.

Walk along a ray from the disk's centre to the annulus' edge: every point gets a field of its own from the open loop,
with its equilibria. Where their number of some kind changes, the field bifurcates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncode.analysis import phase
from ncode.analysis.phase import Equilibria
from ncode.models import Flow
from ncode.reproduction import profiles
from ncode.reproduction.experiments.annuli import experiment as annuli
from ncode.reproduction.runs import store
from ncode.reproduction.runs.store import Result

RADII = torch.linspace(0, annuli.OUTER, 61)
"""The points of a ray, by their distance from the centre."""

ANGLES = torch.arange(8) * (2 * torch.pi / 8)
"""The rays, by their direction."""

GAP_SHARE = (annuli.INNER - annuli.DISK) / annuli.OUTER
"""The share of a ray that lies between the classes: the share of changes that would fall there by chance."""


STEERED = {
    "*.bias": "biases",
    "*.weight": "weights",
    "*0.*": "first layer",
    "*1.*": "last layer",
    "*": "everything",
}
"""What a pattern of parameter names steers, in words."""


def portraits(flow: Flow, angle: Tensor | float) -> list[Equilibria]:
    """The equilibria, in a box of side 16, of the open loop's field for every point of one ray."""
    angle = torch.as_tensor(angle)
    x0 = RADII.unsqueeze(1) * torch.stack([torch.cos(angle), torch.sin(angle)])
    with torch.no_grad():
        theta = flow.double().initial_control(x0.double())
    return phase.equilibria(flow.field, theta, box=8.0, starts=13)


def changes(ray: Sequence[Equilibria]) -> list[float]:
    """The radii at which the portrait changes along a ray."""
    signatures = [portrait.signature for portrait in ray]
    pairs = zip(RADII[1:], signatures, signatures[1:], strict=False)
    return [float(radius) for radius, before, after in pairs if before != after]


def bifurcations(rays: Sequence[Sequence[Equilibria]]) -> dict[str, float]:
    """How the portraits of one model change along its rays.

    Returns:
        ``differs``, the share of rays whose two ends have different portraits; ``changes``, how many there are a ray;
        ``in_gap``, the share of them between the classes, 0 where there is none.
    """
    found = np.concatenate([changes(ray) for ray in rays])
    inside = (found > annuli.DISK) & (found <= annuli.INNER)
    return {
        "differs": float(np.mean([ray[0].signature != ray[-1].signature for ray in rays])),
        "changes": len(found) / len(rays),
        "in_gap": float(inside.mean()) if len(found) else 0.0,
    }


def train(config: annuli.Config, checkpoint: Path | None = None) -> Result:
    """The run of :func:`ncode.reproduction.experiments.annuli.experiment.train`, with :func:`bifurcations` of its open
    loop."""
    record = store.run(annuli.train, config)
    metrics = dict(record.metrics)
    if config.model == "open":
        flow = record.load_weights(annuli.build(config)).eval()[0]
        metrics |= bifurcations([portraits(flow, angle) for angle in ANGLES])
    return Result(metrics, record.history, data=record.provenance["data"])


def recorded() -> dict[str, Callable[[], list[annuli.Config]]]:
    """The recording behind the book: both loops, by what they steer of the field."""

    def configs() -> list[annuli.Config]:
        plan = profiles.load("annuli_steering", "paper")
        shared = {name: value for name, value in plan.items() if name not in ("seeds", "steers")}
        return [
            annuli.Config(model, seed, steer=steer, **shared)
            for seed in range(plan["seeds"])
            for steer in plan["steers"]
            for model in ("open", "closed")
        ]

    return {"annuli_steering": configs}
