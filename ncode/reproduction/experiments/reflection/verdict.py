"""The evidence on N8: how far each model is from the reflection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.metrics.comparison import metric


def n8(runs: Mapping[str, Sequence], nearness: str) -> list[Evidence]:
    """The mean squared error of NODE, of the open loop of a single parameter, and of the closed loop, by model."""
    parts = {"a": "node", "b": "single", "c": "closed"}
    return [
        evidence.mean(part, "x ~ U[-1, 1]", nearness, metric(runs[model], "mse"), runs[model])
        for part, model in parts.items()
    ]
