"""Where the controlled field of the annuli bifurcates (Section 4.1, Figs. 1, A.1), by what is steered of it.

Walk along a ray from the disk's centre to the annulus' edge: every point gets a field of its own from the open loop,
with its equilibria. Where their number of some kind changes, the field bifurcates.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncode.analysis import phase
from ncode.analysis.phase import Equilibria
from ncode.models import Flow
from ncode.reproduction.experiments import annuli
from ncode.reproduction.experiments.annuli.train import DISK, INNER, OUTER, Config
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput

RADII = torch.linspace(0, OUTER, 61)
"""The points of a ray, by their distance from the centre."""

ANGLES = torch.arange(8) * (2 * torch.pi / 8)
"""The rays, by their direction."""

GAP_SHARE = (INNER - DISK) / OUTER
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
    inside = (found > DISK) & (found <= INNER)
    return {
        "differs": float(np.mean([ray[0].signature != ray[-1].signature for ray in rays])),
        "changes": len(found) / len(rays),
        "in_gap": float(inside.mean()) if len(found) else 0.0,
    }


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """The annuli's run of ``config``, with :func:`bifurcations` of its open loop."""
    run = annuli.experiment.run(config)
    metrics = dict(run.metrics)
    if config.model == "open":
        flow = run.model()[0]
        metrics |= bifurcations([portraits(flow, angle) for angle in ANGLES])
    return RunOutput(metrics, run.history, data=run.provenance["data"])


experiment = Experiment("annuli.steering", Config, None, train, plans="ncode.reproduction.experiments.annuli.plans")
