"""The annuli's live figure: any sample of the plane, the field that it is given, and its path."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ncode.models import Flow
from ncode.reproduction.experiments import annuli
from ncode.reproduction.interactive import export
from ncode.reproduction.plotting import style

STEPS = 40
CROWD = 80

LEAST, MOST = 2.0, 8.0
"""Bounds of the plane that is shown: all of the annulus, and no more than leaves it to be seen."""


def data(models: Mapping[str, nn.Sequential]) -> dict:
    """Trained models as data for the kind ``plane``.

    Args:
        models: by name, a flow and its linear readout each.
    """
    x, y = annuli.sample(CROWD, 0)
    return {
        "models": {
            name: {
                "label": style.LABELS[name],
                "colour": style.COLOURS[name],
                "system": export.flow(model[0], annuli.Config.horizon),
                "readout": {"weight": model[1].weight[0].tolist(), "bias": model[1].bias.item()},
                "box": _box(model[0], x),
            }
            for name, model in models.items()
        },
        "first": "open" if "open" in models else next(iter(models)),
        "start": [0.3, 0.0],
        "steps": STEPS,
        "classes": [style.CLASSES[1], style.CLASSES[0]],
        "crowd": export.points(x, y),
    }


def _box(flow: Flow, x: Tensor) -> float:
    """Half the side of the plane in which most samples' paths end."""
    with torch.no_grad():
        ends = flow(x)[:, :2].abs().amax(1)
    return float(ends.quantile(0.9).clamp(LEAST, MOST).mul(1.15))
