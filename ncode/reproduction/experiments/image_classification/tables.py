"""Image classification's numbers as tables: each function gives the arguments of the page's call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ncode.reproduction.claims import published
from ncode.reproduction.experiments.image_classification import analysis, rates, sets
from ncode.reproduction.experiments.image_classification.plans import comparisons
from ncode.reproduction.experiments.image_classification.train import FLOWS, MODELS, RATE_SEED
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers

OWN_RATES = "image_classification_cifar10_16"
"""The comparison whose rates were tried for every model."""

PAIRS = (
    ("open", "data"),
    ("data", "anode"),
    ("open", "anode"),
    ("mix", "open"),
    ("mix", "anode"),
    ("mix", "data"),
    ("anode", "node"),
    ("resnet", "anode"),
    ("gamma", "anode"),
)
"""Whose test accuracies are subtracted."""

PRINTED = {
    "node": "NODE",
    "anode": "ANODE",
    "data": "NODE with data control",
    "open": "N-CODE, open loop",
}
"""The published tables' rows, by model."""

PAPERS = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
"""Table 1's columns, by data set."""

NONE = "–"


def accuracies(compared: Mapping[str, Runs]) -> dict[str, Any]:
    """Table 1: every model's test accuracy, in the paper, in the 2019 replication of ANODE, and in every set here."""
    printed = [published.get(name) for name in ("classification", "classification-replication")]
    return {
        "name": "tab-images-accuracy",
        "caption": "Table 1 anew: test accuracy in %, mean ± standard deviation over seeds. The paper and the "
        "replication of ANODE by others: MNIST / CIFAR-10. Ours are at the stated size and budget, not converged. A "
        "dash: not run there.",
        "columns": ["model", "paper", "replication", *compared],
        "rows": [
            [
                style.LABELS[model],
                *(" / ".join(of.rows.get(PRINTED.get(model), [NONE, NONE])) for of in printed),
                *(analysis.accuracy(made[model]) if model in made else NONE for made in compared.values()),
            ]
            for model in MODELS
        ],
    }


def differences(weighed: Mapping[str, Runs]) -> dict[str, Any]:
    """Differences of test accuracies between :data:`PAIRS` of models, in every set of several seeds."""
    return {
        "name": "tab-images-differences",
        "caption": "Differences in test accuracy, percentage points: 95 % intervals over seeds, paired by seed. The "
        "verdicts' intervals are wider: they add the test images' sampling error. In parentheses, "
        "where zero lies inside: the number of seeds at which it would not, if mean and deviation stayed as they are.",
        "columns": ["difference", *weighed],
        "rows": [
            [
                f"{style.LABELS[a]} − {style.LABELS[b]}",
                *(analysis.standing(made[a], made[b]) if {a, b} <= set(made) else NONE for made in weighed.values()),
            ]
            for a, b in PAIRS
        ],
    }


def flows(compared: Mapping[str, Runs]) -> dict[str, Any]:
    """Losses, evaluations, solver errors and parameters of every model in every set."""
    return {
        "name": "tab-images-flows",
        "caption": "Losses, evaluations (NFE) of dopri5 at 10⁻³ on a few validation images, the worst solver error of "
        "any probed image under the training's solver (distance over the whole image), and parameters without the "
        "readout and with it.",
        "columns": [
            "data",
            "model",
            "training loss",
            "test loss",
            "NFE",
            "solver error",
            "parameters",
            "with readout",
        ],
        "rows": [
            [name, style.LABELS[model], *flow_cells(runs, model)]
            for name, made in compared.items()
            for model, runs in made.items()
        ],
    }


def flow_cells(runs: Sequence, model: str) -> list[str]:
    """Cells of a table: losses, evaluations, the worst solver error and the parameters, without readout and with."""
    losses = [numbers.spread(metric(runs, name)) for name in ("train_loss", "test_loss")]
    solved = [NONE, NONE]
    if model in FLOWS:
        solved = [numbers.spread(metric(runs, "nfe_adaptive")), numbers.number(metric(runs, "solver_error").max())]
    return [
        *losses,
        *solved,
        *(numbers.number(int(runs[0].metrics[name])) for name in ("body_parameters", "parameters")),
    ]


