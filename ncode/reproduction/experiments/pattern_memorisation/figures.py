"""Figures of pattern memorisation: Figs. 6 and A.3 of the paper, what learning does to μ, and crosstalk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ncode.reproduction.experiments.pattern_memorisation import analysis
from ncode.reproduction.experiments.pattern_memorisation.analysis import errors, select
from ncode.reproduction.experiments.pattern_memorisation.train import Config, task
from ncode.reproduction.models.memory import chance
from ncode.reproduction.plotting import style

DEGRADED = {0.5: "#0072B2", 0.7: "#009E73", 0.9: "#D55E00"}
PATTERNS = {2: "#777777", 3: "#0072B2", 5: "#009E73", 10: "#D55E00"}
LIMIT = 0.01
"""The claim's bit error."""
LEAST = 1e-5
"""Errors below this one are drawn at it."""


def episode(stimuli: Tensor, output: Tensor, target: Tensor, most: int = 100) -> Figure:
    """Fig. 6, left: what an episode shows, the output and the target, as squares of the first bits."""
    frames = [*stimuli[:, 0], output[0], target[0]]
    shows = len(stimuli) - 1
    names = [f"{k / 2:g} s" for k in range(shows)] + ["query", "output", "target"]
    side = int(min(most, len(frames[0])) ** 0.5)
    figure, axes = style.panels(len(frames), width=0.9, height=1.2)
    for panel, frame, name in zip(axes[0], frames, names, strict=True):
        panel.imshow(frame[: side * side].reshape(side, side), cmap="gray", vmin=-1, vmax=1)
        panel.set(xticks=[], yticks=[])
        panel.set_title(name, fontsize=8)
        panel.grid(False)
    return figure


def motion(stimuli: Tensor, t: Tensor, x: Tensor, theta: Tensor, duration: float) -> Figure:
    """The same episode in slow motion: some bits of the state, and some synapses between them."""
    unknown, known = ((found).nonzero()[:6, 0] for found in (stimuli[-1, 0] == 0, stimuli[-1, 0] != 0))
    shows = len(stimuli)
    figure, axes = style.panels(2, width=3.9, height=2.6)
    for panel in axes[0]:
        for k in range(shows):
            panel.axvline(k * duration, color="#bbbbbb", linewidth=0.8)
        panel.axvspan((shows - 1) * duration, t[-1], color="#f0f0f0")
        panel.set(xlabel="time (s)")
    per = len(t) // shows
    for k in range(shows):
        now = slice(k * per, (k + 1) * per)
        axes[0, 0].plot(t[now], x[now, 0][:, known], color="#999999", linewidth=1)
        axes[0, 0].plot(t[now], x[now, 0][:, unknown], color="#0072B2", linewidth=1)
    for rows, columns in ((unknown, known), (known, unknown)):
        axes[0, 1].plot(t, theta[:, 0, rows, columns], color="#CC79A7", linewidth=1)
    axes[0, 0].set_ylabel("state $x_i(t)$")
    axes[0, 1].set_ylabel("synapses $\\theta_{ij}(t)$")
    return figure


def learning(shown: Mapping[str, tuple[Sequence, Sequence]], case: Mapping) -> Figure:
    """Fig. 6, right: bit error over training episodes, with the untrained rule, the nearest neighbour and chance.

    Args:
        shown: by the panel's title, runs of the learners and the untrained ones.
        case: patterns and degradation of all of them.
    """
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = style.panels(columns, rows, width=3.9, height=2.6, sharey=True)
    for panel in axes.flat[len(shown) :]:
        panel.set_axis_off()
    for panel, (title, (runs, rules)) in zip(axes.flat, shown.items(), strict=False):
        for kind in dict.fromkeys(run.config.learner for run in runs):
            style.band(panel, *analysis.curve(select(runs, learner=kind)), kind)
        for kind in ("hebb", "oracle"):
            if untrained := errors(rules, learner=kind, **case):
                panel.axhline(np.mean(untrained), **style.line(kind))
        for copies in (True, False):
            level = chance(task(Config("hebb", 0, **case)), copies)
            panel.axhline(level, color="black", linestyle=":", linewidth=1)
        panel.set(xscale="log", xlabel="training episodes", ylim=(-0.02, 0.55), title=title)
    for panel in axes[:, 0]:
        panel.set_ylabel("bit error")
    style.legend(figure, axes[0, 0], columns=3)
    return figure


