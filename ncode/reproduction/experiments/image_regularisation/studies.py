"""Studies of the open loop beside ANODE: variants with as many trials each, and what their validation loss chooses.

A study trains each of its variants at every learning rate with every weight decay, on a seed that is used for nothing
else. The lowest validation loss chooses, and what it chose is trained on other seeds.

*What decay does.* γ's heads share a bias, which decay leaves free. An open loop whose γ has no matrices left is ANODE,
with that bias for its kernels. So decay that brings the open loop to ANODE's accuracy may do so because it makes it
ANODE. This study trains the whole series of decays; the best few of its trials are tried once more on all images.

*Causes.* Each variant takes away, or changes, one thing that may hold the open loop back.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

from ncode.reproduction import profiles
from ncode.reproduction.experiments.image_classification.train import Config
from ncode.reproduction.experiments.image_regularisation.variations import SEED
from ncode.reproduction.profiles import Profile
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Plan

ANODE, OPEN = "ANODE", "open loop"

VARIANTS: dict[str, dict[str, Any]] = {
    ANODE: {"model": "anode"},
    "ANODE of as many parameters": {"model": "anode", "filters": 63},
    "ANODE, twice the steps": {"model": "anode", "steps": 4},
    OPEN: {"model": "open"},
    "open loop, twice the steps": {"model": "open", "steps": 4},
    "γ at a tenth of the rate": {"model": "open", "gamma_rate": 0.1},
    "γ reads nothing": {"model": "open", "reads": "nothing"},
    "γ reads another image": {"model": "open", "reads": "another"},
    "γ reads convolutions": {"model": "open", "reads": "convolutions"},
}
"""By name what a variant changes of a study's settings; of ANODE all kernels decay, of the open loop γ's matrices."""

Trial = tuple[float, float]
"""A learning rate and a weight decay."""


def name_of(table: str) -> str:
    """The name of a study's recording; that of its trials ends with ``_tuning``."""
    return f"image_classification_{table}"


def tables() -> dict[str, Profile]:
    """Every study's table in ``profiles.toml``, by name."""
    return profiles.recorded("image_regularisation_studies")


def config(table: Profile, variant: str, trial: Trial, seed: int) -> Config:
    """One run of a study."""
    rate, decay = trial
    return Config(seed=seed, **{**table.settings, **VARIANTS[variant], "learning_rate": rate, "decay": decay})


def trials(name: str) -> dict[str, list[Trial]]:
    """What each variant is tried at in the study ``name``: the whole grid, or the best few of another study's trials.

    The variants are those that its table names, or all of the other study's.

    Raises:
        ValueError: when not every trial of the other study is recorded.
    """
    options = tables()[name].options
    if "finalists_of" not in options:
        grid = [(rate, decay) for rate in options["rates"] for decay in options["decays"]]
        return dict.fromkeys(options["variants"], grid)
    first = tried(options["finalists_of"])
    if not first:
        raise ValueError(f"{name}: the trials of {options['finalists_of']} are not all recorded")
    kept = options.get("variants", list(first))
    return {variant: sorted(first[variant], key=first[variant].get)[: options["finalists"]] for variant in kept}


def tuning(name: str) -> list[Config]:
    """The study's trials, once each, the variants in turn."""
    each = zip(*([(variant, trial) for trial in wanted] for variant, wanted in trials(name).items()), strict=True)
    return [config(tables()[name], variant, trial, SEED) for row in each for variant, trial in row]


def tried(name: str) -> dict[str, dict[Trial, float]]:
    """Validation loss by variant and trial, infinite where it was not finite; empty unless every trial is recorded."""
    made = {run.config: run.metrics["validation_loss"] for run in recordings.find(f"{name_of(name)}_tuning")}
    try:
        planned = trials(name)
    except ValueError:
        return {}
    losses: dict[str, dict[Trial, float]] = {}
    for variant, wanted in planned.items():
        for trial in wanted:
            # A single trial needs no choice, and is not tried.
            loss = made.get(config(tables()[name], variant, trial, SEED)) if len(wanted) > 1 else 0.0
            if loss is None:
                return {}
            losses.setdefault(variant, {})[trial] = loss if math.isfinite(loss) else math.inf
    return losses


def best(losses: dict[Trial, float], among: Iterable[Trial] | None = None) -> Trial:
    """The trial with the lowest validation loss, of all or of some."""
    return min(losses if among is None else among, key=losses.get)


def roles(name: str) -> dict[str, tuple[str, Trial]]:
    """What the study compares, by role: a variant and what it is trained at. Empty unless every trial is recorded.

    Each variant, tuned; where decays were tried, each at its best without; and where all of them were, the open loop
    with every decay at its rate.
    """
    options, losses = tables()[name].options, tried(name)
    found = {}
    for variant, tuned in losses.items():
        found[f"{variant}, tuned"] = variant, best(tuned)
        free = [trial for trial in tuned if not trial[1]]
        if 0 < len(free) < len(tuned):
            found[f"{variant}, without decay"] = variant, best(tuned, free)
    if losses and len(decays := options.get("decays", ())) > 1:
        rate, _ = best(losses[OPEN])
        for decay in decays:
            found[f"{OPEN}, decay {decay:g}"] = OPEN, (rate, decay)
    return found


def comparison(name: str) -> list[Config]:
    """What :func:`roles` names, on every seed; no run twice, whole seeds first.

    Raises:
        ValueError: when not every trial is recorded.
    """
    wanted = dict.fromkeys(roles(name).values())
    if not wanted:
        raise ValueError(f"{name}: not every run of {name_of(name)}_tuning is recorded, which says what to compare")
    table = tables()[name]
    return [config(table, variant, trial, seed) for seed in range(table.options["seeds"]) for variant, trial in wanted]


def plans() -> list[Plan[Config]]:
    """Every study's trials, where there is something to choose, and then its comparison."""
    made = []
    for name, table in tables().items():
        if table.options.get("finalists") != 1:
            made.append(Plan(f"{name_of(name)}_tuning", functools.partial(tuning, name)))
        made.append(Plan(name_of(name), functools.partial(comparison, name)))
    return made
