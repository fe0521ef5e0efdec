"""The evidence on N23: how much longer than a straight path the features move along a latent line."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.autoencoding.verdict import nearness
from ncode.reproduction.metrics.comparison import Runs, metric


def n23(sets: Mapping[str, Runs]) -> list[Evidence]:
    """AutoN-CODE's path length over a straight path's, minus the plain autoencoder's."""
    return [
        evidence.difference(
            "a",
            words,
            nearness(runs["ncode"][0].config),
            metric(runs["ncode"], "excess"),
            metric(runs["autoencoder"], "excess"),
            [*runs["ncode"], *runs["autoencoder"]],
        )
        for words, runs in sets.items()
    ]
