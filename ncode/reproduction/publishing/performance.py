"""The page on performance: tables and figures of what ``make bench`` measured, from its record alone.

The record is ``results/performance.jsonl``: a line for everything that was measured, with what it is (``config``), its
numbers (``metrics``, seconds) and where they come from (``provenance``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncode.reproduction.runs import recordings

FIELDS = {"near": "near-equal fields", "far": "very different fields"}
AXES = {"batch": "batch", "dimension": "state's dimension", "horizon": "horizon T"}


@dataclass(frozen=True)
class Measured:
    """One line of the record."""

    id: str
    experiment: str
    config: dict[str, Any]
    metrics: dict[str, float]
    provenance: dict[str, Any]


def load(path: Path | None = None) -> list[Measured]:
    """All that was measured; empty where nothing was yet."""
    path = path or recordings.folder() / "performance.jsonl"
    return [Measured(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def step_rows(kind: str, measured: Sequence[Measured]) -> list[list[str]]:
    """For every way of taking ``kind``'s training step: near and far its time, its ratio to ours, its error."""
    found: dict[tuple[str, int], dict[str, Measured]] = {}
    for one in measured:
        if one.config["suite"] == "step" and one.config["kind"] == kind:
            found.setdefault((one.config["way"], one.config["threads"]), {})[one.config["fields"]] = one
    rows = []
    for (way, threads), cells in found.items():
        row = [way, str(threads)]
        for fields in FIELDS:
            if fields not in cells:
                row += ["–", "–", "–", "–"]
                continue
            m = cells[fields].metrics
            row += [
                f"{1e3 * m['seconds']:.2f}",
                f"{m['ratio']:.2f} ({m['ratio_low']:.2f} to {m['ratio_high']:.2f})",
                f"{m['error']:.1e}",
                f"{m['tolerance']:.1e}",
            ]
        rows.append(row)
    return rows


def draw(folder: Path, measured: Sequence[Measured]) -> list[str]:
    """Write the figures that the record has the numbers for into ``folder``; their names."""
    drawn = []
    precision = [one for one in measured if one.config["suite"] == "precision"]
    if precision:
        figure = Figure(figsize=(9, 4), layout="constrained")
        for axes, fields in zip(figure.subplots(1, 2), FIELDS, strict=True):
            _lines(axes, [one for one in precision if one.config["fields"] == fields], "error", "seconds")
            axes.set(title=FIELDS[fields], xlabel="worst sample's error", ylabel="seconds", xscale="log", yscale="log")
        drawn.append(_write(figure, folder, "performance-precision"))
    scaling = {suite: [one for one in measured if one.config["suite"] == suite] for suite in AXES}
    if any(scaling.values()):
        figure = Figure(figsize=(11, 4), layout="constrained")
        for axes, (suite, points) in zip(figure.subplots(1, 3), scaling.items(), strict=True):
            _lines(axes, points, "size", "seconds")
            axes.set(xlabel=AXES[suite], ylabel="seconds", xscale="log", yscale="log")
        drawn.append(_write(figure, folder, "performance-scaling"))
    return drawn


def described(measured: Sequence[Measured]) -> str:
    """Where the numbers come from: machines, threads, versions, commits."""
    seen: dict[str, dict[str, list[Measured]]] = {}
    for one in measured:
        facts = one.provenance
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        load = f"; the machine was shared, its load {facts['load']:.0f}" if "load" in facts else ""
        where = f"{facts['device']}, {facts['threads']} thread(s), commit `{facts['commit']}`, with {versions}"
        seen.setdefault(where, {}).setdefault(load, []).append(one)
    lines = [
        f"- {sum(map(len, by_load.values()))} of them on {where}{' and'.join(by_load)}."
        for where, by_load in seen.items()
    ]
    return "\n".join(lines) + "\n" if lines else "Nothing is measured yet: `make bench` does it.\n"


def _lines(axes: Axes, points: Sequence[Measured], across: str, up: str) -> None:
    """A line for every way, through its points in order."""
    ways = list(dict.fromkeys(one.config["way"] for one in points))
    for way in ways:
        mine = [{**one.config, **one.metrics} for one in points if one.config["way"] == way]
        mine.sort(key=lambda values: values.get("size", -values.get("tolerance", 0.0)))
        style = {"linewidth": 2.2} if way.startswith("ncode") else {"linewidth": 1.0, "linestyle": "--"}
        axes.plot(
            [one[across] for one in mine], [one[up] for one in mine], marker="o", markersize=3, label=way, **style
        )
    if ways:
        axes.legend(fontsize=7)


def _write(figure: Figure, folder: Path, name: str) -> str:
    figure.savefig(folder / f"{name}.png", dpi=150)
    return name
