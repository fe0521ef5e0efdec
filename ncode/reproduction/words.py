"""Words that pages, recordings and commands share."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """So many things: ``counted(2, "run")`` is "2 runs"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
