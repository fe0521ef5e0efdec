"""Claims are about what the paper says, in its own words."""

from ncode.reproduction.claims import claims, questions
from ncode.reproduction.publishing import markdown


def test_every_claim_of_the_paper_quotes_it():
    assert all(claim.says for claim in claims.load().values())


def test_parts_are_lettered_in_order():
    for claim in claims.load().values():
        parts = [question.part for question in claim.questions]
        assert parts == list("abcdefghijkl"[: len(parts)]), claim.id


def test_a_question_that_is_not_the_one_first_declared_says_so():
    first = claims.declared()
    assert first.keys() == claims.load().keys()
    asked = ("asks", "measure", "above", "below", "seeds", "by_construction")
    for claim in claims.load().values():
        before = {question.part: question for question in first[claim.id]}
        assert before.keys() <= {question.part for question in claim.questions}, claim.id
        for question in claim.questions:
            old = before.get(question.part)
            same = old and all(getattr(old, name) == getattr(question, name) for name in asked)
            assert same or question.amended, (claim.id, question.part)
            assert not (question.amended and question.since <= questions.DECLARED)


def test_the_page_of_results_quotes_the_paper():
    said = markdown.said(claims.get("N13"))
    assert "> “the results for the partially controlled systems suggest" in said
    assert "*Reading.* The sentence claims that hybrids train." in said
    assert "> “We show that Neural Ordinary Differential Equations" in markdown.said(claims.get("A1"))
