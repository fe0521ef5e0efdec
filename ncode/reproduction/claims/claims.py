"""The claims of both papers and the questions that decide them, as data: the checklist behind the book's results page.

``claims.toml`` tells what each key means.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

VERDICTS = ("holds", "holds in part", "does not hold here", "not decided here", "not tested here", "not yet")

DIRECTIONS = ("above", "below", "every")


@dataclass(frozen=True)
class Evidence:
    """The evidence that decides a question.

    Attributes:
        data, size: the setting nearest to the paper's.
        seeds: at least how many; 0 for a proof or an exact check.
        recordings: the plans in ``profiles.toml``, or the page, that make it.
    """

    data: str
    size: str
    seeds: int
    recordings: Sequence[str]


@dataclass(frozen=True)
class Question:
    """A primary question: one numbered part of a claim.

    Attributes:
        part: ``"a"``, ``"b"``, ….
        asks: the question in words.
        compared: what is measured, or what minus what; of more than two, the first against each of the others.
        measure: of what number, with its unit.
        direction: of :data:`DIRECTIONS`: on which side of ``bound`` the 95 % interval of the value or of the paired
            difference must lie, or ``"every"`` for what must be true of every case, to within ``bound``.
        bound: what the value or the difference is set against.
        conclusive: the evidence that decides it.
        since: the day on which it was written down.
        paper: the paper's number for it, as printed; empty where it prints none.
        after_runs: whether runs that answer it existed on that day.

    Raises:
        ValueError: on an unknown direction, or where nothing is compared.
    """

    part: str
    asks: str
    compared: Sequence[str]
    measure: str
    direction: str
    bound: float
    conclusive: Evidence
    since: str
    paper: str = ""
    after_runs: bool = False

    def __post_init__(self):
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction: {self.direction!r} is not one of {', '.join(DIRECTIONS)}")
        if not self.compared:
            raise ValueError(f"compared: nothing, in {self.asks!r}")


@dataclass(frozen=True)
class Claim:
    """One claim of a paper.

    Attributes:
        id: ``N…`` for N-CODE, ``A…`` for ANODE.
        text: the claim in one sentence.
        where: where the paper makes it.
        home: the notebook that tests it, or will.
        questions: its parts, each with one question.
        says: the paper's own words.
        reading: what they leave open or contradict, and which reading was taken.
    """

    id: str
    text: str
    where: str
    home: str
    questions: Sequence[Question]
    says: Sequence[str] = ()
    reading: str = ""


@cache
def load() -> dict[str, Claim]:
    """Every claim by its id, in the papers' order."""
    raw = tomllib.loads(resources.files(__package__).joinpath("claims.toml").read_text(encoding="utf-8"))
    return {id_: _claim(id_, **entry) for id_, entry in raw.items()}


def _claim(id_: str, questions: Sequence[dict], **entry) -> Claim:
    asked = [Question(**{**one, "conclusive": Evidence(**one["conclusive"])}) for one in questions]
    return Claim(id=id_, questions=asked, **entry)


def get(id_: str) -> Claim:
    """The claim called ``id_``.

    Raises:
        ValueError: when there is none.
    """
    if id_ not in load():
        raise ValueError(f"claim: {id_!r} is not one of {', '.join(load())}")
    return load()[id_]
