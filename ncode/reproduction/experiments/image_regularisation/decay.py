"""Weight decay of γ, from none to where θ hardly differs between images: the open loop on its way to ANODE.

γ's heads share a bias, which decay leaves free. An open loop whose γ has no matrices left is ANODE, with that bias for
its kernels. So decay that brings the open loop to ANODE's accuracy may do so because it makes it ANODE; each run says
how much θ still differs. Both models have the same trials: every rate with every decay, on a seed that is used for
nothing else, and the lowest validation loss chooses. Then the whole series of decays, at the open loop's rate, is
trained on other seeds. The best few of each model's trials are tried on all images, and the best of these compared.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

from ncode.reproduction import profiles
from ncode.reproduction.experiments.image_classification.train import Config
from ncode.reproduction.experiments.image_regularisation.variations import SEED
from ncode.reproduction.profiles import Profile
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Plan

MODELS = ("anode", "open")
"""What is compared; of ANODE its kernels decay."""

Trial = tuple[float, float]
"""A learning rate and a weight decay."""


def name_of(table: str) -> str:
    """The name of a table's recording; that of its trials ends with ``_tuning``."""
    return f"image_classification_decay_{table}"


def tables() -> dict[str, Profile]:
    """Every study's table in ``profiles.toml``, by name."""
    return profiles.recorded("image_regularisation_decay")


def config(table: Profile, model: str, trial: Trial, seed: int) -> Config:
    """One run of a study."""
    rate, decay = trial
    return Config(model, seed, **{**table.settings, "learning_rate": rate, "decay": decay})


def grid(table: Profile) -> list[Trial]:
    """Every rate with every decay."""
    return [(rate, decay) for rate in table.options["rates"] for decay in table.options["decays"]]


def trials(name: str) -> dict[str, list[Trial]]:
    """What each model is tried at in the study ``name``: the whole grid, or the best few of another study's trials.

    Raises:
        ValueError: when not every trial of the other study is recorded.
    """
    table = tables()[name]
    if "finalists_of" not in table.options:
        return dict.fromkeys(MODELS, grid(table))
    first = tried(table.options["finalists_of"])
    if not first:
        raise ValueError(f"{name}: the trials of {table.options['finalists_of']} are not all recorded")
    kept = table.options["finalists"]
    return {model: sorted(losses, key=losses.get)[:kept] for model, losses in first.items()}


def tuning(name: str) -> list[Config]:
    """The study's trials, once each, the models in turn."""
    each = zip(*([(model, trial) for trial in wanted] for model, wanted in trials(name).items()), strict=True)
    return [config(tables()[name], model, trial, SEED) for pair in each for model, trial in pair]


def tried(name: str) -> dict[str, dict[Trial, float]]:
    """Validation loss by model and trial, infinite where it was not finite; empty unless every trial is recorded."""
    made = {run.config: run.metrics["validation_loss"] for run in recordings.find(f"{name_of(name)}_tuning")}
    try:
        planned = tuning(name)
    except ValueError:
        return {}
    if any(of not in made for of in planned):
        return {}
    losses: dict[str, dict[Trial, float]] = {model: {} for model in MODELS}
    for of in planned:
        loss = made[of]
        losses[of.model][of.learning_rate, of.decay] = loss if math.isfinite(loss) else math.inf
    return losses


def best(losses: dict[Trial, float], among: Iterable[Trial] | None = None) -> Trial:
    """The trial with the lowest validation loss, of all or of some."""
    return min(losses if among is None else among, key=losses.get)


def roles(name: str) -> dict[str, tuple[str, Trial]]:
    """What the study compares, by role: a model and what it is trained at. Empty unless every trial is recorded.

    The best ANODE; the best open loop; the best without decay of those of both that were tried; and where the whole
    grid was tried, the open loop at its rate with every decay.
    """
    losses = tried(name)
    if not losses:
        return {}
    found = {}
    for model, label in (("anode", "ANODE"), ("open", "open loop")):
        found[f"{label}, tuned"] = model, best(losses[model])
        if free := [trial for trial in losses[model] if not trial[1]]:
            found[f"{label}, without decay"] = model, best(losses[model], free)
    if "decays" in tables()[name].options:
        rate, _ = best(losses["open"])
        for decay in tables()[name].options["decays"]:
            found[f"open loop, decay {decay:g}"] = "open", (rate, decay)
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
    return [config(table, model, trial, seed) for seed in range(table.options["seeds"]) for model, trial in wanted]


def plans() -> list[Plan[Config]]:
    """Every study's trials, and then its comparison."""
    made = []
    for name in tables():
        made.append(Plan(f"{name_of(name)}_tuning", functools.partial(tuning, name)))
        made.append(Plan(name_of(name), functools.partial(comparison, name)))
    return made
