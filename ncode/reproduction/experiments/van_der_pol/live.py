"""Van der Pol's live figure: the oscillation as μ changes, beside the one that is observed."""

from __future__ import annotations

from ncode.reproduction.experiments.van_der_pol.train import START, TRUE_MU
from ncode.reproduction.plotting import style


def data(horizon: float) -> dict:
    """Data for the kind ``oscillator``, up to the time ``horizon``."""
    return {
        "mu": TRUE_MU,
        "first": 0.5,
        "start": [START, 0.0],
        "horizon": horizon,
        "steps": 800,
        "colour": style.COLOURS["ncode"],
    }
