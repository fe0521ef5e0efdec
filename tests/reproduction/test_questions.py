"""A verdict's word follows from the declared questions and their evidence alone."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncode.reproduction.claims import claims, questions
from ncode.reproduction.claims.questions import (
    FAILS,
    HOLDS,
    IN_PART,
    NEARNESS,
    UNDECIDED,
    UNTESTED,
    Answer,
    Evidence,
    Question,
    decide,
    expected_by_chance,
)

QUESTION = Question("a", "the difference is above zero", measure="points", above=0.0, seeds=3)


def found(low, high, nearness="paper", seeds=3, part="a") -> Evidence:
    return Evidence(part, "a setting", nearness, seeds, (low + high) / 2, (low, high))


@pytest.mark.parametrize(
    ("interval", "answer"),
    [((0.1, 2.0), True), ((-2.0, -0.1), False), ((-1.0, 1.0), None), ((math.nan, math.nan), None)],
)
def test_an_interval_answers_where_it_lies_on_one_side(interval, answer):
    assert QUESTION.answer(interval) is answer
    assert Question("a", "", "points", below=0.0).answer(interval) is (None if answer is None else not answer)


def test_a_range_is_a_level_on_either_side():
    band = Question("a", "between", "share", above=0.15, below=0.2)
    assert band.answer((0.16, 0.19)) is True
    assert band.answer((0.21, 0.3)) is False
    assert band.answer((0.18, 0.22)) is None


def test_two_seeds_do_not_vote_where_three_are_asked_for():
    assert found(1.0, 2.0, seeds=2).answer(QUESTION) is None
    assert found(1.0, 2.0, seeds=3).answer(QUESTION) is True


def test_the_test_sets_own_error_counts():
    sure = Evidence("a", "s", "paper", 3, 0.5, (0.1, 0.9), total=(-0.6, 1.6))
    assert sure.answer(QUESTION) is None


def test_a_part_without_evidence_is_not_tested():
    assert decide([QUESTION], []).word == UNTESTED


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ((HOLDS,), HOLDS),
        ((FAILS,), FAILS),
        ((HOLDS, HOLDS), HOLDS),
        ((HOLDS, FAILS), IN_PART),
        ((HOLDS, UNDECIDED), IN_PART),
        ((HOLDS, UNTESTED), IN_PART),
        ((FAILS, UNDECIDED), FAILS),
        ((FAILS, UNTESTED), FAILS),
        ((UNDECIDED, UNTESTED), UNDECIDED),
        ((UNTESTED, UNTESTED), UNTESTED),
    ],
)
def test_the_word_of_several_parts(words, word):
    intervals = {HOLDS: (1.0, 2.0), FAILS: (-2.0, -1.0), UNDECIDED: (-1.0, 1.0)}
    questions = [Question(letter, letter, "points", above=0.0) for letter in "abc"[: len(words)]]
    evidence = [found(*intervals[w], part=q.part) for q, w in zip(questions, words, strict=True) if w in intervals]
    assert [answer.word for answer in decide(questions, evidence).answers] == list(words)
    assert decide(questions, evidence).word == word


pieces = st.builds(
    lambda low, width, nearness, seeds: found(low, low + width, nearness, seeds),
    st.floats(-5, 5), st.floats(0, 5), st.sampled_from(NEARNESS), st.integers(1, 12),
)  # fmt: skip


@given(pieces, st.lists(pieces, max_size=5))
def test_farther_evidence_changes_nothing(nearest, others):
    """Live digits never outvote a recording: what is farther from the paper's setting has no say."""
    farther = [one for one in others if NEARNESS.index(one.nearness) < NEARNESS.index(nearest.nearness)]
    for order in itertools.islice(itertools.permutations([nearest, *farther]), 24):
        assert decide([QUESTION], order).word == decide([QUESTION], [nearest]).word


@given(st.lists(pieces, min_size=1, max_size=5))
def test_the_deciding_piece_is_one_of_the_nearest(evidence):
    (deciding, *_) = Answer(QUESTION, tuple(evidence)).deciding
    assert NEARNESS.index(deciding.nearness) == max(NEARNESS.index(one.nearness) for one in evidence)


