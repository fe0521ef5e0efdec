"""The page on performance: tables and figures of what ``make bench`` measured, from its record alone.

The record is ``results/performance.jsonl``: a line for everything that was measured, with what it is (``config``), its
numbers (``metrics``, seconds) and where they come from (``provenance``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ncode.reproduction.plotting.vectors import svg
from ncode.reproduction.publishing import numbers
from ncode.reproduction.runs import recordings
from ncode.reproduction.words import counted

FIELDS = {"near": "near-equal fields", "far": "very different fields"}
CASES = {**FIELDS, "stiff": "one stiff sample", "horizons": "horizons from 1 to 100"}
"""What samples' own steps are measured on."""
AXES = {"batch": "batch", "dimension": "state's dimension", "horizon": "horizon T"}
STIFF = {"Van der Pol": "μ", "Robertson": "T"}
"""The stiff problems, and what makes each stiffer."""
UNITS = {"seconds": "seconds", "megabytes": "peak memory, MB"}
PIXELS = 100
"""CSS pixels to an inch of a figure, so that its letters are as large as the page's small print."""
WIDTH = 760
"""The widest figure: a page's column."""
FEW = 4
"""So many sizes are the ticks of their axis."""


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
                numbers.number(m["error"], 2),
                numbers.setting(m["tolerance"]),
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
                    numbers.number(m["error"], 2),
                    numbers.setting(m["tolerance"]),
                ]
            )
    return rows


def rounding(tf32: bool) -> str:
    """How a GPU multiplied, in words."""
    return "TF32" if tf32 else "full float32"


def gpu_rows(measured: Sequence[Measured]) -> list[list[str]]:
    """A row for every model, rounding and card: dopri5's step, the GPU's part of it, and its error."""
    names = "seconds", "nfe", "kernels", "launches", "error", "gradient_error"
    return [[*key, *_cells(made.get("as it is"), names)] for key, made in _on_gpus(measured)]


def graph_rows(measured: Sequence[Measured]) -> list[list[str]]:
    """A row for every model, rounding and card: dopri5's step by graphs of its steps, and rk4's as one graph."""
    names = "eager", "seconds", "ratio"
    ways = "graphs of steps", "one graph"
    return [
        [*key, *(cell for way in ways for cell in _cells(made.get(way), names))] for key, made in _on_gpus(measured)
    ]


def _on_gpus(measured: Sequence[Measured]) -> list[tuple[tuple[str, str], dict[str, Mapping[str, float]]]]:
    """Metrics of a GPU's training steps by way, for every model and rounding, and card."""
    found: dict[tuple[str, str], dict[str, Mapping[str, float]]] = {}
    for one in measured:
        if one.config["suite"] == "gpu":
            model, card = f"{one.config['kind']}, {rounding(one.config['tf32'])}", one.config["card"]
            found.setdefault((model, card), {})[one.config["way"]] = one.metrics
    return sorted(found.items())


def _cells(metrics: Mapping[str, float] | None, names: Sequence[str]) -> list[str]:
    """Metrics of a GPU's training step as they are shown: times in milliseconds."""
    return ["–" if metrics is None else _GPU_CELLS[name](metrics[name]) for name in names]


_GPU_CELLS: dict[str, Callable[[float], str]] = {
    **dict.fromkeys(("seconds", "kernels", "eager"), lambda seconds: f"{1e3 * seconds:.1f}"),
    **dict.fromkeys(("nfe", "launches"), lambda count: f"{count:.0f}"),
    **dict.fromkeys(("error", "gradient_error"), lambda error: numbers.number(error, 2)),
    "ratio": lambda ratio: f"{ratio:.2f}",
}


def draw(folder: Path, measured: Sequence[Measured]) -> list[str]:
    """Write the figures that the record has the numbers for into ``folder``; their names."""
    drawn = drawable(measured)
    for name, panels in drawn.items():
        figure = _figure(panels)
        figure.savefig(folder / f"{name}.png", dpi=2 * PIXELS)
        (folder / f"{name}.svg").write_text(svg(figure), encoding="utf-8")
    return list(drawn)


def width(panels: int) -> int:
    """The width of a figure of so many panels on a page, in CSS pixels."""
    return min(WIDTH, 460 * panels)


def _figure(panels: Mapping[Panel, Sequence[Measured]]) -> Figure:
    """The panels in a row; below them one legend, for a way has one colour in all of them."""
    figure = Figure(figsize=(width(len(panels)) / PIXELS, 3.9), layout="constrained")
    ways = list(dict.fromkeys(one.config["way"] for points in panels.values() for one in points))
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (panel, points) in zip(row, panels.items(), strict=True):
        _lines(axes, points, panel, {way: f"C{i}" for i, way in enumerate(ways)})
    lines = {line.get_label(): line for axes in row for line in axes.get_lines()}
    columns = 2 if len(panels) == 1 else 3
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    return figure


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
            if m is None:
                row += ["–", "–", "–"]
                continue
            row += [f"{m['nfe']:.0f}", numbers.number(1e3 * m["seconds"], 3), numbers.number(m["error"], 2)]
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
        threads = counted(facts["threads"], "thread")
        where = f"{facts['device']}, {threads}, commit `{facts['commit']}`, with {versions}"
        seen.setdefault(where, []).append(facts.get("load"))
    lines = []
    for where, loads in seen.items():
        known = sorted(round(load) for load in loads if load is not None)
        between = " to ".join(map(str, dict.fromkeys([*known[:1], *known[-1:]])))
        shared = f"; the machine's load was about {between}" if known else ""
        lines.append(f"- {counted(len(loads), 'measurement')} on {where}{shared}.")
    return "\n".join(lines) + "\n" if lines else "Nothing is measured yet: `make bench` does it.\n"


def _lines(axes: Axes, points: Sequence[Measured], panel: Panel, colours: Mapping[str, str]) -> None:
    """A line for every way, through its points in order."""
    for way in dict.fromkeys(one.config["way"] for one in points):
        mine = [{**one.config, **one.metrics} for one in points if one.config["way"] == way]
        mine.sort(key=lambda values: values.get("size", -values.get("tolerance", 0.0)))
        style = {"linewidth": 2.2} if way.startswith("ncode") else {"linewidth": 1.0, "linestyle": "--"}
        across, up = ([one[axis] for one in mine] for axis in (panel.across, panel.up))
        axes.plot(across, up, marker="o", markersize=3, label=way, color=colours[way], **style)
    axes.set(xscale="log", yscale="log")
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel(panel.label, fontsize=9)
    axes.set_ylabel(UNITS[panel.up], fontsize=9)
    axes.tick_params(which="both", labelsize=8)
    axes.xaxis.set_minor_formatter(NullFormatter())
    sizes = sorted({one.config["size"] for one in points}) if panel.across == "size" else []
    if 1 < len(sizes) <= FEW:
        # Less than a decade has a single label of its own.
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
