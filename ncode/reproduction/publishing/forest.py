"""Forest plots: every setting at which a question was asked, as a point with its interval.

A row is a setting. The line is the question's level, the diamond the paper's own value. The plot is HTML and SVG: sharp
at every size, legible on a phone and on a dark page, and its numbers stand beside it as text.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence

from ncode.reproduction.claims.questions import NEARNESS, Answer, Evidence
from ncode.reproduction.publishing.numbers import interval, number

MARKS = {True: "✓", False: "✗", None: "?"}
CLASSES = {True: "holds", False: "fails", None: "undecided"}

IN_SIGHT = 3
"""So many rows are in sight, those that decide first; the rest opens on demand (book/_static/ncode.css)."""


def more_rows(count: int, long: bool = False) -> str:
    """The switch behind a table of ``count`` rows; the book's style hides what is folded while the switch is shut.

    Args:
        long: the rows are paragraphs, and fewer of them are in sight.
    """
    kind = "ncode-more ncode-more-long" if long else "ncode-more"
    return f'<details class="{kind}"><summary>All {count} rows</summary></details>'


def forest(answer: Answer) -> str:
    """The forest plot of one question; empty where no evidence of it has an interval."""
    rows = drawn(answer)
    if not rows:
        return ""
    question = answer.question
    levels = [level for level in (question.above, question.below) if level is not None]
    published = printed(question.published)
    # Toys with two seeds have intervals in whose scale nothing else could be seen.
    near = [one for one in rows if one.nearness != NEARNESS[0]] or rows
    scale = _scale([*levels, *([] if published is None else [published]), *(v for one in near for v in _span(one))])
    labels = _labels(rows)
    body = "".join(_row(answer, one, label, levels, published, scale) for one, label in zip(rows, labels, strict=True))
    says = "The paper" if published is None else "◆ the paper"
    key = f" {says}: {html.escape(question.published)}." if question.published else ""
    if any(one.total for one in rows):
        key += " The dashed line, and the interval in numbers, add the test images' sampling error."
    lines = " and ".join(number(level) for level in levels)
    return (
        f'<table class="ncode-forest"><caption>{html.escape(question.measure)}, with 95 % intervals; '
        f"{'the lines are' if len(levels) > 1 else 'the line is'} {lines}.{key}</caption>"
        '<thead><tr><th scope="col">setting</th><th scope="col">interval</th><th scope="col">numbers</th></tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def drawn(answer: Answer) -> list[Evidence]:
    """The evidence that a plot can show, in its order.

    What decides stands first: what speaks against, then what is undecided, then what holds, the closest call first.
    """
    order = {False: 0, None: 1, True: 2}

    def place(one: Evidence) -> tuple[int, float]:
        if one not in answer.deciding:
            return len(order), 0.0
        held = one.answer(answer.question)
        return order[held], _room(answer, one) if held else 0.0

    return sorted((one for one in ranked(answer.evidence) if one.interval is not None and _finite(one)), key=place)


def _room(answer: Answer, one: Evidence) -> float:
    """How far the interval stays from the question's levels."""
    levels = [level for level in (answer.question.above, answer.question.below) if level is not None]
    return min(abs(end - level) for end in (one.total or one.interval) for level in levels)


def ranked(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Evidence from the setting nearest to the paper's to the farthest; of one nearness the most seeds first."""
    return sorted(evidence, key=lambda one: (-NEARNESS.index(one.nearness), -one.seeds))


def named(one: Evidence) -> str:
    """A setting, and which case of it."""
    return f"{one.setting}: {one.of}" if one.of else one.setting


def printed(published: str) -> float | None:
    """The number that the paper printed, where it is one number."""
    found = re.fullmatch(r"[-−+]?\d+(\.\d+)?", published.strip())
    return float(found[0].replace("−", "-")) if found else None


def _span(one: Evidence) -> list[float]:
    return [*one.interval, *(one.total or ())]


def _finite(one: Evidence) -> bool:
    return all(map(math.isfinite, _span(one)))


def _scale(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or max(abs(high), 1.0)
    return low - room, high + room


def _labels(rows: Sequence[Evidence]) -> list[str]:
    """A row's name: what all rows share, the sentence above the plot has said."""
    seeds = [f"{one.nearness}, {one.seeds} seed{'' if one.seeds == 1 else 's'}" for one in rows]
    one_setting, alike = (len(set(of)) == 1 and len(rows) > 1 for of in ([one.setting for one in rows], seeds))
    names = [one.of if one_setting and one.of else named(one) for one in rows]
    return [
        html.escape(name) + ("" if alike else f" <small>· {where}</small>")
        for name, where in zip(names, seeds, strict=True)
    ]


def _row(
    answer: Answer,
    one: Evidence,
    label: str,
    levels: Sequence[float],
    published: float | None,
    scale: tuple[float, float],
) -> str:
    low, high = scale

    def at(value: float) -> str:
        return f"{100 * min(max((value - low) / (high - low), 0.0), 1.0):.2f}"

    held = one.answer(answer.question)
    marks = "".join(f'<line class="level" x1="{at(v)}" x2="{at(v)}" y1="0" y2="10"/>' for v in levels)
    if one.total:
        marks += f'<line class="total" x1="{at(one.total[0])}" x2="{at(one.total[1])}" y1="5" y2="5"/>'
    marks += f'<line class="bar" x1="{at(one.interval[0])}" x2="{at(one.interval[1])}" y1="5" y2="5"/>'
    middle = sum(one.interval) / 2 if one.estimate is None else one.estimate
    marks += f'<line class="point" x1="{at(middle)}" x2="{at(middle)}" y1="2" y2="8"/>'
    if published is not None:
        x = float(at(published))
        marks += f'<path class="paper" d="M{x - 1.2:.2f} 5L{x:.2f} 1L{x + 1.2:.2f} 5L{x:.2f} 9Z"/>'
    weight = " ncode-decides" if one in answer.deciding else ""
    estimate, bounds = number(middle, 3), interval(one.total or one.interval)
    return (
        f'<tr class="ncode-{CLASSES[held]}{weight}"><th scope="row">{label}</th>'
        f'<td><svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{html.escape(f"{estimate} {bounds}")}">{marks}</svg></td>'
        f"<td>{MARKS[held]} {estimate} <span>{bounds}</span></td></tr>"
    )
