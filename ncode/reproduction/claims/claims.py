"""The claims of both papers, as data: the checklist behind the book's results page."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from ncode.reproduction.claims.questions import Question


@dataclass(frozen=True)
class Claim:
    """One claim of a paper.

    Attributes:
        id: ``N…`` for N-CODE, ``A…`` for ANODE.
        text: the claim in one sentence.
        short: the same in ten words.
        where: where the paper makes it.
        home: the notebook that tests it, or will.
        questions: the primary questions that decide it.
        says: the paper's own words.
        reading: what they leave open or contradict, and which reading was taken.
        found: what a colleague would repeat, by the verdict's word.
    """

    id: str
    text: str
    short: str
    where: str
    home: str
    questions: tuple[Question, ...]
    says: tuple[str, ...] = ()
    reading: str = ""
    found: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if not self.questions:
            raise ValueError(f"questions: {self.id} declares none; a claim without a question can't be decided")
        parts = [question.part for question in self.questions]
        if len(set(parts)) < len(parts):
            raise ValueError(f"questions: {self.id} has two of one letter: {', '.join(parts)}")

    @property
    def amended(self) -> bool:
        """Whether one of its questions is not the one that was first written down."""
        return any(question.amended for question in self.questions)


@cache
def load() -> dict[str, Claim]:
    """Every claim by its id, in the papers' order."""
    raw = tomllib.loads(resources.files(__package__).joinpath("claims.toml").read_text(encoding="utf-8"))
    return {id_: _claim(id_, **entry) for id_, entry in raw.items()}


@cache
def declared() -> dict[str, tuple[Question, ...]]:
    """The questions of every claim as they were first written down; what has changed since is amended."""
    raw = tomllib.loads(resources.files(__package__).joinpath("declared.toml").read_text(encoding="utf-8"))
    return {id_: tuple(Question(**one) for one in entry["questions"]) for id_, entry in raw.items()}


def _claim(id_: str, questions: Sequence[dict] = (), says: Sequence[str] = (), **entry) -> Claim:
    asked = tuple(Question(**one) for one in questions)
    return Claim(id=id_, questions=asked, says=tuple(says), **entry)


def get(id_: str) -> Claim:
    """The claim called ``id_``.

    Raises:
        ValueError: when there is none.
    """
    if id_ not in load():
        raise ValueError(f"claim: {id_!r} is not one of {', '.join(load())}")
    return load()[id_]
