"""The reflection's live figure: paths on the line, and the field that the chosen sample is given."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ncode.models import Flow
from ncode.reproduction.experiments.reflection.train import Config
from ncode.reproduction.interactive import export
from ncode.reproduction.plotting import style


def data(models: Mapping[str, Flow]) -> dict:
    """Trained models by name, as data for the kind ``line``."""
    return {
        "models": {
            name: {
                "label": style.LABELS[name],
                "colour": style.COLOURS[name],
                "system": export.flow(model, Config.horizon),
            }
            for name, model in models.items()
        },
        "first": "open" if "open" in models else next(iter(models)),
        "start": 0.6,
        "steps": 40,
        "box": 1.6,
        "samples": torch.linspace(-1, 1, 11).tolist(),
    }
