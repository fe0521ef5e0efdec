"""Autoencoding's numbers as tables: each function gives the arguments of the page's call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncode.reproduction.experiments import orbits
from ncode.reproduction.experiments.autoencoding import evaluation
from ncode.reproduction.experiments.autoencoding.analysis import against, nats, setting, with_autoencoder
from ncode.reproduction.experiments.autoencoding.study import Study
from ncode.reproduction.experiments.autoencoding.train import BOTTLENECKS, TUNING_SEED, Config, experiment
from ncode.reproduction.metrics.comparison import Runs, by_model, metric
from ncode.reproduction.models.encoders import ARCHITECTURES, Architecture
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.recordings import RecordedRun

TUNED = (
    "autoencoding_mnist",
    "autoencoding_mnist_normalisations",
    "autoencoding_mnist_printed_normalisations",
    "autoencoding_mnist_printed_dense",
    "autoencoding_mnist_printed_single",
    "autoencoding_cifar10",
    "autoencoding_cifar10_printed_eighth",
)
"""The recorded comparisons whose tuning is shown."""


def architectures() -> dict[str, Any]:
    """Table A.1 as it is read here."""
    return {
        "name": "tab-auto-architectures",
        "caption": "Table A.1 as it is read here, at full width. Every convolution halves the image in the encoder "
        "and doubles it in the decoder, where the last one keeps its size. All but that one have batch normalisation "
        "and ReLU. Numbers are channels, and for MNIST units of a perceptron. AutoN-CODE's "
        "encoder ends in two numbers for each of the latent's (ten on CelebA).",
        "columns": ["data", "image", "encoder", "latent", "decoder", "kernel"],
        "rows": [[name, *_networks(shape)] for name, shape in ARCHITECTURES.items()],
    }


def _networks(shape: Architecture) -> list[str]:
    units = " · ".join(map(str, shape.hidden or shape.encoder[1:]))
    up = " · ".join(map(str, ("linear", *shape.decoder, shape.channels)))
    return [
        f"{shape.channels} × {shape.size} × {shape.size}",
        f"{units} · linear",
        str(shape.latent),
        f"{shape.hidden[0]} · {shape.size**2}" if shape.hidden else up,
        numbers.UNDEFINED if shape.hidden else f"{shape.kernel} × {shape.kernel}",
    ]


def tuning() -> dict[str, Any]:
    """What the recorded comparisons' learning rates, normalisations and scales were chosen by."""
    return {
        "name": "tab-auto-tuning",
        "caption": f"Recorded, a part of the epochs, seed {TUNING_SEED}: validation loss in nats an image, on colour "
        "images up to what an image's scale adds. ✓: what the recorded comparison uses.",
        "columns": ["data", "model", "rate", "normalisation", "scale", "validation nats", "used"],
        "rows": [row for name in TUNED for row in tuning_rows(name)],
    }


def tuning_rows(name: str) -> list[list[str]]:
    """A table's rows: what a recorded comparison's learning rate, normalisation and scale were chosen by.

    Args:
        name: of the comparison, such as ``"autoencoding_mnist"``; without its tuning recorded there is no row.
    """

    def tuned(c: Config) -> tuple:
        return (c.model, c.learning_rate, *((c.normalisation, c.scale) if c.model == "ncode" else ()))

    used = {tuned(c) for c in experiment.planned()[name].configs()}
    rows = []
    for one in recordings.find(f"{name}_tuning"):
        c = one.config
        ours = c.model == "ncode"
        rows.append(
            [
                setting(c),
                "AutoN-CODE" if ours else "autoencoder",
                numbers.setting(c.learning_rate),
                *((c.normalisation, numbers.setting(c.scale)) if ours else ("–", "–")),
                f"{one.metrics['validation_nats']:.2f}",
                "✓" if tuned(c) in used else "",
            ]
        )
    return rows


def recorded() -> dict[str, Any]:
    """What came of the recorded comparisons, on test images."""
    return {
        "name": "tab-auto-recorded",
        "caption": "Recorded: parameters, test loss in nats an image (mean ± standard deviation over seeds), the 95 % "
        "interval of its difference to the plain autoencoder's, paired by seed, and squared error of a pixel. The "
        "VAE's code, the denoising autoencoder's and the sparse one's pay for something else than reconstruction. The "
        "double-size autoencoder has twice the latent size. AutoN-CODE with one entry a row is compared with the plain "
        "autoencoder of the printed networks, whose code has as many numbers.",
        "columns": [
            "data",
            "model",
            "seeds",
            "parameters",
            "test nats",
            "minus the autoencoder's",
            "squared error",
        ],
        "rows": comparison_rows(),
    }


