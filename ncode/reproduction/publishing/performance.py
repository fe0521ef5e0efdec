"""The page on performance: tables and figures of what ``make bench`` measured, from its record alone.

The record is ``results/performance.jsonl``: a line for everything that was measured, with what it is (``config``), its
numbers (``metrics``, seconds) and where they come from (``provenance``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncode.reproduction.plotting.vectors import svg
from ncode.reproduction.runs import recordings

FIELDS = {"near": "near-equal fields", "far": "very different fields"}
CASES = {**FIELDS, "stiff": "one stiff sample", "horizons": "horizons from 1 to 100"}
"""What samples' own steps are measured on."""
AXES = {"batch": "batch", "dimension": "state's dimension", "horizon": "horizon T"}
STIFF = {"Van der Pol": "μ", "Robertson": "T"}
"""The stiff problems, and what makes each stiffer."""
UNITS = {"seconds": "seconds", "megabytes": "peak memory, MB"}


class Panel(NamedTuple):
    """One panel of a figure: its title, and what lies across and up."""

    title: str
    label: str
    across: str = "size"
    up: str = "seconds"


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


def independent_rows(measured: Sequence[Measured]) -> list[list[str]]:
    """For every case and way of choosing steps: its time, its ratio to shared steps, evaluations by sample, error."""
    rows = []
    for one in measured:
        if one.config["suite"] == "independent":
            m = one.metrics
            rows.append(
                [
                    CASES[one.config["fields"]],
                    one.config["way"],
                    f"{1e3 * m['seconds']:.1f}",
                    f"{m['ratio']:.2f} ({m['ratio_low']:.2f} to {m['ratio_high']:.2f})",
                    f"{m['evaluations']:.0f}",
                    f"{m['error']:.1e}",
                    f"{m['tolerance']:.1e}",
                ]
            )
    return rows


def draw(folder: Path, measured: Sequence[Measured]) -> list[str]:
    """Write the figures that the record has the numbers for into ``folder``; their names."""
    drawn = drawable(measured)
    for name, panels in drawn.items():
        figure = Figure(figsize=(4.5 * len(panels), 4), layout="constrained")
        for axes, (panel, points) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            _lines(axes, points, panel.across, panel.up)
            axes.set(title=panel.title, xlabel=panel.label, ylabel=UNITS[panel.up], xscale="log", yscale="log")
        figure.savefig(folder / f"{name}.png", dpi=150)
        (folder / f"{name}.svg").write_text(svg(figure), encoding="utf-8")
    return list(drawn)


def stiff_rows(measured: Sequence[Measured]) -> list[list[str]]:
    """For every stiff problem: of rodas4 and of dopri5 the evaluations, the time, the error; and dopri5's time over
    rodas4's. A method that took too many evaluations has dashes."""
    found: dict[tuple[str, float], dict[str, Measured]] = {}
    for one in measured:
        if one.config["suite"] == "stiff":
            found.setdefault((one.config["kind"], one.config["size"]), {})[one.config["way"]] = one
    rows = []
    for (kind, size), cells in found.items():
        row = [f"{kind}, {STIFF[kind]} = {size:g}"]
        for way in ("rodas4", "dopri5"):
            m = cells[way].metrics if way in cells else None
            row += [f"{m['nfe']:.0f}", f"{1e3 * m['seconds']:.3g}", f"{m['error']:.1e}"] if m else ["–", "–", "–"]
        m = cells["dopri5"].metrics if "dopri5" in cells else None
        rows.append([*row, f"{m['ratio']:.2f} ({m['ratio_low']:.2f} to {m['ratio_high']:.2f})" if m else "–"])
    return rows


def drawable(measured: Sequence[Measured]) -> dict[str, dict[Panel, list[Measured]]]:
    """Every figure that the record has the numbers for: its panels and their points."""

    def of(**config: str) -> list[Measured]:
        return [one for one in measured if config.items() <= one.config.items()]

    precision = {
        Panel(title, "worst sample's error", "error"): of(suite="precision", fields=fields)
        for fields, title in FIELDS.items()
    }
    scaling = {Panel("", label): of(suite=suite) for suite, label in AXES.items()}
    memory = {Panel("", "steps of rk4", up=up): of(suite="memory") for up in UNITS}
    stiff = {Panel(kind, size): of(suite="stiff", kind=kind) for kind, size in STIFF.items()}
    figures = {"precision": precision, "scaling": scaling, "memory": memory, "stiff": stiff}
    found = {}
    for name, panels in ((f"performance-{name}", panels) for name, panels in figures.items()):
        # A panel of one size or tolerance shows no growth.
        shown = {panel: points for panel, points in panels.items() if _longest(points) > 1}
        if shown:
            found[name] = shown
    return found


def _longest(points: Sequence[Measured]) -> int:
    """The most points that one way has."""
    return max(Counter(one.config["way"] for one in points).values(), default=0)


def described(measured: Sequence[Measured]) -> str:
    """Where the numbers come from: machines, threads, versions, commits."""
    seen: dict[str, list[float | None]] = {}
    for one in measured:
        facts = one.provenance
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        where = f"{facts['device']}, {facts['threads']} thread(s), commit `{facts['commit']}`, with {versions}"
        seen.setdefault(where, []).append(facts.get("load"))
    lines = []
    for where, loads in seen.items():
        known = sorted(round(load) for load in loads if load is not None)
        shared = f"; the machine was shared, its load {known[0]} to {known[-1]}" if known else ""
        lines.append(f"- {len(loads)} of them on {where}{shared}.")
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
        # Below the panel: wherever it lay inside, it hid a line.
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
