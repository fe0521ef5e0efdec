"""Numbered tables of pages, in MyST Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ncode.reproduction.publishing import downloads
from ncode.reproduction.publishing.forest import more_rows

# So many rows of a table are in sight; the rest opens on demand (book/_static/ncode.css knows the number, too).
IN_SIGHT, IN_SIGHT_OF_LONG_ONES = 8, 4
LONG_ROW = 120
"""Characters of a long row, in the mean over a table."""


def flat_text(text: str) -> str:
    """On one line, with the spaces of numbers kept."""
    return re.sub(r"[ \t\n]+", " ", text).strip(" ")


def list_table(name: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], source: str = "") -> str:
    """A numbered ``{list-table}`` that pages can refer to as ``name``, and its CSV; of a long one the last rows open on
    demand. What rows in a row begin with stands in the first of them; the CSV has it in all."""

    def line(cells: Sequence[str]) -> str:
        flat = [flat_text(str(cell)) for cell in cells]
        return "* - " + "\n  - ".join(flat)

    body = "\n".join(line(row) for row in (columns, *_said_once(rows)))
    long = sum(len(str(cell)) for row in rows for cell in row) > LONG_ROW * len(rows)
    folds = len(rows) > (IN_SIGHT_OF_LONG_ONES if long else IN_SIGHT)
    more = f"\n```{{raw}} html\n{more_rows(len(rows), long)}\n```\n" if folds else ""
    offered = downloads.offer(f"{name}.csv", downloads.as_csv(columns, rows), source=source)
    written = f"::::{{list-table}} {flat_text(caption)}\n:name: {name}\n:header-rows: 1\n\n{body}\n::::\n"
    return f"{written}{more}\n{offered}"


def _said_once(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Rows without a first cell that is the one above it."""
    above = [None, *(row[0] for row in rows)]
    return [["", *row[1:]] if len(row) > 1 and row[0] == over else row for row, over in zip(rows, above, strict=False)]
