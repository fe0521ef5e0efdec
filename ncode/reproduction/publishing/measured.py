"""The tables and figures of the page on performance, with their captions, as MyST Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ncode.reproduction.publishing import downloads, performance, targets
from ncode.reproduction.publishing.performance import Measured
from ncode.reproduction.publishing.tables import list_table

Record = Sequence[Measured]
NOTHING = "This was not measured yet.\n"
AS_EXACT = " at a worst-sample error no larger than ours"

DRAWN = {
    "performance-precision": "Time of a training step, forward and backward, against the worst sample's error at the "
    "path's end: open loop, 512 samples, double precision, tolerances from 10⁻² to 10⁻⁸. Lower and further left is "
    "better.",
    "performance-scaling": "How a training step's time grows at tolerance 10⁻³, as far as it was measured: with the "
    "batch (a field a sample), the state's dimension (one field for all), the horizon.",
    "performance-memory": "A training step on a convolutional block with kernels of its own for every sample, as the "
    "steps become more, by gradient mode: its time, and the memory that it needs beyond what it held before.",
    "performance-stiff": "Time of a solve, one sample forward in double precision at tolerance 10⁻⁶, as the problem "
    "becomes stiffer. A line ends where the method takes more than 50 000 evaluations.",
}


def fill(executed, what: str, *kind: str) -> str:
    """Of what ``make bench`` measured: a table, of training steps for one kind of model, a figure, or where the numbers
    come from.

    Args:
        what: a key of :data:`TABLES` or of :data:`DRAWN`, ``"steps"`` or ``"provenance"``.
        kind: of model, for ``"steps"``.
    """
    record = performance.load()
    if what == "steps":
        return steps(record, " ".join(kind))
    if what in DRAWN:
        return drawn(record, what)
    return TABLES[what](record)


def steps(record: Record, kind: str) -> str:
    """The training steps of a kind of model, by every way."""
    rows = performance.step_rows(kind, record)
    columns = ["way", "threads"]
    for fields in performance.FIELDS.values():
        columns += [f"{fields}: ms", "times ours (quartiles)", "worst sample's error", "tolerance"]
    caption = f"{kind[0].upper()}{kind[1:]}: a training step, forward and backward{AS_EXACT}."
    return list_table(f"tab-steps-{kind.replace(' ', '-').lower()}", caption, columns, rows) if rows else ""


def drawn(record: Record, name: str) -> str:
    """A figure of the record, with its caption."""
    panels = performance.drawable(record).get(name)
    if not panels:
        return NOTHING
    options = f":name: fig-{name}\n:width: {performance.width(len(panels))}px"
    figure = f"::::{{figure}} /{downloads.FIGURES}/{name}.png\n{options}\n\n{DRAWN[name]}\n::::\n"
    return figure + "\n" + downloads.offer(f"fig-{name}.svg", of=f"{downloads.FIGURES}/{name}.svg")


def reached(record: Record) -> str:
    """What was set out to be reached beside what was measured: training steps, then all else."""
    columns = ["this library", "fields", "beside", "to reach", *targets.KINDS, "reached"]
    caption = f"Training steps{AS_EXACT}: how many times as long the other library takes."
    first = list_table("tab-targets-steps", caption, columns, targets.step_rows(record))
    caption = "All else that was set out to be reached; ratios with their quartiles."
    columns = ["measure", "to reach", "measured", "reached"]
    return first + "\n" + list_table("tab-targets", caption, columns, targets.goal_rows(record))


def shares(record: Record) -> str:
    """Where a training step's time goes, and a block's gradients."""
    rows = targets.share_rows(record)
    if not rows:
        return NOTHING
    columns = [
        "training step",
        "ms",
        *targets.PARTS.values(),
        "operations",
        "times as fast were all but the field free",
    ]
    told = list_table("tab-shares", "Where a training step's time goes, one thread.", columns, rows)
    columns = ["block", "gradient", "ms", "times direct (quartiles)", "evaluations: forward", "backward"]
    caption = "A gradient of a convolutional block with kernels of its own for every sample, one thread."
    blocks = targets.block_rows(record)
    return told + ("\n" + list_table("tab-blocks", caption, columns, blocks) if blocks else "")


def stiff(record: Record) -> str:
    """An implicit method beside an explicit one."""
    rows = performance.stiff_rows(record)
    columns = ["problem"]
    for method in ("rodas4", "dopri5"):
        columns += [f"{method}: evaluations", "ms", "relative error"]
    caption = "An implicit and an explicit method as the problem becomes stiffer; the errors are relative, at T."
    return list_table("tab-stiff", caption, [*columns, "dopri5's time over rodas4's"], rows) if rows else ""


def independent(record: Record) -> str:
    """Every sample's own steps beside shared ones."""
    rows = performance.independent_rows(record)
    columns = ["case", "steps", "ms", "times shared (quartiles)", "evaluations by sample", "worst sample's error"]
    caption = (
        "A training step, forward and backward, with shared steps and with every sample's own, whose worst sample's "
        "error is no larger."
    )
    return list_table("tab-independent", caption, [*columns, "tolerance"], rows) if rows else NOTHING


def gpu(record: Record) -> str:
    """A GPU's training steps, and the same by graphs."""
    rows = performance.gpu_rows(record)
    if not rows:
        return NOTHING
    block = "of Table 1's block on a GPU: 64 images of 32×32, 50 filters."
    columns = ["training step", "card", "ms", "evaluations", "ms of the GPU's own", "kernels launched"]
    caption = (
        f"dopri5's training step {block} Forward, backward, clipping and the optimiser's step; the GPU's own time, its "
        "kernels and the errors are those of forward and backward."
    )
    told = list_table("tab-gpu", caption, [*columns, "relative error of x(T)", "of the gradient"], rows)
    columns = ["training step", "card", "dopri5: ms", "by graphs of its steps: ms", "graphs: times as fast"]
    columns += ["rk4: ms", "as one graph: ms", "one graph: times as fast"]
    caption = (
        f"The same by graphs, and five steps of rk4, forward and backward, {block} Each ratio compares two times that "
        "were measured one after the other. –: not measured on that card."
    )
    return told + "\n" + list_table("tab-gpu-graphs", caption, columns, performance.graph_rows(record))


TABLES: dict[str, Callable[[Record], str]] = {
    "targets": reached,
    "shares": shares,
    "stiff": stiff,
    "independent": independent,
    "gpu": gpu,
    "provenance": performance.described,
}
