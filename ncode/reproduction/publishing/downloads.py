"""Downloads: beside every table and forest plot its numbers as CSV, beside every figure its SVG, each with its source.

A page carries each as an ``{offer}`` directive, on a notebook's page and on any other. The Sphinx extension
``book/_ext/ncode_book.py`` writes the file into a folder named after the page, and sets the links: the file, and the
line of the repository, at its commit, that made it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from ncode.reproduction.claims.questions import Answer
from ncode.reproduction.publishing.forest import MARKS, ranked
from ncode.reproduction.publishing.numbers import SPACE, THIN

FIGURES = "book/figures"
"""Where the staged book keeps figures that pages borrow from notebooks, or that are drawn of the record of speed."""

_ROLE = re.compile(r"\{\w+\}`([^`]*)`")
_SPACES = str.maketrans({SPACE: " ", THIN: " "})

FOREST_COLUMNS = [
    *("part", "asks", "measure", "setting", "case", "nearness", "seeds"),
    *("estimate", "interval_low", "interval_high", "total_low", "total_high"),
    *("above", "below", "published", "answer", "decides", "runs"),
]


def offer(file: str, content: str = "", *, source: str = "", of: str = "") -> str:
    """The directive that offers ``file`` beside what stands above it.

    Args:
        file: its name, such as ``tab-reflection.csv``.
        content: what it contains.
        source: where it was made, as a path in the repository with ``#L`` and a line; otherwise the page's own file.
        of: the staged file that it is a copy of, in place of ``content``.
    """
    options = [f":{name}: {value}" for name, value in (("source", source), ("of", of)) if value]
    return "\n".join([f"```{{offer}} {file}", *options, "", content.strip("\n"), "```", ""])


def as_csv(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table as CSV: a line of headings, then a line a row. Roles become their text, numbers keep all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return " ".join(_ROLE.sub(r"\1", text.translate(_SPACES)).split())


def forest_rows(answer: Answer) -> list[list]:
    """The forest plot of one question as rows under :data:`FOREST_COLUMNS`: the evidence, not rounded."""
    question, nothing = answer.question, (None, None)
    return [
        [
            *(question.part, question.asks, question.measure, one.setting, one.of, one.nearness, one.seeds),
            *(one.estimate, *(one.interval or nothing), *(one.total or nothing)),
            *(question.above, question.below, question.published),
            *(MARKS[one.answer(question)], "yes" if one in answer.deciding else "no", " ".join(one.runs)),
        ]
        for one in ranked(answer.evidence)
    ]


def forest(claim: str, answer: Answer, source: str = "") -> str:
    """The offer of the numbers behind the forest plot of one question of ``claim``."""
    name = f"claim-{claim.lower()}-{answer.question.part}.csv"
    return offer(name, as_csv(FOREST_COLUMNS, forest_rows(answer)), source=source)


def line_of(text: str, cell: str, name: str) -> int | None:
    """The line of the py:percent notebook ``text`` on which its code ``cell`` says ``name``, otherwise its first.

    ``None`` where the cell does not stand in the text: the injected parameters.
    """
    start = text.find(cell)
    if start < 0 or not cell:
        return None
    said = cell.find(f'"{name}"')
    return text.count("\n", 0, start + max(said, 0)) + 1
