"""The evidence on N11, N12, N13 and A5: test accuracies, losses and evaluations of the image models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ncode.reproduction.claims import evidence
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.experiments.image_classification import analysis, curves
from ncode.reproduction.experiments.image_classification.analysis import above, below
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.metrics.intervals import every, is_above

TEST_IMAGES = {"mnist": 10_000, "cifar10": 10_000, "svhn": 26_032, "digits": 1000}
FULL_SIZE = {"mnist": 28, "cifar10": 32, "svhn": 32, "imagenet64": 64}
FILTERS = 50
"""Of the paper's block."""

EPOCHS = 10
"""The fewest epochs that count as the paper's training."""


def nearness(config) -> str:
    """How near a run's setting is to Table 1's: its data, its images' size, its width, its solver, and its training.

    A copy of the data is not the data. The paper does not state its epochs: fewer than :data:`EPOCHS` is reduced.
    """
    if config.dataset not in FULL_SIZE:
        return "toy"
    block = config.size == FULL_SIZE[config.dataset] and config.filters == FILTERS and config.method == "dopri5"
    trained = not config.variant and not config.tf32 and config.epochs >= EPOCHS
    return "paper" if block and trained else "reduced"


def ordered(sets: Mapping[str, Runs]) -> dict[str, Runs]:
    """Sets of runs from the largest images to the smallest; of equal size, those at each model's own rate first."""

    def place(name: str) -> tuple:
        config = next(iter(sets[name].values()))[0].config
        return -config.size, "own rates" not in name, -config.epochs

    return {name: sets[name] for name in sorted(sets, key=place)}


def _answers(dataset: str, config) -> bool:
    """Whether runs of that configuration say anything about ``dataset``: the digits stand in for MNIST."""
    return config.dataset == dataset or (dataset == "mnist" and config.dataset == "digits")


def accuracy_gain(part: str, dataset: str, sets: Mapping[str, Runs], a: str, b: str) -> list[Evidence]:
    """Model a's test accuracy minus b's on ``dataset``, in every set that has both."""
    found = []
    for name, runs in ordered(sets).items():
        if a in runs and b in runs and _answers(dataset, runs[a][0].config):
            config, pair = runs[a][0].config, [*runs[a], *runs[b]]
            shares = [metric(runs[model], "test_accuracy") for model in (a, b)]
            found.append(evidence.accuracies(part, name, nearness(config), *shares, TEST_IMAGES[config.dataset], pair))
    return found


def difference(part: str, dataset: str, sets: Mapping[str, Runs], a: str, b: str, name: str) -> list[Evidence]:
    """Model a's metric ``name`` minus b's on ``dataset``, in every set that has both."""
    return [
        evidence.difference(
            part, words, nearness(runs[a][0].config), metric(runs[a], name), metric(runs[b], name), [*runs[a], *runs[b]]
        )
        for words, runs in ordered(sets).items()
        if a in runs and b in runs and _answers(dataset, runs[a][0].config)
    ]


def n11(sets: Mapping[str, Runs]) -> list[Evidence]:
    """Table 1's order: open loop, data control, ANODE."""
    return [
        *accuracy_gain("a", "mnist", sets, "open", "data"),
        *accuracy_gain("b", "mnist", sets, "data", "anode"),
        *accuracy_gain("c", "cifar10", sets, "open", "data"),
        *accuracy_gain("d", "cifar10", sets, "data", "anode"),
    ]


def n12(sets: Mapping[str, Runs]) -> list[Evidence]:
    """Fig. A.2: epochs to ANODE's final accuracy, the final training loss, and evaluations, open loop minus ANODE."""
    return [
        *_epochs("a", "cifar10", sets),
        *difference("b", "cifar10", sets, "open", "anode", "train_loss"),
        *difference("c", "cifar10", sets, "open", "anode", "nfe_adaptive"),
    ]


