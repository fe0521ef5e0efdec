"""Shared by the pages that evaluate the autoencoders: settings, runs, recordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType

import numpy as np
from matplotlib.axes import Axes

from ncode.reproduction import profiles
from ncode.reproduction.claims.questions import NEARNESS
from ncode.reproduction.data.downloads import DataError
from ncode.reproduction.experiments import autoencoding, digit_features
from ncode.reproduction.experiments.autoencoding import latents
from ncode.reproduction.experiments.autoencoding.analysis import chosen, setting
from ncode.reproduction.experiments.autoencoding.verdict import nearness
from ncode.reproduction.metrics import features
from ncode.reproduction.metrics.comparison import Runs, by_model, several
from ncode.reproduction.metrics.features import FeatureError
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.display import Page
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run
from ncode.reproduction.runs.recordings import RecordedRun

WITHOUT_DOWNLOAD = {"dataset": "digits", "variant": "", "kind": "perceptron", "likelihood": "bernoulli"}
"""What takes the place of data that cannot be had."""

COLOURS = {"ncode": "autoncode"}
"""Under which name :mod:`ncode.reproduction.plotting.style` knows a model, where it is not its own."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """The runs of an evaluating page.

    Attributes:
        seeds: how many; those of the autoencoders.
        settings: the autoencoders', with the normalisation and scale that their page chose, and the page's own.
        missing: what to say where data or judge cannot be had, and what takes their place.
    """

    seeds: int
    settings: dict
    missing: str


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluating page's runs.

    Attributes:
        setup: seeds, settings, and what is missing.
        live: this execution's runs by model.
        named: live and recorded runs, by what they are.
        behind: the autoencoders' runs that the live ones evaluate.
        judge: the run of the classifier that judges, where one does.
    """

    setup: Setup
    live: Runs
    named: Mapping[str, Runs]
    behind: Sequence[Run]
    judge: Sequence[Run]

    @property
    def recorded(self) -> dict[str, Runs]:
        """The recorded ones of :attr:`named`."""
        return dict(list(self.named.items())[1:])

    def recording(self, of: str) -> Runs | None:
        """The recorded runs on the data set ``of`` that :func:`nearest` finds."""
        return nearest(self.recorded, of)

    def recorded_as(self, of: str) -> str:
        """Which runs :meth:`recording` gives, for a caption: ``recorded, MNIST, as printed, 50 epochs``."""
        runs = self.recording(of)
        return described("recorded", runs) if runs else "recorded"

    @property
    def compared(self) -> dict[str, Runs]:
        """Those of :attr:`named` with more than one seed."""
        return several(self.named)

    def having(self, model: str) -> dict[str, Runs]:
        """Those of :attr:`compared` that have the model."""
        return {name: runs for name, runs in self.compared.items() if model in runs}

    @property
    def first(self) -> dict[str, Run]:
        """This execution's first run of every model."""
        return {model: runs[0] for model, runs in self.live.items()}

    @property
    def every_run(self) -> list[Run]:
        """The runs that the page's footer counts."""
        return [*every({"": self.live}), *self.behind, *self.judge]

    @property
    def evidence(self) -> list[Run | RecordedRun]:
        """The runs that verdicts rest on."""
        return every(self.compared)


def every(sets: Mapping[str, Runs]) -> list[Run | RecordedRun]:
    """All runs of some sets, one after the other."""
    return [run for runs in sets.values() for of_model in runs.values() for run in of_model]


def evaluate(of: ModuleType, page: Page, needed: Iterable[str], judged: bool = True) -> Evaluation:
    """Everything that a page which evaluates the autoencoders begins with.

    Args:
        of: the experiment's package: its ``experiment``, and the ``MODELS`` whose embeddings are evaluated.
        page: whose profile and settings count.
        needed: models without which a recording is left out.
        judged: whether a network's features judge.
    """
    ready = setup(page.profile, page.settings)
    live = of.experiment.sweep(of.MODELS, ready.seeds, **ready.settings)
    planned = of.experiment.planned()
    named = sets(live, planned, needed)
    return Evaluation(ready, live, named, autoencoders(live), judge(live) if judged else ())