def test_a_check_that_holds_by_construction_never_counts():
    sure = Question("b", "x = x", by_construction="an identity of the definition")
    evidence = [found(-2.0, -1.0), Evidence("b", "s", "paper", exact=True)]
    assert decide([QUESTION, sure], evidence).word == FAILS
    assert decide([sure], [Evidence("b", "s", "paper", exact=True)]).word == UNTESTED


def test_the_nearness_of_a_claim_is_that_of_its_farthest_part():
    questions = [Question(letter, letter, "points", above=0.0) for letter in "ab"]
    decision = decide(questions, [found(1.0, 2.0, part="a"), found(1.0, 2.0, "toy", part="b")])
    assert decision.nearness == "toy"


def test_evidence_of_an_undeclared_part_is_refused():
    with pytest.raises(ValueError, match="evidence: part 'z' is none of the claim's: a"):
        decide([QUESTION], [found(1.0, 2.0, part="z")])
    with pytest.raises(ValueError, match="interval, exact"):
        Evidence("a", "s", "paper")
    with pytest.raises(ValueError, match="nearness: 'near' is not one of"):
        Evidence("a", "s", "near", exact=True)
    with pytest.raises(ValueError, match="needs a level"):
        Question("a", "something", measure="points")


def test_forty_interval_questions_give_one_by_chance():
    decisions = {str(k): decide([QUESTION], [found(-1.0, 1.0)]) for k in range(40)}
    decisions["proof"] = decide([Question("a", "an identity")], [Evidence("a", "s", "paper", exact=True)])
    assert expected_by_chance(decisions) == pytest.approx(1.0)


def test_every_claim_declares_its_questions():
    for claim in claims.load().values():
        assert claim.questions
        assert len(claim.short.split()) <= 10, claim.short
    with pytest.raises(ValueError, match="questions: X1 declares none"):
        claims.Claim("X1", "", "", "", "", ())


def test_a_question_about_several_cases_holds_when_it_holds_of_all():
    def case(of, low, high, **options):
        return replace(found(low, high, **options), of=of)

    both = [case("biases", 1.0, 2.0), case("weights", 0.5, 1.0)]
    assert decide([QUESTION], both).word == HOLDS
    assert decide([QUESTION], [*both, case("everything", -1.0, 1.0)]).word == UNDECIDED
    assert decide([QUESTION], [*both, case("everything", -2.0, -1.0)]).word == FAILS
    # A case of a farther setting has no say.
    assert decide([QUESTION], [*both, case("everything", -2.0, -1.0, nearness="toy")]).word == HOLDS


def test_runs_are_older_than_the_question_as_it_stands():
    amended = Question("a", "x", amended="2026-11-27 17:20: asked y before")

    def older(question, *started):
        return Answer(question, [Evidence("a", "s", "paper", exact=True, started=started)]).older

    assert older(Question("a", "x"), "2026-11-26 20:02", "2026-11-26 20:05") == ""
    assert older(Question("a", "x"), "2026-11-22 08:00", "2026-11-26 20:05") == "some"
    assert older(Question("a", "x"), "2026-11-22 08:00", "2026-11-26 20:00") == "all"
    assert older(amended, "2026-11-27 17:19", "2026-11-27 17:19") == "all"
    assert older(amended, "2026-11-27 17:20", "2026-11-27 17:25") == "", "as it stands since that minute"
    assert older(amended) == "", "nothing was run"


def test_what_was_declared_as_context_decides_nothing():
    near = Evidence("a", "MNIST", "paper", exact=True, context=True)
    far = Evidence("a", "digits", "toy", exact=False)
    question = Question("a", "x")
    assert Answer(question, [near, far]).deciding == (far,)
    assert Answer(question, [near]).word == questions.UNTESTED


def test_an_amended_question_says_since_when():
    changed = Question("a", "x", amended="2026-11-27 17:20: asked y before")
    assert changed.since == "2026-11-27 17:20" and Question("a", "x").since == questions.DECLARED
    with pytest.raises(ValueError, match="must begin with a time"):
        Question("a", "x", amended="asked y before")