def comparison_rows() -> list[list[str]]:
    """A table's rows: recorded comparisons' models, their sizes and losses, and how they stand to the autoencoder."""
    rows = []
    for name in experiment.planned():
        if name.endswith(("_tuning", "_bottlenecks", "_normalisations", "_readings")):
            continue
        made: dict[str, list[RecordedRun]] = {}
        for one in recordings.find(name):
            made.setdefault(one.config.model, []).append(one)
        plain = with_autoencoder(recordings.find(name)).get("autoencoder", [])
        for model, runs in made.items():
            config, pair = runs[0].config, by_model([*runs, *plain])
            stands = "–" if model == "autoencoder" else numbers.interval(against(pair[model], pair["autoencoder"]), 3)
            rows.append(
                [
                    setting(config),
                    evaluation.label(model),
                    str(len(runs)),
                    numbers.number(int(runs[0].metrics["parameters"])),
                    numbers.spread(nats(runs)),
                    stands,
                    numbers.number(metric(runs, "test_mse").mean()),
                ]
            )
    return rows


def formation(formations: Mapping[str, Runs]) -> dict[str, Any]:
    """How images form along AutoN-CODE's orbit, and along a straight line in the plain autoencoder."""
    return {
        "name": "tab-auto-formation",
        "caption": "How images form along AutoN-CODE's orbit, mean ± standard deviation over seeds. Start, half way, "
        "at $T$: squared error of a pixel. Steps that fall: steps up to $T$ in which the mean error falls. Formed: "
        f"images whose error at $T$ is below {orbits.FORMED:g} of the start's, with no earlier x(t) better by more "
        f"than {100 * orbits.LATE:g} %. Best at t: the time of the smallest mean error, looked for beyond $T$, too. "
        "Bend: how far the orbit leaves its chord, in chord lengths (half a circle: a half). The last two columns: the "
        "share of the error's whole fall that lies before half way, along the orbit, and along the straight line in "
        "the plain autoencoder.",
        "columns": [
            "data",
            "start",
            "half way",
            "at T",
            "steps that fall %",
            "formed %",
            "best at t",
            "bend %",
            "fall before half way %",
            "on the line %",
        ],
        "rows": [[name, *_formed(made["ncode"], made["autoencoder"])] for name, made in formations.items()],
    }


def _formed(ours, plain) -> list[str]:
    return [
        *(numbers.spread(metric(ours, f"orbit_{at}")) for at in ("start", "half", "end")),
        numbers.percent(metric(ours, "orbit_falls")),
        numbers.percent(metric(ours, "formed")),
        numbers.spread(metric(ours, "closest")),
        numbers.percent(metric(ours, "bend")),
        numbers.percent(metric(ours, "orbit_fallen")),
        numbers.percent(metric(plain, "line_fallen")),
    ]


def normalisations(study: Study) -> dict[str, Any]:
    """Every normalisation at its best scale, on test images of this execution."""
    bare = study.tuned["none"].completed
    return {
        "name": "tab-auto-normalisation",
        "caption": "Test loss in nats an image, each normalisation at the scale that is best for it on validation "
        f"images; {study.seeds} seeds, mean ± standard deviation, and the 95 % interval of the difference to no "
        "normalisation, paired by seed.",
        "columns": ["normalisation", "scale", "finished", "test nats", "minus none"],
        "rows": [
            [
                name,
                numbers.setting(one.scale),
                f"{len(one.completed)} of {study.seeds}",
                numbers.spread(nats(one.completed)) if one.completed else numbers.UNDEFINED,
                numbers.UNDEFINED if name == "none" else numbers.interval(against(one.completed, bare)),
            ]
            for name, one in study.tuned.items()
        ],
    }


def bottlenecks(study: Study) -> dict[str, Any]:
    """AutoN-CODE and the bottlenecks that take its flow's place: N16's table."""
    sets = study.bottlenecks
    live = next(iter(sets.values()))
    return {
        "name": "tab-auto-bottleneck",
        "caption": "Test loss in nats an image, mean ± standard deviation over seeds, and the 95 % interval of "
        "AutoN-CODE's minus the model's, paired by seed; below zero AutoN-CODE is better. Parameters: of this run.",
        "columns": [
            "model",
            "parameters",
            *(f"{head}{end}" for head in sets for end in ("", ": AutoN-CODE minus it")),
        ],
        "rows": [
            [
                evaluation.label(model),
                numbers.number(int(live[model][0].metrics["parameters"])),
                *(cell for made in sets.values() for cell in _bottleneck(made, model)),
            ]
            for model in BOTTLENECKS
        ],
    }


def _bottleneck(made: Runs, model: str) -> list[str]:
    of = made.get(model, ())
    paired = of and made.get("ncode") and model != "ncode"
    return [
        numbers.spread(nats(of)) if of else numbers.UNDEFINED,
        numbers.interval(against(made["ncode"], of)) if paired else numbers.UNDEFINED,
    ]
