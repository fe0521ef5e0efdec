"""The evidence on N7: whether μ is recovered, and whether a static field does better than a monotone curve."""

from __future__ import annotations

from collections.abc import Sequence

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.van_der_pol.train import is_close


def n7(fits: Sequence, nodes: Sequence, nearness: str) -> list[Evidence]:
    """From fits of μ on several noise seeds, and from static neural ODEs.

    Args:
        fits: N-CODE's, at one horizon.
        nodes: neural ODEs on the line, with the error of the best monotone curve as their metric ``floor``.
    """
    recovered = all(is_close(run.array("mu")).all() for run in fits)
    # The floor is that of the observations; a thousandth allows for the solver's error.
    monotone = all(run.metrics["mse"] >= run.metrics["floor"] - 1e-3 for run in nodes)
    horizon = f"T = {fits[0].config.horizon:g}"
    return [
        evidence.exact("a", f"{horizon}, {fits[0].config.starts} starts", nearness, recovered, len(fits), fits),
        evidence.exact("b", f"T = {nodes[0].config.horizon:g}", nearness, monotone, len(nodes), nodes),
    ]
