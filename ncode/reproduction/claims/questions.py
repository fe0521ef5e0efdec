"""Primary questions: what decides a claim, written down with the time at which they were.

A claim asks one question, or a few numbered parts with one each (``claims.toml``). Evidence answers a part at some
setting. The verdict's word follows from the evidence that stands nearest to the paper's setting, and from nothing else:
controls, smaller data and side findings are context.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DECLARED = "2026-11-26 20:01"
"""When the questions of ``declared.toml`` were written down, in UTC.

Much had been run by then. A verdict says so of the runs that decide it.
"""

AMENDED = "†"
"""Behind a claim of which a question is not the one that was first written down."""

NEARNESS = ("toy", "reduced", "paper")
"""How near a setting is to the paper's, from far to near."""

SETTINGS = {"paper": "the paper's setting", "reduced": "reduced", "toy": "toy"}

HOLDS, FAILS, UNDECIDED, UNTESTED, IN_PART = "holds", "does not hold", "undecided", "not tested", "in part"

WORDS = (HOLDS, IN_PART, FAILS, UNDECIDED, UNTESTED)


@dataclass(frozen=True)
class Question:
    """One primary question.

    Attributes:
        part: its letter within the claim, such as ``"a"``.
        asks: the question as a statement that can come out true or false.
        measure: the measured quantity and its unit; empty for a proof or an exact check.
        above, below: the statement is true where the whole interval lies above or below this level; both for a range.
        seeds: the least number of seeds that is conclusive; 0 where nothing is random.
        published: the paper's own value of the measure, as text; empty where it printed none.
        by_construction: why it can't fail, where that is so: it is shown, and decides nothing.
        amended: where the question is not the one that was declared first: when it changed (UTC), what was asked
            before, why that was wrong, and what its answer was.
    """

    part: str
    asks: str
    measure: str = ""
    above: float | None = None
    below: float | None = None
    seeds: int = 0
    published: str = ""
    by_construction: str = ""
    amended: str = ""

    def __post_init__(self):
        if self.amended and not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d: ", self.amended):
            raise ValueError(f"amended: must begin with a time, as in '2026-11-27 17:20: ', not {self.amended[:18]!r}")
        if self.measure and self.above is None and self.below is None:
            raise ValueError(f"above, below: a measured question needs a level, {self.asks!r} has none")

    @property
    def since(self) -> str:
        """When it was written down as it stands, such as ``2026-11-26 20:01`` (UTC)."""
        return self.amended[: len(DECLARED)] or DECLARED

    def answer(self, interval: tuple[float, float]) -> bool | None:
        """Whether the whole ``interval`` is on the question's side of its level; ``None`` where it is on both."""
        low, high = interval
        if math.isnan(low) or math.isnan(high):
            return None
        sides = []
        if self.above is not None:
            sides.append(True if low > self.above else False if high < self.above else None)
        if self.below is not None:
            sides.append(True if high < self.below else False if low > self.below else None)
        return False if False in sides else None if None in sides else True


@dataclass(frozen=True)
class Evidence:
    """What was found of one question at one setting.

    Attributes:
        part: the question's letter.
        setting: data, size and budget, in words.
        nearness: one of :data:`NEARNESS`.
        seeds: how many repetitions; 0 where nothing is random.
        estimate, interval: the measure and its 95 % interval over seeds; ``None`` where the answer is exact.
        exact: the answer of a proof or an exact check; ``None`` where ``interval`` answers.
        runs: ids of the runs behind it.
        total: the interval with the test set's own sampling error in it, where the measure has one.
        of: which case this is where a question is about several, such as each of the parameters that may be steered;
            the statement must be true of all.
        context: whether its runs were declared as context of the claim: it is shown, and decides nothing.
        started: when the first and the last of the runs started, as in :data:`DECLARED`; empty without runs.

    Raises:
        ValueError: on an unknown nearness, or with neither or both of an interval and an exact answer.
    """

    part: str
    setting: str
    nearness: str
    seeds: int = 0
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    exact: bool | None = None
    runs: tuple[str, ...] = ()
    total: tuple[float, float] | None = None
    of: str = ""
    started: tuple[str, ...] = ()
    context: bool = False

    def __post_init__(self):
        if self.nearness not in NEARNESS:
            raise ValueError(f"nearness: {self.nearness!r} is not one of {', '.join(NEARNESS)}")
        if (self.interval is None) == (self.exact is None):
            raise ValueError(f"interval, exact: evidence needs one of them, {self.setting!r} has both or neither")

    def answer(self, question: Question) -> bool | None:
        """True, false, or ``None``: undecided, as with fewer seeds than the question asks for."""
        if self.seeds < question.seeds:
            return None
        return self.exact if self.interval is None else question.answer(self.total or self.interval)