def setup(profile: str, own: Mapping) -> Setup:
    """The autoencoders' settings in ``profile``, as their own page uses them, and a page's own settings.

    So the same models are found, whichever page runs first. Where InceptionV3 is to judge and its weights cannot be
    had, EfficientNet-Lite0 does, and the set-up says so.
    """
    trained = profiles.load("autoencoding", profile)
    settings, missing = at_hand(trained.settings)
    own = dict(own)
    if own.get("inception"):
        try:
            features.inception_v3()
        except FeatureError as error:
            own["inception"] = False
            missing = f"{missing} EfficientNet-Lite0 judges. {error}".strip()
    best = chosen(autoencoding.Config("ncode", 0, **settings), trained.options["scales"])
    settings |= {"normalisation": best.normalisation, "scale": best.scale}
    return Setup(trained.options["seeds"], settings | own, missing)


def at_hand(settings: Mapping) -> tuple[dict, str]:
    """An autoencoder's settings with data that can be had here; a sentence where digits take another set's place."""
    found = dict(settings)
    try:
        autoencoding.prepare(found["dataset"], found.get("variant", ""), found.get("images", 0))
    except DataError as error:
        return found | WITHOUT_DOWNLOAD, f"The data cannot be had here; digits take their place. {error}"
    return found, ""


def runs_on(settings: Mapping, missing: str = "") -> str:
    """The data of this execution and how many images there are to train on, as Markdown.

    Args:
        settings, missing: as of :func:`at_hand`.
    """
    ready = autoencoding.prepare(settings["dataset"], settings.get("variant", ""), settings.get("images", 0))
    images = numbers.number(len(ready.train[0]))
    return f"{missing} This execution runs on **{ready.name}**: {images} images to train on.".strip()


def autoencoders(evaluations: Runs) -> list[Run[autoencoding.Config]]:
    """The runs of the autoencoders that live evaluations are of."""
    configs = [run.config for of_model in evaluations.values() for run in of_model]
    known = [config for config in configs if config.model in autoencoding.MODELS]
    return [autoencoding.experiment.run(latents.autoencoder_config(config)) for config in known]


def judge(evaluations: Runs) -> list[Run[digit_features.Config]]:
    """The run of the classifier of digits that judged; none where another network did."""
    config = _first(evaluations).config
    if config.dataset not in latents.DIGITS:
        return []
    wanted = digit_features.Config(config.dataset, config.variant, epochs=config.judge_epochs)
    return [digit_features.experiment.run(wanted)]


def judged_by(evaluations: Runs) -> str:
    """The network in whose features live evaluations are, in words."""
    for of_digits in judge(evaluations):
        right = 100 * of_digits.metrics["test_accuracy"]
        return f"a classifier of digits that is right on {right:.1f} % of the test images"
    return "InceptionV3" if _first(evaluations).config.inception else "EfficientNet-Lite0"


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


def recorded_in_words(names: Iterable[str]) -> str:
    """What each of these recordings consists of, as Markdown; the page on the status lists what is planned."""
    return "\n".join(recordings.describe(name) for name in names if recordings.find(name))


def nearest(sets: Mapping[str, Runs], of: str, model: str = "") -> Runs | None:
    """The runs on the data set ``of`` that stand nearest to the paper's setting; of equals, as verdicts choose.

    That is the set with the most seeds, and then the first.

    Args:
        model: where given, only sets with runs of it.
    """
    there = [made for made in sets.values() if dataset(made) == of and (not model or made.get(model))]

    def rank(made: Runs) -> tuple[int, int]:
        runs = made[model] if model else next(iter(made.values()))
        return NEARNESS.index(nearness(runs[0].config)), len(runs)

    # One seed decides nothing, however near it is.
    return max([made for made in there if rank(made)[1] > 1] or there, key=rank, default=None)


def dataset(made: Runs) -> str:
    """The data set that runs are of."""
    return _first(made).config.dataset


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


def _first(made: Runs) -> Run | RecordedRun:
    return next(iter(made.values()))[0]
