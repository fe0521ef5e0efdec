"""Recordings of the toy functions: every study at the paper's scale."""

from __future__ import annotations

import functools

from ncode.reproduction import profiles
from ncode.reproduction.experiments.augmentation.train import Config
from ncode.reproduction.runs.experiment import Plan


def plans() -> list[Plan[Config]]:
    """One recording for each study."""
    studies = profiles.load("augmented_neural_odes", "paper").options["studies"]
    return [Plan(f"augmentation_{study}", functools.partial(configs, study, "paper")) for study in studies]


def configs(study: str, profile: str) -> list[Config]:
    """The configurations of one study in a profile: all p of a seed before the next seed."""
    options = profiles.load("augmented_neural_odes", profile).options
    table = profiles.parted(options["studies"][study])
    settings = {"epochs": options["epochs"][study], **table.settings}
    augments = table.options["augments"]
    return [Config(augment=p, seed=seed, **settings) for seed in range(options["seeds"]) for p in augments]
