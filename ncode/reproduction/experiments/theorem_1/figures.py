"""Figures of Theorem 1: errors of the gradient, memory, contraction, and the price of Appendix B's listing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncode.reproduction.experiments.theorem_1 import analysis
from ncode.reproduction.experiments.theorem_1.checks import MEMORY_HORIZON, RATES
from ncode.reproduction.experiments.theorem_1.price import WAYS, Price
from ncode.reproduction.plotting import style

ORANGE, BLUE, GREEN = "#D55E00", "#0072B2", "#009E73"
DRAWN = {"direct": (ORANGE, "-"), "plain": (BLUE, (0, (5, 1.5))), "checkpointed": (GREEN, "-")}
NAMES = {"direct": "direct", "adjoint": "library", "parameter": "θ a parameter", "state": "θ in the state"}
"""The four ways to one gradient, as page 8 names them."""


def errors(records: Sequence, tolerances: Sequence[float]) -> Figure:
    """The gradient's relative error over the tolerance, by way: medians over systems, smallest to largest."""
    figure, axes = style.panels(1, width=4.6, height=3.2)
    panel = axes[0, 0]
    for way, (colour, dashes) in DRAWN.items():
        found = analysis.errors(records, f"{way}@{{}}", tolerances)
        panel.fill_between(tolerances, found.min(0), found.max(0), color=colour, alpha=0.15, linewidth=0)
        drawn = {"color": colour, "linestyle": dashes, "marker": "o", "markersize": 3}
        label = way if way == "direct" else f"{way} adjoint"
        panel.loglog(tolerances, np.median(found, 0), label=label, **drawn)
    panel.loglog(tolerances, tolerances, color="#777777", linewidth=0.8, linestyle=":", label="error = tolerance")
    panel.set(xlabel="tolerance (relative and absolute)", ylabel="relative error of the gradient")
    panel.legend()
    return figure


def memory(horizons: Sequence[float], kept: analysis.Memory) -> Figure:
    """Bytes kept for the backward pass over the horizon, and over the evaluations at a fixed horizon."""
    figure, axes = style.panels(2, width=3.0, height=2.6, sharey=True)
    for way, colour in (("direct", ORANGE), ("adjoint", GREEN)):
        sizes = [size for size, _ in kept.by_horizon[way]]
        axes[0, 0].semilogy(horizons, sizes, color=colour, marker="o", label=way)
        sizes, evaluations = zip(*kept.by_steps[way], strict=True)
        axes[0, 1].semilogy(evaluations, sizes, color=colour, marker="o")
    axes[0, 0].set(xlabel="horizon T", ylabel="bytes kept")
    axes[0, 1].set(xlabel=f"evaluations forward (T = {MEMORY_HORIZON:g})")
    style.legend(figure, axes[0, 0])
    return figure


def contraction(counts: Sequence[int], plain: analysis.Contracted, default: analysis.Contracted) -> Figure:
    """The gradient's relative error by checkpoints and contraction, without and with refinement."""
    figure, axes = style.panels(2, width=3.2, height=2.9)
    for rate, colour in zip(RATES, (GREEN, BLUE, ORANGE), strict=True):
        for panel, found in zip(axes[0], (plain, default), strict=True):
            line = [found[rate, count].error for count in counts]
            panel.semilogy(range(len(counts)), line, color=colour, marker="o", markersize=3, label=f"λ = {rate:g}")
        flagged = [i for i, count in enumerate(counts) if plain[rate, count].warned]
        marked = [plain[rate, counts[i]].error for i in flagged]
        axes[0, 0].plot(flagged, marked, "x", color=colour, markersize=9)
    for panel, title in zip(axes[0], ("refine=False", "default"), strict=True):
        panel.axhline(1.0, color="#777777", linewidth=0.8, linestyle=":")
        panel.set(title=title, xlabel="checkpoints", xticks=range(len(counts)), xticklabels=counts)
    axes[0, 0].set_ylabel("relative error of the gradient")
    style.legend(figure, axes[0, 0])
    return figure


def price(measured: Price, kept: Mapping[str, int]) -> Figure:
    """Time and memory of one gradient, relative to the direct one's."""
    figure, axes = style.panels(2, width=3.0, height=2.6)
    ratios = np.array([measured.ratio(way) for way in WAYS])
    spread = np.abs(ratios[:, 1:].T - ratios[:, 0])
    _bars(axes[0, 0], ratios[:, 0], xerr=spread)
    axes[0, 0].axvline(2, color="black", linewidth=0.8, linestyle=":")
    axes[0, 0].set(xlabel="time / direct")
    _bars(axes[0, 1], [kept[way] / kept["direct"] for way in WAYS])
    axes[0, 1].set(xlabel="memory kept / direct", yticklabels=[])
    return figure


def _bars(panel: Axes, values: Sequence[float] | np.ndarray, **options) -> None:
    panel.barh([NAMES[way] for way in WAYS], values, color=[ORANGE, GREEN, "#777777", BLUE], **options)
    panel.invert_yaxis()
