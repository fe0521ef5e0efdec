"""What the paper leaves open about the autoencoders, one setting at a time: how each reading moves the clustering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ncode.reproduction.claims import published
from ncode.reproduction.experiments.autoencoding import latents
from ncode.reproduction.experiments.autoencoding.evaluation import label
from ncode.reproduction.experiments.latent_clustering import plans
from ncode.reproduction.experiments.latent_clustering.analysis import CHOICES
from ncode.reproduction.experiments.latent_clustering.train import Config
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.recordings import RecordedRun

RECORDING = "mnist_printed_readings"
"""Of the autoencoders and of their clustering, behind each experiment's name."""

IN_WORDS = {
    ("batch_norm", "hidden"): "batch normalisation of the hidden layers",
    ("batch_norm", "code"): "batch normalisation of the code",
    ("plateau", 10): "a plateau is ten epochs",
    ("likelihood", "gaussian"): "squared error for a loss",
    ("normalisation", "tanh"): "each entry of θ by tanh",
    ("normalisation", "batch"): "each entry of θ over the batch",
    ("normalisation", "sample"): "all of θ to one length",
    ("entries", 1): "one entry in each row of θ",
    ("entries", 5): "θ is dense",
    ("latent", 5): "five dimensions",
    ("redraw", True): "x(0) drawn anew for every batch",
}
"""Readings in the page's words; any other is told by its field's name and value."""


def changed(config: Config, usual: Config) -> str:
    """What a configuration changes in the usual one, in words; empty where nothing."""
    pairs = ((field.name, getattr(config, field.name), getattr(usual, field.name)) for field in fields(config))
    return ", ".join(
        IN_WORDS.get((name, value), f"{name} {numbers.setting(value) if isinstance(value, float) else value}")
        for name, value, other in pairs
        if value != other
    )


def clustered() -> dict[str, list[RecordedRun]]:
    """By model the clusterings of its readings, the usual setting first; empty until every reading is recorded."""
    name = f"latent_clustering_{RECORDING}"
    made = {run.config: run for run in recordings.find(name)}
    (planned,) = (plan.configs() for plan in plans.plans() if plan.name == name)
    if any(config not in made for config in planned):
        return {}
    found: dict[str, list[RecordedRun]] = {}
    for config in planned:
        found.setdefault(config.model, []).append(made[config])
    return {model: runs for model, runs in found.items() if len(runs) > 1}


def reconstruction(run: RecordedRun) -> float | None:
    """The test loss, in nats an image, of the autoencoder that was clustered; none where its likelihood is another."""
    if run.config.likelihood != "bernoulli":
        return None
    wanted, made = latents.autoencoder_config(run.config), recordings.find(f"autoencoding_{RECORDING}")
    return next(one.metrics["test_nats"] for one in made if one.config == wanted)


def moved(runs: Sequence[RecordedRun], metric: str = "mixture") -> list[float]:
    """By how many points each reading changes the accuracy of the usual setting, which comes first."""
    usual, *others = (100 * run.metrics[metric] for run in runs)
    return [value - usual for value in others]


def table(made: Mapping[str, Sequence[RecordedRun]]) -> dict[str, Any]:
    """The arguments of the page's call: a row a reading."""
    rows = []
    for model, runs in made.items():
        for run, change in zip(runs, [None, *moved(runs)], strict=True):
            loss = reconstruction(run)
            rows.append(
                [
                    label(model),
                    changed(run.config, runs[0].config) or "as we read it",
                    numbers.number(loss, 3) if loss is not None else numbers.UNDEFINED,
                    *(numbers.number(100 * run.metrics[f"mixture{ending}"], 3) for ending in CHOICES),
                    "–" if change is None else numbers.number(change),
                    numbers.number(100 * run.metrics["tsne_mixture"], 3),
                ]
            )
    return {
        "name": "tab-clustering-readings",
        "caption": "What the text leaves open, one setting at a time, with Table A.1's networks for MNIST on one seed "
        "that no comparison uses: test loss in nats an image; clustering accuracy in % of a mixture's likeliest "
        "start, on average over its starts, and of its best by labels; the change of the likeliest from the first row "
        "of its model, in points; and t-SNE with a mixture.",
        "columns": [
            "model",
            "reading",
            "test nats",
            *CHOICES.values(),
            "change",
            "t-SNE + mixture",
        ],
        "rows": rows,
        "folded": "Every reading, in numbers",
    }


def in_words(made: Mapping[str, Sequence[RecordedRun]]) -> str:
    """Which readings move the accuracy by as much as the paper's advantage, as Markdown."""
    if not made:
        return "The readings are not all recorded yet."
    printed = published.get("clustering")
    advantage = printed.value("AutoN-CODE with mixture", "MNIST") - printed.value("autoencoder with mixture", "MNIST")
    far = []
    for model, runs in made.items():
        for run, by, mean in zip(runs[1:], moved(runs), moved(runs, "mixture_mean"), strict=True):
            if abs(by) >= advantage:
                far.append(
                    f"{label(model)}, {changed(run.config, runs[0].config)}: {numbers.number(by)} points "
                    f"({numbers.number(mean)} on average over the starts)"
                )
    count = sum(len(runs) - 1 for runs in made.values())
    if not far:
        return f"None of the {count} readings moves it by as much."
    return f"Of the {count} readings, these move it by as much: {'; '.join(far)}."
