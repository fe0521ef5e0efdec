"""Variations of N-CODE on images: both readings of γ, γ regularised, and the flow regularised.

Each variation is one change of a fixed configuration. All are trained once, on a seed of their own; validation images
choose from them; and what was chosen is trained again on other seeds, beside the fixed configuration. Of ANODE there
are variations too, fewer of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ncode.reproduction import profiles
from ncode.reproduction.experiments.image_classification.train import Config, experiment
from ncode.reproduction.profiles import Profile
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Plan, Run

FIXED = "fixed"
"""The configuration that the variations change."""

TUNED = {
    FIXED: {},
    "rate / 3": {"learning_rate": 1 / 3},
    "rate × 3": {"learning_rate": 3.0},
    "decay 0.3": {"decay": 0.3},
    "decay 3": {"decay": 3.0},
}
"""What both models are tuned by; a learning rate is a multiple of the fixed one."""

READINGS = {"linear γ": {"activation": ""}, "ReLU γ": {"activation": "relu"}}
"""γ where it is not tanh: the paper's other reading, and the first with its other activation."""

GAMMA = {
    **READINGS,
    "spread 0.1": {"spread": 0.1},
    "dropout 0.1": {"dropout": 0.1},
    "dropout 0.3": {"dropout": 0.3},
    "deviation 0.1": {"deviation": 0.1},
    "deviation 1": {"deviation": 1.0},
}
"""What else the open loop is tuned by."""

KINETIC = {"kinetic 1": {"kinetic": 1.0}, "kinetic 10": {"kinetic": 10.0}}
JACOBIAN = {"Jacobian 0.1": {"jacobian": 0.1}, "Jacobian 1": {"jacobian": 1.0}}

CALM = {**KINETIC, **JACOBIAN}
"""What regularises the flow and not γ: its weight in the loss."""

VARIATIONS = {"anode": TUNED, "open": {**TUNED, **GAMMA, **CALM}}
"""By model and name, the fields that a variation changes."""

SEED = 100
"""What the variations are trained on before one is chosen: no seed of the comparison."""


def variation(model: str, name: str, seed: int, settings: Mapping[str, Any]) -> Config:
    """The configuration of one variation.

    Args:
        settings: of the fixed configuration.
    """
    fields = dict(VARIATIONS[model][name])
    if "learning_rate" in fields:
        fields["learning_rate"] *= settings["learning_rate"]
    return Config(model, seed, **{**settings, **fields})


def beside(
    fixed: Mapping[str, list[Run]], names: Iterable[str], settings: Mapping[str, Any]
) -> dict[str, tuple[tuple[str, str], list[Run]]]:
    """Run the open loop's variations ``names`` on the seeds of the fixed configuration's runs.

    Args:
        fixed: the fixed configuration's runs by model, ``anode`` and ``open`` among them.

    Returns:
        By role, as of :func:`chosen`, a variation (model, name) and its runs; the fixed configuration's come first.
    """
    seeds = [run.config.seed for run in fixed["open"]]
    made = {"ANODE": (("anode", FIXED), fixed["anode"]), "open loop": (("open", FIXED), fixed["open"])}
    for name in names:
        varied = [experiment.run(variation("open", name, seed, settings)) for seed in seeds]
        made[f"open loop, {name}"] = ("open", name), varied
    return made


def named(made: Iterable, settings: Mapping[str, Any]) -> dict[tuple[str, str], list]:
    """Runs, live or recorded, by model and name of their variation, in the order of :data:`VARIATIONS`."""
    made, found = list(made), {}
    for model, names in VARIATIONS.items():
        for name in names:
            wanted = variation(model, name, 0, settings)
            if here := [run for run in made if replace(run.config, seed=0) == wanted]:
                found[model, name] = here
    return found


def best(tuned: Mapping[tuple[str, str], list], model: str, names: Iterable[str]) -> str:
    """The name of the variation of ``model`` with the lowest validation loss."""
    return min((n for n in names if (model, n) in tuned), key=lambda n: tuned[model, n][0].metrics["validation_loss"])


def calmest(tuned: Mapping[tuple[str, str], list], names: Iterable[str], slack: float = 0.01) -> str:
    """Of the open loop's variations ``names`` the one whose flow needs the fewest evaluations at equal accuracy.

    Equal is a validation accuracy of at most ``slack`` below the fixed configuration's; where none has it, the most
    accurate.
    """
    metrics = {name: tuned["open", name][0].metrics for name in (FIXED, *names)}
    floor = metrics[FIXED]["validation_accuracy"] - slack
    equal = [name for name in names if metrics[name]["validation_accuracy"] >= floor]
    if not equal:
        return max(names, key=lambda name: metrics[name]["validation_accuracy"])
    return min(equal, key=lambda name: (metrics[name]["nfe_adaptive"], -metrics[name]["validation_accuracy"]))


def chosen(tuned: Mapping[tuple[str, str], list]) -> dict[str, tuple[str, str]]:
    """What is compared, by role: the fixed configurations, the best of each model, both readings, the calm flows."""
    return {
        "ANODE": ("anode", FIXED),
        "ANODE, tuned": ("anode", best(tuned, "anode", TUNED)),
        "open loop": ("open", FIXED),
        "open loop, tuned": ("open", best(tuned, "open", {**TUNED, **GAMMA})),
        **{f"open loop, {name}": ("open", name) for name in READINGS},
        "open loop, kinetic": ("open", calmest(tuned, list(KINETIC))),
        "open loop, Jacobian": ("open", calmest(tuned, list(JACOBIAN))),
    }


def tuning(settings: Mapping[str, Any]) -> list[Config]:
    """Every variation of both models, once."""
    return [variation(model, name, SEED, settings) for model, names in VARIATIONS.items() for name in names]


def comparison(settings: Mapping[str, Any], tuned: Iterable, seeds: int) -> list[Config]:
    """What :func:`chosen` takes from the runs of :func:`tuning`, on every seed; no run twice, whole seeds first."""
    roles = dict.fromkeys(chosen(named(tuned, settings)).values())
    return [variation(model, name, seed, settings) for seed in range(seeds) for model, name in roles]


def tables() -> dict[str, Profile]:
    """Every comparison's table in ``profiles.toml``, by the recording's name."""
    return {
        f"image_classification_gamma_{name}": table for name, table in profiles.recorded("image_regularisation").items()
    }


def plans() -> list[Plan[Config]]:
    """For each table its tuning, and then the comparison, which reads the tuning's recording."""
    made = []
    for name, table in tables().items():
        made.append(Plan(f"{name}_tuning", functools.partial(tuning, table.settings)))
        made.append(Plan(name, functools.partial(_from_recording, f"{name}_tuning", table)))
    return made


def _from_recording(name: str, table: Profile) -> list[Config]:
    return comparison(table.settings, recordings.load(name), table.options["seeds"])