def _epochs(part: str, dataset: str, sets: Mapping[str, Runs]) -> list[Evidence]:
    found = []
    for words, runs in ordered(sets).items():
        if {"open", "anode"} <= runs.keys() and _answers(dataset, runs["open"][0].config):
            levels = [curves.curves([run])["accuracy"][0][-1] for run in runs["anode"]]
            needed = {
                model: np.array([epochs_to(run, level) for run, level in zip(runs[model], levels, strict=True)])
                for model in ("open", "anode")
            }
            pair = [*runs["open"], *runs["anode"]]
            where = nearness(runs["open"][0].config)
            reached = np.isfinite(needed["open"])
            if not reached.any():
                # Later than ANODE on every seed, by how much nobody knows: there is no interval, but an answer.
                never = f"{words}; none of its open loops gets there"
                found.append(evidence.exact(part, never, where, False, len(reached), pair))
                continue
            # With an open loop that never gets there, its epochs are infinite, and there is no interval.
            with np.errstate(invalid="ignore"):
                found.append(evidence.difference(part, words, where, needed["open"], needed["anode"], pair))
    return found


def epochs_to(run, level: float) -> float:
    """The epoch of the first look at which validation accuracy is at least ``level``; infinite where none is."""
    seen = curves.curves([run])
    reached = np.flatnonzero(seen["accuracy"][0] >= level)
    return float(seen["epoch"][reached[0]]) if len(reached) else np.inf


def n13(sets: Mapping[str, Runs]) -> list[Evidence]:
    """Control of the 3×3 kernels alone, against both baselines, ANODE and data control, and against guessing."""
    return [
        *accuracy_gain("a", "cifar10", sets, "mix", "anode"),
        *accuracy_gain("b", "cifar10", sets, "mix", "data"),
        *(
            evidence.mean(
                "c", words, nearness(runs["mix"][0].config), metric(runs["mix"], "test_accuracy", 100.0), made
            )
            for words, runs in ordered(sets).items()
            if (made := runs.get("mix")) and _answers("cifar10", made[0].config)
        ),
    ]


NOTE = (
    "Weak evidence: few filters, few epochs, few seeds, and small images in most sets. Every set that does not say "
    "'own rates' has the learning rate that is best for ANODE. An interval that includes zero decides nothing. "
)
"""What a reader must know to weigh the three verdicts."""

RIVALS = ("anode", "data")
"""What the open loop is compared with in N12."""


def n11_context(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """N11's checks: whether the whole interval of each difference in test accuracy lies above zero."""
    order = (("open loop above data control", "open", "data"), ("data control above ANODE", "data", "anode"))
    return {
        f"{name}: {text}": above(made, a, b)
        for name, made in sets.items()
        for text, a, b in order
        if {a, b} <= made.keys()
    }


def n12_context(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """N12's checks of the open loop against both of :data:`RIVALS`: accuracy half-way, loss, evaluations."""
    checks: dict[str, bool | None] = {}
    for name, made in sets.items():
        if not {"open", *RIVALS} <= made.keys():
            continue
        fewer = every(below(made, "open", rival, "train_loss") for rival in RIVALS)
        more = every(is_above(analysis.evaluations_ratio(made, "open", rival), 1.0) for rival in RIVALS)
        checks |= {
            f"{name}: half-way, the open loop is more accurate than ANODE and data control (on every seed; undecided "
            "where on some)": analysis.ahead(made, "open", RIVALS),
            f"{name}: its training loss is lower than theirs (95 % interval)": fewer,
            f"{name}: an adaptive solve of it takes more evaluations than of theirs (95 % interval of the ratio)": more,
        }
    return checks


def n13_context(sets: Mapping[str, Runs]) -> dict[str, bool | None]:
    """N13's checks: control of the 3×3 kernels alone against ANODE and γ alone."""
    rivals = (("3×3 only is above ANODE", "anode"), ("above data control", "data"), ("above γ alone", "gamma"))
    return {
        f"{name}: {text} (95 % interval)": above(made, "mix", rival)
        for name, made in sets.items()
        for text, rival in rivals
        if {"mix", rival} <= made.keys()
    }


def a5(sets: Mapping[str, Runs], wide: str) -> list[Evidence]:
    """ANODE against the NODE with as many parameters, on each data set: training loss and test accuracy."""
    found = []
    for parts, dataset in (("ab", "mnist"), ("cd", "cifar10"), ("ef", "svhn"), ("gh", "imagenet64")):
        found += difference(parts[0], dataset, sets, "anode", wide, "train_loss")
        found += accuracy_gain(parts[1], dataset, sets, "anode", wide)
    return found