def tried_rates(live: Mapping[str, Sequence], recorded: Iterable) -> dict[str, Any]:
    """ANODE at several learning rates, and which of them all models are then trained at."""
    return {
        "name": "tab-images-rates",
        "caption": f"ANODE at several learning rates, seed {RATE_SEED}. ✓: the rate that all models are then trained "
        "at, in this execution or in the recorded runs.",
        "columns": ["data", "rate", "validation loss", "validation accuracy %", "used"],
        "rows": rate_table(live, recorded),
    }


def rate_table(live: Mapping[str, Sequence], recorded: Iterable) -> list[list[str]]:
    """A table's rows: ANODE's validation loss and accuracy at every learning rate, and which rate the page uses.

    A live page uses the best; a recorded comparison what its plan says.
    """
    # How often a run is looked at does not change its training.
    plans = [configs[0] for configs in comparisons().values()]
    used = {replace(plan, model="anode", seed=RATE_SEED, looks=0) for plan in plans}
    rows = []
    for kind, runs in (*(("this run", runs) for runs in live.values()), ("recorded", recorded)):
        for run in runs:
            rate, scores, config = run.config.learning_rate, run.metrics, run.config
            taken = rate == analysis.best_rate(runs) if kind == "this run" else replace(config, looks=0) in used
            loss, accuracy = f"{scores['validation_loss']:.4g}", f"{100 * scores['validation_accuracy']:.1f}"
            rows.append([sets.described(config, kind), numbers.setting(rate), loss, accuracy, "✓" if taken else ""])
    return rows


def own_rates() -> dict[str, Any]:
    """Every model at the same learning rates, recorded: does ANODE's rate hold the others back?"""
    columns, rows = model_rates_table(OWN_RATES)
    tried = sets.described(comparisons()[OWN_RATES][0], "recorded")
    return {
        "name": "tab-images-own-rates",
        "caption": "Does ANODE's rate hold the others back? Validation loss of every model at the same rates, one run "
        f"each on seed {RATE_SEED}; bold is the model's lowest ({tried}). 'Own rates' names the comparison in which "
        "each model has that rate. One run is noisy. Models whose best is the common rate have the same runs in both "
        "comparisons: these are two views of one experiment, not two experiments.",
        "columns": columns,
        "rows": rows or [["not recorded yet", *[NONE] * (len(columns) - 1)]],
    }


def model_rates_table(name: str) -> tuple[list[str], list[list[str]]]:
    """A table's columns and rows: the validation loss of every model at every learning rate, the lowest in bold.

    Args:
        name: of the comparison; without all its trials recorded there is no row.
    """
    tried, best = rates.tried(name), rates.best(name)
    rows = [
        [style.LABELS[model], *(f"**{v:.3f}**" if rate == best[model] else f"{v:.3f}" for rate, v in of.items())]
        for model, of in tried.items()
    ]
    return ["model", *(numbers.setting(rate) for of in list(tried.values())[:1] for rate in of)], rows


def close_call(name: str = OWN_RATES, model: str = "anode") -> str:
    """How near the choice of a model's own rate was, as a sentence; empty where not all trials are recorded."""
    losses = rates.tried(name).get(model)
    if not losses:
        return ""
    (one, best), (other, next_) = sorted(losses.items(), key=lambda item: item[1])[:2]
    return (
        f"{style.LABELS[model]}'s two best rates, {numbers.setting(one)} and {numbers.setting(other)}, differ by "
        f"{numbers.number(next_ - best)} in the validation loss of the one run that chose between them: a verdict at "
        "own rates depends on such choices."
    )


def ours(recorded: Mapping[str, Runs]) -> dict[str, Any]:
    """What the page on results sets beside Table 1: of each data set the recording that is nearest to its setting."""
    rows: dict[str, dict[str, str]] = {PRINTED[model]: {} for model in ("anode", "data", "open")}
    told = []
    for dataset, column in PAPERS.items():
        if made := sets.nearest(recorded, dataset):
            told.append(f"{sets.described(sets.example(made))}: {sets.budget(made)}")
            for model, label in PRINTED.items():
                if label in rows and model in made:
                    rows[label][column] = analysis.accuracy(made[model])
    setting = f"Recorded, with fewer epochs than a training to convergence takes: {'; '.join(told) or 'nothing yet'}."
    return {"table": "classification", "rows": rows, "setting": setting}
