"""Augmentation's numbers as tables: each function gives the arguments of the page's call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ncode.reproduction.experiments import augmentation
from ncode.reproduction.experiments.augmentation import analysis, plans
from ncode.reproduction.experiments.augmentation.analysis import Kept
from ncode.reproduction.experiments.augmentation.studies import EASY, HARD, SHELLS, TITLES, Studies
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers

LEVELS = (0.1, 0.03, 0.01)
"""Training losses at which models are compared."""

ENDS = {
    "exceeded": "exceeded",
    "underflow": "underflow",
    "non-finite": "non-finite",
    "success": "ran to the end",
}
"""How a training may end, and what the table calls it."""


def parameters(profile: str) -> dict[str, Any]:
    """The field's width and the number of parameters for every p in the plane."""
    by_p = {config.augment: config for config in plans.configs("plane", profile)}
    return {
        "name": "tab-anode-parameters",
        "caption": "Parameters in the plane: the field's width follows from p.",
        "columns": ["p", "width", "parameters, with the readout"],
        "rows": [
            [
                str(p),
                str(augmentation.width(config)),
                numbers.number(sum(w.numel() for w in augmentation.build(config).parameters())),
            ]
            for p, config in by_p.items()
        ],
    }


def topology(kept: Mapping[int, Kept]) -> dict[str, Any]:
    """Random fields whose flow keeps the topology, and with which one step of Euler's method does."""
    return {
        "name": "tab-anode-topology",
        "caption": "Random fields whose flow keeps the topology, and fields with which one step of Euler's method "
        "does.",
        "columns": ["dimensions", "fields", "flow keeps it", "one step keeps it"],
        "rows": [
            [
                str(dim),
                str(len(found.accurate)),
                str(found.accurate.count(1)),
                str(found.coarse.count(1)),
            ]
            for dim, found in kept.items()
        ],
    }


def flip(studies: Studies) -> dict[str, Any]:
    """The error on g, beside the one that no order-keeping map gets below."""
    runs = studies.shown["flip"]
    bound = min(analysis.order_bound(run) for run in runs[0])
    return {
        "name": "tab-anode-flip",
        "caption": f"{studies.described('flip')}; mean ± standard deviation. No order-keeping map has a mean squared "
        f"error below the targets' variance, {numbers.number(bound, 4)} or more here.",
        "columns": ["model", "mean squared error", "smallest of any seed", "NFE", "parameters"],
        "rows": [
            [
                style.LABELS[f"p{p}"],
                numbers.spread(metric(of_p, "mse")),
                numbers.number(metric(of_p, "mse").min(), 3),
                numbers.spread(metric(of_p, "nfe")),
                numbers.number(int(of_p[0].metrics["parameters"])),
            ]
            for p, of_p in runs.items()
        ],
    }


def equal_loss(studies: Studies) -> dict[str, Any]:
    """Error on fresh points and evaluations at the first look at which a run has reached each of :data:`LEVELS`."""
    return {
        "name": "tab-anode-equal-loss",
        "caption": f"{studies.described('plane')}: error on fresh points and evaluations (NFE) at equal training loss; "
        "in parentheses, how many seeds reached it.",
        "columns": [
            "model",
            *(f"error %, loss {level:g}" for level in LEVELS),
            *(f"NFE, loss {level:g}" for level in LEVELS),
        ],
        "rows": [
            [
                style.LABELS[f"p{p}"],
                *(_at_level(runs, "error", level, 100.0) for level in LEVELS),
                *(_at_level(runs, "nfe", level) for level in LEVELS),
            ]
            for p, runs in studies.shown["plane"].items()
        ],
    }


def _at_level(runs: Sequence, name: str, level: float, scale: float = 1.0) -> str:
    """A series at equal training loss: mean ± standard deviation, and how many seeds got there."""
    values = scale * analysis.when(runs, name, level)
    known = values[np.isfinite(values)]
    return f"{numbers.spread(known)} ({len(known)})" if len(known) else f"{numbers.UNDEFINED} (0)"


def spheres(studies: Studies) -> dict[str, Any]:
    """Trained spheres: runs that separate them, and runs whose image surrounds the centre's once."""
    return {
        "name": "tab-anode-spheres",
        "caption": "Nested spheres, trained. Separated: runs in which every point found on the outer sphere has a "
        "higher output than the centre, under an accurate solve and under the training's. Wound once: the sphere's "
        "image surrounds the centre's once, accurate solve; and with one step of Euler's method. We count where solves "
        "and curves can be resolved, and not in space, where the mesh is too coarse.",
        "columns": [
            "function",
            "p",
            "error %",
            "separated",
            "under its solver",
            "wound once",
            "one Euler step",
        ],
        "rows": [
            [studies.described(study), str(p), *_sphere(study, p, runs)]
            for study in SHELLS
            for p, runs in studies.shown[study].items()
        ],
    }


def _sphere(study: str, p: int, runs: Sequence) -> list[str]:
    wound = p == 0 and study != "space"
    return [
        numbers.percent(metric(runs, "error")),
        *(_share(metric(runs, name), lambda v: v > 0) for name in ("separation", "separation_trained")),
        *(
            _share(metric(runs, name), lambda v: v == 1) if wound else numbers.UNDEFINED
            for name in ("winding", "winding_coarse")
        ),
    ]


def _share(values: np.ndarray, test: Callable[[np.ndarray], np.ndarray]) -> str:
    """How many pass a test, of those that are known."""
    known = values[np.isfinite(values)]
    return f"{int(test(known).sum())} of {len(known)}"


def evaluations(studies: Studies) -> dict[str, Any]:
    """Evaluations and detours after training, and NODE's over each ANODE's."""
    return {
        "name": "tab-anode-nfe",
        "caption": "Evaluations (NFE) of a forward solve after training, with the batch's mean error and with the "
        "worst sample's as norm; growth, the evaluations after training over those before it; detour, the length of a "
        "path over the distance of its ends; and NODE's evaluations and detour over this model's: geometric mean, "
        "paired by seed, 95 % interval.",
        "columns": [
            "function",
            "p",
            "NFE",
            "NFE, worst-sample norm",
            "growth",
            "detour",
            "NODE's NFE / this",
            "NODE's detour / this",
        ],
        "rows": [
            [
                studies.described(study),
                str(p),
                numbers.spread(metric(runs, "nfe")),
                numbers.spread(metric(runs, "nfe_worst")),
                numbers.spread(analysis.growth(runs)),
                numbers.spread(metric(runs, "detour")),
                *(numbers.interval(studies.against(study, name, p), 3) if p else "1" for name in ("nfe", "detour")),
            ]
            for study in EASY
            for p, runs in studies.shown[study].items()
        ],
    }


def stability(studies: Studies) -> dict[str, Any]:
    """How trainings end, and with which loss and evaluations."""
    return {
        "name": "tab-anode-stability",
        "caption": "How trainings end, and the loss and evaluations (NFE) they end with: medians over those that are "
        "known. The functions at which we provoke failures come first.",
        "columns": ["function", "p", *ENDS.values(), "training loss", "NFE"],
        "rows": [
            [f"{TITLES[study]} ({studies.where(study)})", str(p), *_end(runs)]
            for study in (*HARD, *EASY)
            for p, runs in studies.shown[study].items()
        ],
    }


def _end(runs: Sequence) -> list[str]:
    counted = analysis.outcomes(runs)
    medians = [numbers.number(float(np.nanmedian(metric(runs, name))), 3) for name in ("loss", "nfe")]
    return [*(str(counted[kind]) for kind in ENDS), *medians]
