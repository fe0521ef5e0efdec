"""Recordings of the annuli: the loops, by what they steer of the field."""

from __future__ import annotations

import functools

from ncode.reproduction import profiles
from ncode.reproduction.experiments.annuli.train import Config
from ncode.reproduction.profiles import Profile
from ncode.reproduction.runs.experiment import Plan


def plans() -> list[Plan[Config]]:
    """One recording for every table of ``recorded.annuli``."""
    tables = profiles.recorded("annuli")
    return [Plan(f"annuli_{name}", functools.partial(steered, table)) for name, table in tables.items()]


def steered(table: Profile) -> list[Config]:
    """The loops for everything that they may steer; all of a seed before the next seed."""
    options = table.options
    first = options.get("first_seed", 0)
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in table.settings.items()}
    return [
        Config(model, seed, steer=steer, **settings)
        for seed in range(first, first + options["seeds"])
        for steer in options["steers"]
        for model in options.get("models", ("open", "closed"))
    ]
