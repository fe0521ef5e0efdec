"""Claims are about what the paper says, in its own words."""

from ncode.reproduction.claims import claims


def test_every_claim_of_the_paper_quotes_it():
    assert all(claim.says for claim in claims.load().values() if claim.id.startswith("N"))


def test_parts_are_lettered_in_order():
    for claim in claims.load().values():
        parts = [question.part for question in claim.questions]
        assert parts == list("abcdefghijkl"[: len(parts)]), claim.id
