"""Claims are about what the paper says, in its own words."""

from ncode.reproduction.claims import claims
from ncode.reproduction.publishing import markdown


def test_every_claim_of_the_paper_quotes_it():
    assert all(claim.says for claim in claims.load().values() if claim.id.startswith("N"))


def test_parts_are_lettered_in_order():
    for claim in claims.load().values():
        parts = [question.part for question in claim.questions]
        assert parts == list("abcdefghijkl"[: len(parts)]), claim.id


def test_the_page_of_results_quotes_the_paper():
    said = markdown.said(claims.get("N13"))
    assert "> “the results for the partially controlled systems suggest" in said
    assert "*Reading.* The sentence claims that hybrids train." in said
    assert markdown.said(claims.get("A1")) == ""
