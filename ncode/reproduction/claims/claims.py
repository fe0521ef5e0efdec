"""The claims of both papers, as data: the checklist behind the book's results page."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

VERDICTS = ("holds", "holds in part", "does not hold here", "not decided here", "not tested here", "not yet")


@dataclass(frozen=True)
class Claim:
    """One claim of a paper.

    Attributes:
        id: ``N…`` for N-CODE, ``A…`` for ANODE.
        text: the claim in one sentence.
        where: where the paper makes it.
        home: the notebook that tests it, or will.
    """

    id: str
    text: str
    where: str
    home: str


@cache
def load() -> dict[str, Claim]:
    """Every claim by its id, in the papers' order."""
    raw = tomllib.loads(resources.files(__package__).joinpath("claims.toml").read_text(encoding="utf-8"))
    return {id_: Claim(id=id_, **entry) for id_, entry in raw.items()}


def get(id_: str) -> Claim:
    """The claim called ``id_``.

    Raises:
        ValueError: when there is none.
    """
    if id_ not in load():
        raise ValueError(f"claim: {id_!r} is not one of {', '.join(load())}")
    return load()[id_]
