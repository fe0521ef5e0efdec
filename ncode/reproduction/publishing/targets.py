"""What the solver set out to reach, beside what was measured, and where the time of what it did not reach goes.

The targets were set before the engine was written. What was measured is the record of ``make bench``
(:mod:`ncode.reproduction.publishing.performance`), and nothing here is a measured number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ncode.reproduction.publishing import numbers
from ncode.reproduction.publishing.performance import FIELDS, Measured, rounding

KINDS = ("open loop", "neural ODE", "closed loop")
TORCHDIFFEQ = ("torchdiffeq", "torchdiffeq, worst-sample norm")
"""At its best: by whichever norm it is faster."""
BATCHED, VMAPPED = ("diffrax, batched",), ("diffrax, vmapped",)
BLOCKS = ("16 channels, 8×8", "16 channels, 14×14", "Table 1, MNIST", "Table 1, CIFAR-10")
PARTS = {
    "field_forward": "field, forward",
    "field_backward": "field, backward",
    "arithmetic": "solver's arithmetic",
    "autograd": "autograd, beyond operations",
    "loop": "Python of the forward pass",
}


@dataclass(frozen=True)
class Step:
    """A training step as exact as ours: how many times as long another library is to take, at least."""

    way: str
    fields: str
    beside: tuple[str, ...]
    least: float
    horizon: float | None = None
    """Of the suite ``module``; the other steps are the suite ``step``'s."""


STEPS = [
    Step(way, fields, beside, least)
    for (way, fields), bounds in {
        ("ncode", "near"): (5.0, 2.4, 2.7),
        ("ncode", "far"): (4.0, 2.2, 3.5),
        ("ncode, compiled", "near"): (6.5, 3.0, 3.5),
        ("ncode, compiled", "far"): (7.0, 3.7, 6.0),
    }.items()
    for beside, least in zip((TORCHDIFFEQ, BATCHED, VMAPPED), bounds, strict=True)
]
STEPS += [
    Step("ncode, a user's module", fields, TORCHDIFFEQ, 2.0, horizon) for horizon in (1.0, 10.0) for fields in FIELDS
]


@dataclass(frozen=True)
class Goal:
    """One other measure: a ratio that is to be at least ``least``, or at most ``most``.

    Attributes:
        name: what is measured.
        suite, way, fields, size: what the record calls it; none of what has no benchmark.
        more: what else its configuration says there.
    """

    name: str
    suite: str = ""
    way: str = ""
    fields: str | None = None
    size: int | float | None = None
    least: float | None = None
    most: float | None = None
    more: Mapping[str, object] = field(default_factory=dict)


GOALS = [
    Goal(
        "processor time over that of ANODE's public code: nested spheres in the plane, its settings, whole training",
        "training",
        "ncode",
        most=0.5,
    ),
    *(
        Goal(f"Appendix B's listing over direct gradients: block of {name}", "block", "Appendix B", name, least=5.0)
        for name in BLOCKS[2:]
    ),
    *(
        Goal(f"{way} over direct gradients: block of {name}", "block", way, name, most=1.5)
        for way in ("checkpointed", "adjoint")
        for name in BLOCKS
    ),
    *(
        Goal(f"torchdiffeq's dopri5 at 1e-6 over AutoN-CODE's flow: m = {m}", "flow", "exact", size=m, least=least)
        for m, least in ((25, 15.0), (64, 30.0), (128, 80.0))
    ),
    *(
        Goal(f"direct rk4 by {engine} over the low-rank form: memory episode, n = 1000", "episode", way, least=5.0)
        for engine, way in (("torchdiffeq", "direct rk4, torchdiffeq"), ("this library's engine", "direct rk4"))
    ),
    *(
        Goal(
            f"rk4 step by step over one CUDA graph of it: {kind} of Table 1's block on a GPU, {rounding(tf32)}",
            "gpu",
            "one graph",
            least=4.0,
            more={"kind": kind, "tf32": tf32},
        )
        for tf32 in (False, True)
        for kind in ("ANODE", "open loop")
    ),
]
BOOK = 13.0
"""Minutes that `make book` may take from a fresh clone, the environment included."""


def step_rows(measured: Sequence[Measured]) -> list[list[str]]:
    """Every target of a training step: what is compared, the target, the kinds' ratios, and whether they reach it."""
    rows = []
    for step in STEPS:
        found = [_ratio(step, kind, measured) for kind in KINDS]
        name = step.beside[0] if step.horizon is None else f"{step.beside[0]}, T = {step.horizon:g}"
        cells = ["–" if ratio is None else f"{ratio:.2f}" for ratio in found]
        rows.append(
            [step.way, FIELDS[step.fields], name, f"≥ {step.least:g}", *cells, _verdict(found, step.least, None)]
        )
    return rows