@dataclass(frozen=True)
class Answer:
    """A question with all its evidence, and the part of it that decides."""

    question: Question
    evidence: Sequence[Evidence] = ()

    @property
    def deciding(self) -> tuple[Evidence, ...]:
        """The evidence of the setting nearest to the paper's: one piece, or one for each case.

        Of several settings equally near it is the one with the most seeds, and then the first.
        """
        counted = [one for one in self.evidence if not one.context]
        ranked = sorted(counted, key=lambda one: (-NEARNESS.index(one.nearness), -one.seeds))
        return tuple(one for one in ranked if (one.nearness, one.setting) == (ranked[0].nearness, ranked[0].setting))

    @property
    def word(self) -> str:
        """One of :data:`WORDS`."""
        if not self.deciding:
            return UNTESTED
        answers = [one.answer(self.question) for one in self.deciding]
        if False in answers:
            return FAILS
        return UNDECIDED if None in answers else HOLDS

    @property
    def older(self) -> str:
        """How many of the runs that decide are older than the question: ``"all"``, ``"some"`` or ``""``."""
        times = [time for one in self.deciding for time in one.started]
        before = [time < self.question.since for time in times]
        return "" if not any(before) else "all" if all(before) else "some"

    @property
    def measured(self) -> tuple[Evidence, ...]:
        """The deciding evidence that has an interval."""
        return tuple(one for one in self.deciding if one.interval is not None)


@dataclass(frozen=True)
class Decision:
    """A claim's answers, and the word that follows from them."""

    answers: Sequence[Answer] = field(default_factory=tuple)

    @property
    def counted(self) -> list[Answer]:
        """The answers that decide: those to questions that could have come out otherwise."""
        return [answer for answer in self.answers if not answer.question.by_construction]

    @property
    def word(self) -> str:
        """The claim's word.

        A claim says all of its parts. All hold: *holds*. Some do and some don't, or not yet: *in part*. None holds and
        one fails: *does not hold*. Otherwise *undecided*, or *not tested* where there is no evidence at all.
        """
        words = [answer.word for answer in self.counted]
        if not words or set(words) == {UNTESTED}:
            return UNTESTED
        if HOLDS in words:
            return HOLDS if set(words) == {HOLDS} else IN_PART
        return FAILS if FAILS in words else UNDECIDED

    @property
    def nearness(self) -> str | None:
        """The farthest setting among the evidence that decides."""
        found = [answer.deciding[0].nearness for answer in self.counted if answer.deciding]
        return min(found, key=NEARNESS.index) if found else None


def decide(questions: Sequence[Question], evidence: Sequence[Evidence]) -> Decision:
    """Sort ``evidence`` under the ``questions`` that it answers.

    Raises:
        ValueError: when a piece answers no question of the claim.
    """
    parts = {question.part: question for question in questions}
    if strange := [one.part for one in evidence if one.part not in parts]:
        raise ValueError(f"evidence: part {strange[0]!r} is none of the claim's: {', '.join(parts) or 'it has none'}")
    return Decision(
        tuple(Answer(question, tuple(e for e in evidence if e.part == part)) for part, question in parts.items())
    )


def expected_by_chance(decisions: Mapping[str, Decision], confidence: float = 0.95) -> float:
    """How many of the interval questions would come out true by chance if none of the differences were real."""
    asked = [answer for decision in decisions.values() for answer in decision.counted if answer.measured]
    # An interval lies wholly above zero by chance in half of the cases in which it misses it.
    return len(asked) * (1 - confidence) / 2
