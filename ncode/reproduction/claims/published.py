"""The published numbers, as data: no page types one in."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Published:
    """One published table.

    Attributes:
        name: its key in ``paper.toml``.
        caption: what the numbers are, with their unit.
        source: where they were published: paper and table.
        rows_are: what a row is, the first column's heading.
        columns: the headings of the numbers.
        rows: the numbers of every row as they are printed, as text.
        ours: whether this book sets out to measure them, too.
    """

    name: str
    caption: str
    source: str
    rows_are: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]
    ours: bool = True

    def __post_init__(self):
        for label, values in self.rows.items():
            if len(values) != len(self.columns):
                raise ValueError(
                    f"rows: {len(values)} values under {len(self.columns)} columns, {label!r} of {self.name!r}"
                )

    def value(self, row: str, column: str) -> float:
        """The number in ``row`` and ``column``, without its ± part.

        Raises:
            ValueError: when the table has no such row or column.
        """
        if row not in self.rows:
            raise ValueError(f"row: {row!r} is not one of {', '.join(self.rows)}")
        if column not in self.columns:
            raise ValueError(f"column: {column!r} is not one of {', '.join(self.columns)}")
        return float(self.rows[row][list(self.columns).index(column)].split("±")[0])


@cache
def load() -> dict[str, Published]:
    """Every published table by its name."""
    raw = tomllib.loads(resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8"))
    return {name: Published(name=name, **entry) for name, entry in raw.items()}


def get(name: str) -> Published:
    """The published table called ``name``.

    Raises:
        ValueError: when there is none.
    """
    if name not in load():
        raise ValueError(f"name: {name!r} is not one of {', '.join(load())}")
    return load()[name]
