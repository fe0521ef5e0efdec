"""Claims: each asks a primary question, in parts that are numbered, of what the paper's own words say."""

import datetime

import pytest

from ncode.reproduction.claims import claims


def test_every_claim_asks_numbered_questions():
    for claim in claims.load().values():
        parts = [question.part for question in claim.questions]
        assert parts == list("abcdefghijkl"[: len(parts)]), claim.id
        assert parts, f"{claim.id} asks nothing"


def test_every_question_says_what_evidence_decides_it():
    for claim in claims.load().values():
        for question in claim.questions:
            assert question.asks.endswith("?"), question.asks
            assert question.measure
            assert question.conclusive.recordings
            # What an interval decides needs seeds; what is true of every case needs none, unless noise is drawn.
            assert question.direction == "every" or question.conclusive.seeds >= 3, (claim.id, question.part)
            assert datetime.date.fromisoformat(question.since)


def test_every_claim_of_the_paper_quotes_it():
    assert all(claim.says for claim in claims.load().values() if claim.id.startswith("N"))


def test_a_question_without_a_direction_is_refused():
    evidence = claims.Evidence("MNIST", "28×28", 3, ["page"])
    with pytest.raises(ValueError, match="direction: 'up'"):
        claims.Question("a", "Is it?", ["a"], "m", "up", 0.0, evidence, "2026-11-26")
    with pytest.raises(ValueError, match="compared"):
        claims.Question("a", "Is it?", [], "m", "above", 0.0, evidence, "2026-11-26")
