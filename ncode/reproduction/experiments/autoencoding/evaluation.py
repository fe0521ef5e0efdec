"""What pages share that evaluate the autoencoders of the page on autoencoding: settings, runs, recordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ncode.reproduction import profiles
from ncode.reproduction.data.downloads import DataError
from ncode.reproduction.experiments.autoencoding import experiment as autoencoding
from ncode.reproduction.experiments.autoencoding import latents
from ncode.reproduction.experiments.autoencoding.analysis import chosen, setting
from ncode.reproduction.experiments.digit_features import experiment as digit_features
from ncode.reproduction.metrics import features
from ncode.reproduction.metrics.comparison import Runs, by_model
from ncode.reproduction.metrics.features import FeatureError
from ncode.reproduction.plotting import style
from ncode.reproduction.runs import recordings, store
from ncode.reproduction.runs.recordings import Recorded
from ncode.reproduction.runs.store import Record

WITHOUT_DOWNLOAD = {"dataset": "digits", "variant": "", "kind": "perceptron", "likelihood": "bernoulli"}
"""What takes the place of data that cannot be had."""

COLOURS = {"ncode": "autoncode"}
"""Under which name :mod:`ncode.reproduction.plotting.style` knows a model, where it is not its own."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an evaluating page runs.

    Attributes:
        seeds: how many; those of the autoencoders.
        settings: the autoencoders', with the normalisation and scale that their page chose, and the page's own.
        missing: what to say where data or judge cannot be had, and what takes their place.
    """

    seeds: int
    settings: dict
    missing: str


def plan(profile: str, own: Mapping) -> Plan:
    """The autoencoders' settings in ``profile``, as their own page uses them, and a page's own settings.

    So the same models are found, whichever page runs first. Where InceptionV3 is to judge and its weights cannot be
    had, EfficientNet-Lite0 does, and the plan says so.
    """
    planned = profiles.load("autoencoding", profile)
    known = {field.name for field in dataclasses.fields(autoencoding.Config)}
    settings, missing = {name: value for name, value in planned.items() if name in known}, ""
    try:
        autoencoding.prepare(settings["dataset"], settings.get("variant", ""), settings.get("images", 0))
    except DataError as error:
        settings |= WITHOUT_DOWNLOAD
        missing = f"The data cannot be had here; digits take their place. {error}"
    own = dict(own)
    if own.get("inception"):
        try:
            features.inception_v3()
        except FeatureError as error:
            own["inception"] = False
            missing = f"{missing} EfficientNet-Lite0 judges. {error}".strip()
    best = chosen(autoencoding.Config("ncode", 0, **settings), planned["scales"])
    settings |= {"normalisation": best.normalisation, "scale": best.scale}
    return Plan(planned["seeds"], settings | own, missing)


def autoencoders(evaluations: Runs, config: type[latents.Config]) -> list[Record]:
    """The runs of the autoencoders that live evaluations are of."""
    configs = [config(**run.config) for of_model in evaluations.values() for run in of_model]
    known = [one for one in configs if one.model in autoencoding.MODELS]
    return [store.run(autoencoding.train, latents.autoencoder_config(one)) for one in known]


def judge(evaluations: Runs, config: type[latents.Config]) -> list[Record]:
    """The run of the classifier of digits that judged; none where another network did."""
    one = config(**next(iter(evaluations.values()))[0].config)
    if one.dataset not in latents.DIGITS:
        return []
    wanted = digit_features.Config(one.dataset, one.variant, epochs=one.judge_epochs)
    return [store.run(digit_features.train, wanted)]


def judged_by(evaluations: Runs, config: type[latents.Config]) -> str:
    """In words, whose features live evaluations are in."""
    for of_digits in judge(evaluations, config):
        right = 100 * of_digits.metrics["test_accuracy"]
        return f"a classifier of digits that is right on {right:.1f} % of the test images"
    return "InceptionV3" if _first(evaluations).config["inception"] else "EfficientNet-Lite0"


def sets(live: Runs, names: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Runs]:
    """This run and those recordings that there are, of the seeds that all their models have, by what they are.

    A recording that lacks one of the models ``needed`` is left out.
    """
    found = {described("this run", live): live}
    # Readings are many settings of one model and seed: no comparison of models.
    for name in (name for name in names if not name.endswith("_readings")):
        made = by_model(recordings.find(name))
        if made and all(made.values()) and set(needed) <= set(made):
            found[described("recorded", made)] = made
    return found


def not_recorded(names: Iterable[str]) -> str:
    """Which recordings there are not, as a sentence."""
    there = {path.stem for path in recordings.folder().glob("*.json")}
    missing = [name for name in names if name not in there]
    return f" Not recorded yet: {', '.join(missing)}." if missing else ""


def dataset(made: Runs) -> str:
    """The data set that runs are of."""
    return _first(made).config["dataset"]


def described(kind: str, made: Runs) -> str:
    """Kind, data and budget of runs in words, such as ``recorded, MNIST, 50 epochs``."""
    return f"{kind}, {setting(_first(made).config)}"


def label(model: str) -> str:
    """A model's name in figures and tables."""
    return style.LABELS[COLOURS.get(model, model)]


def colour(model: str) -> str:
    """A model's colour."""
    return style.COLOURS[COLOURS.get(model, model)]


def band(axes: Axes, x: Sequence[float], values: np.ndarray, model: str) -> None:
    """A model's median over seeds as a line, smallest to largest as a band; ``values`` has a row a seed."""
    style.band(axes, x, values, COLOURS.get(model, model))


def _first(made: Runs) -> Record | Recorded:
    return next(iter(made.values()))[0]
