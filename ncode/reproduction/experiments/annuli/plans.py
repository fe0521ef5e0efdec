"""Recordings of the annuli: both loops, by what they steer of the field."""

from __future__ import annotations

from ncode.reproduction import profiles
from ncode.reproduction.experiments.annuli.train import Config
from ncode.reproduction.runs.experiment import Plan


def plans() -> list[Plan[Config]]:
    """One recording."""
    return [Plan("annuli_steering", steered)]


def steered() -> list[Config]:
    """Both loops for everything that they may steer; all of a seed before the next seed."""
    table = profiles.recorded("annuli")["steering"]
    return [
        Config(model, seed, steer=steer, **table.settings)
        for seed in range(table.options["seeds"])
        for steer in table.options["steers"]
        for model in ("open", "closed")
    ]