def over_episodes(runs: Sequence, patterns: int = 5, degraded: float = 0.5) -> Figure:
    """Fig. A.3: N-CODE's error over training episodes, by degradation (left) and by number of patterns (right)."""
    figure, axes = style.panels(2, width=3.9, height=2.8, sharey=True)
    trained = select(runs, learner="ncode")
    for p, colour in DEGRADED.items():
        _curve(axes[0, 0], select(trained, patterns=patterns, degraded=p), colour, f"p = {p:g}")
    for m, colour in PATTERNS.items():
        _curve(axes[0, 1], select(trained, patterns=m, degraded=degraded), colour, f"m = {m}")
    axes[0, 0].set(title=f"m = {patterns} patterns", ylabel="bit error")
    axes[0, 1].set(title=f"p = {degraded:g} of the bits degraded")
    for panel in axes[0]:
        panel.axhline(LIMIT, color="black", linestyle=":", linewidth=1)
        panel.set(xlabel="training episodes")
        panel.legend()
    return figure


def cases(shown: Mapping[str, tuple[Sequence, Sequence]]) -> Figure:
    """Error after training against the number of patterns, by degradation, and the untrained rule's.

    Args:
        shown: by the panel's title, trained and untrained runs.
    """
    figure, axes = style.panels(len(shown), width=3.9, height=3.0, sharey=True)
    for panel, (title, (runs, rules)) in zip(axes[0], shown.items(), strict=True):
        _cases(panel, rules, "hebb", "--", alpha=0.5)
        _cases(panel, runs, "ncode", "-")
        panel.axhline(LIMIT, color="black", linestyle=":", linewidth=1)
        panel.set(yscale="log", title=title, xlabel="patterns m", xticks=list(PATTERNS))
    axes[0, 0].plot([], [], "--", color="grey", label="untrained rule")
    axes[0, 0].set_ylabel("bit error")
    style.legend(figure, axes[0, 0], columns=4)
    return figure


def weights(before: Tensor, after: Tensor) -> Figure:
    """Histogram of the entries of μ before and after training."""
    figure, axes = style.panels(1, width=5, height=2.4)
    span = max(before.abs().max(), after.abs().max()).item()
    edges = np.linspace(-span, span, 81)
    for entries, colour, label in ((before, "#999999", "before"), (after, style.COLOURS["closed"], "after")):
        axes[0, 0].hist(entries.flatten(), edges, color=colour, alpha=0.6, density=True, label=label)
    diagonal = after.diagonal()
    axes[0, 0].plot(diagonal, np.zeros(len(diagonal)), "|", color="black", label="after, diagonal")
    axes[0, 0].set(xlabel="entry of μ", ylabel="density")
    axes[0, 0].legend()
    return figure


def crosstalk(against: Mapping[str, Iterable[tuple[float, float]]], least: float = 1e-4) -> Figure:
    """Measured share of wrong unknown bits against the predicted one, by learner."""
    looks = (("o", "#0072B2"), ("s", "#000000"), ("^", style.COLOURS["ncode"]))
    figure, axes = style.panels(1, width=4.6, height=3.2)
    axes[0, 0].plot([least, 0.5], [least, 0.5], color="black", linewidth=0.8)
    for (name, pairs), (marker, colour) in zip(against.items(), looks, strict=True):
        kept = [pair for pair in pairs if min(pair) > least]
        x, y = zip(*kept, strict=True) if kept else ((), ())
        axes[0, 0].plot(x, y, marker, markersize=5, color=colour, label=name, fillstyle="none")
    axes[0, 0].set(xscale="log", yscale="log", xlabel="predicted", ylabel="measured")
    axes[0, 0].legend()
    return figure


def _curve(panel: Axes, runs: Sequence, colour: str, label: str) -> None:
    if not runs:
        return
    length = min(run.config.iterations for run in runs)
    seen, found = analysis.curve([run for run in runs if run.config.iterations == length])
    panel.fill_between(seen, np.min(found, 0), np.max(found, 0), color=colour, alpha=0.2, linewidth=0)
    panel.plot(seen, np.median(found, 0), color=colour, label=label)


def _cases(panel: Axes, runs: Sequence, learner: str, dashes: str, **look) -> None:
    """Mean error against m, one line for each p; every seed of a trained learner as a dot."""
    for p, colour in DEGRADED.items():
        found = select(runs, learner=learner, degraded=p)
        m = sorted({run.config.patterns for run in found})
        mean = [np.mean(errors(found, patterns=value)) for value in m]
        label = f"N-CODE, p = {p:g}" if learner == "ncode" else None
        panel.plot(m, np.maximum(mean, LEAST), dashes, color=colour, label=label, **look)
        for run in found if learner == "ncode" else ():
            panel.plot(run.config.patterns, max(run.metrics["error"], LEAST), ".", color=colour)