def goal_rows(measured: Sequence[Measured]) -> list[list[str]]:
    """Every other target: its name, the target, the ratio with its quartiles, and whether it is reached."""
    rows = []
    for goal in GOALS:
        bound = f"≥ {goal.least:g}" if goal.most is None else f"≤ {goal.most:g}"
        found = [one for one in measured if _is(one, goal)]
        if not found:
            rows.append([goal.name, bound, "–", "not measured"])
        for one in found:
            m = one.metrics
            shown = f"{m['ratio']:.2f}"
            if "ratio_low" in m:
                shown += f" ({m['ratio_low']:.2f} to {m['ratio_high']:.2f})"
            where = f", {one.config['card']}" if "card" in one.config else ""
            rows.append([goal.name + where, bound, shown, _verdict([m["ratio"]], goal.least, goal.most)])
    growth = memory_growth(measured)
    shown, verdict = ("–", "not measured") if growth is None else (f"{growth:.2f}", _verdict([growth], None, 0.5))
    rows.append(["checkpointed gradients' peak memory: exponent of its growth with the steps", "≤ 0.5", shown, verdict])
    return [*rows, book_row(measured)]


def book_row(measured: Iterable[Measured]) -> list[str]:
    """The minutes of `make book` from a fresh clone, of which the environment's."""
    row = ["minutes of `make book` from a fresh clone, two cores", f"≤ {BOOK:g}"]
    for one in measured:
        if one.config["suite"] == "book":
            environment, book = (one.metrics[part] / 60 for part in ("environment", "seconds"))
            total = environment + book
            return [*row, f"{total:.1f} ({environment:.1f} of them its environment)", _verdict([total], None, BOOK)]
    return [*row, "–", "not measured"]


def memory_growth(measured: Iterable[Measured]) -> float | None:
    """p in memory ~ steps^p, between the fewest and the most steps that were measured."""
    found = {
        one.config["size"]: one.metrics["megabytes"]
        for one in measured
        if one.config["suite"] == "memory" and one.config["way"] == "checkpointed"
    }
    if len(found) < 2:
        return None
    few, many = min(found), max(found)
    return math.log(found[many] / found[few]) / math.log(many / few)


def share_rows(measured: Sequence[Measured]) -> list[list[str]]:
    """For every training step that was looked into: its time, its parts' shares, and how many times as fast it would
    be if all but the field took no time."""
    rows = []
    for one in measured:
        if one.config["suite"] != "shares":
            continue
        m, config = one.metrics, one.config
        where = FIELDS.get(config["fields"], config["fields"])
        horizon = f", T = {config['size']:g}" if "size" in config else ""
        rest = f"; {numbers.number(1e3 * m['rest'], 2)} ms more make an iteration" if "rest" in m else ""
        shares = [f"{100 * max(m[part], 0.0) / m['seconds']:.0f} %" for part in PARTS]
        free = m["seconds"] / (m["field_forward"] + m["field_backward"])
        rows.append(
            [
                f"{config['way']}: {config['kind']}, {where}{horizon}{rest}",
                numbers.number(1e3 * m["seconds"], 3),
                *shares,
                f"{m['operations']:.0f}",
                f"{free:.1f}",
            ]
        )
    return rows


def block_rows(measured: Sequence[Measured]) -> list[list[str]]:
    """For every convolutional block and way to its gradient: its time, its ratio to direct, its evaluations."""
    rows = []
    for one in measured:
        if one.config["suite"] == "block":
            m = one.metrics
            shown = f"{m['ratio']:.2f} ({m['ratio_low']:.2f} to {m['ratio_high']:.2f})"
            counts = [f"{m['forward']:.0f}", f"{m['backward']:.0f}"]
            rows.append(
                [one.config["fields"], one.config["way"], numbers.number(1e3 * m["seconds"], 3), shown, *counts]
            )
    return rows


def _ratio(step: Step, kind: str, measured: Sequence[Measured]) -> float | None:
    """How many times as long the fastest of ``beside`` takes; ``None`` where it was not measured."""
    suite = "step" if step.horizon is None else "module"
    found = {
        one.config["way"]: one.metrics["ratio"]
        for one in measured
        if one.config["suite"] == suite
        and (one.config["kind"], one.config["fields"], one.config["threads"]) == (kind, step.fields, 1)
        and one.config.get("size") == step.horizon
    }
    base = found.get(step.way if suite == "step" else "ncode")
    theirs = [found[name] for name in step.beside if name in found]
    return None if base is None or not theirs else min(theirs) / base


def _is(one: Measured, goal: Goal) -> bool:
    config = one.config
    return (
        (config["suite"], config["way"]) == (goal.suite, goal.way)
        and goal.fields in (None, config["fields"])
        and goal.size in (None, config.get("size"))
        and all(config.get(name) == value for name, value in goal.more.items())
    )


def _verdict(found: Sequence[float | None], least: float | None, most: float | None) -> str:
    known = [ratio for ratio in found if ratio is not None]
    if not known:
        return "not measured"
    reached = sum((least is None or ratio >= least) and (most is None or ratio <= most) for ratio in known)
    if len(found) == 1:
        return "yes" if reached else "no"
    told = "yes" if reached == len(known) else "no" if not reached else f"{reached} of {len(known)}"
    return told if len(known) == len(found) else f"{told}, {len(found) - len(known)} not measured"
