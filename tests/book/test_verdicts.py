"""Verdicts as pages show them: the numbers are the evidence's, the word is the decision's."""

import html
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncode.reproduction.claims import claims, evidence
from ncode.reproduction.claims.questions import Answer, Evidence, Question, decide
from ncode.reproduction.publishing import front, stage, verdicts
from ncode.reproduction.publishing.display import VERDICT, Verdict
from ncode.reproduction.publishing.forest import drawn, forest
from ncode.reproduction.publishing.numbers import interval, number


def accuracy(low=-9.1, high=-1.8, part="c", **options) -> Evidence:
    given = {"setting": "CIFAR-10, 16×16", "nearness": "reduced", "seeds": 3, **options}
    return Evidence(part, estimate=(low + high) / 2, interval=(low, high), **given)


def test_context_never_changes_the_word():
    for held in (True, False, None):
        assert Verdict("N11", [accuracy()], {"a control": held}).verdict == Verdict("N11", [accuracy()]).verdict


@given(st.lists(st.tuples(st.text(max_size=5), st.sampled_from([True, False, None])), max_size=6))
def test_no_set_of_context_checks_changes_the_word(checks):
    assert Verdict("N11", [accuracy()], dict(checks)).verdict == "does not hold"


def test_a_verdict_survives_its_journey_through_a_notebook():
    verdict = Verdict("N11", [accuracy(total=(-9.5, -1.4))], {"b": True, "a": None}, "cpu", ["x"], "A note.")
    bundle = verdict._repr_mimebundle_()
    assert Verdict.read(bundle[VERDICT]) == verdict
    assert list(Verdict.read(bundle[VERDICT]).context) == ["b", "a"]


def test_the_forests_numbers_are_the_evidences():
    question = Question("a", "above", "points", above=0.0, published="12.1")
    rows = [accuracy(-9.1, -1.8, "a"), accuracy(0.4, 2.2, "a", setting="MNIST", nearness="toy", seeds=5)]
    plot = forest(Answer(question, rows))
    shown = re.findall(r"<td>(.) ([^<]+) <span>([^<]+)</span></td>", plot)
    assert shown == [
        ("✗", number(-5.45, 3), interval((-9.1, -1.8))),
        ("✓", number(1.3, 3), interval((0.4, 2.2))),
    ]
    low, high = -9.1 - 0.06 * 21.2, 12.1 + 0.06 * 21.2
    places = [float(x) for x in re.findall(r'class="bar" x1="([^"]+)"', plot)]
    assert places == pytest.approx([100 * (v - low) / (high - low) for v in (-9.1, 0.4)], abs=0.01)
    assert "the paper: 12.1" in plot


def test_what_speaks_against_a_claim_is_in_sight_first():
    question = Question("a", "above", "points", above=0.0)
    cases = [
        accuracy(low, low + 1, "a", of=name)
        for low, name in ((5.0, "held"), (1.0, "barely"), (-0.5, "open"), (-3.0, "failed"))
    ]
    later = accuracy(-9.0, -8.0, "a", setting="digits", nearness="toy")
    assert [one.of or one.setting for one in drawn(Answer(question, [later, *cases]))] == [
        *("failed", "open", "barely", "held", "digits")
    ]


def test_an_amended_question_says_so_whether_it_was_answered_or_not():
    claim = claims.get("N10")
    assert all(question.amended for question in claim.questions)
    answered = [Evidence("a", "digits", "toy", 5, exact=True, of=of) for of in ("weights", "biases")]
    text = verdicts.admonition(Verdict("N10", answered, {}, "cpu").content(), "link")
    assert "**b: not tested.**" in text and "The question was amended" not in text.split("**a: ")[0]
    for question in claim.questions:
        why = question.amended.partition(": ")[2]
        assert f"<summary>{question.part}: The question was amended on 2026-11-27</summary>" in text
        assert why[1:] in text


def test_an_exact_answer_names_the_cases_that_it_is_true_of():
    found = [
        Evidence("a", "digits", "toy", 5, exact=held, of=of)
        for of, held in (("weights", True), ("biases", False), ("everything", False))
    ]
    text = verdicts.admonition(Verdict("N10", found, {}, "cpu").content(), "link")
    assert "Found: true of weights; not true of biases, everything; digits, toy, 5 seeds." in text
    alone = Answer(Question("a", "an identity"), [Evidence("a", "s", "paper", exact=True)])
    assert verdicts.found(alone) == "Found: s, the paper's setting."


def test_a_question_without_an_interval_has_no_forest():
    assert forest(Answer(Question("a", "an identity"), [Evidence("a", "s", "paper", exact=True)])) == ""


def test_the_admonition_says_question_answer_and_setting():
    text = verdicts.admonition(Verdict("N11", [accuracy()], {"control: x": True}, "cpu").content(), "link")
    assert "{admonition} N11: does not hold, reduced" in text
    assert "**c: does not hold.** Asked: test accuracy on CIFAR-10" in text
    assert "**a, b, d: not tested.** Asked: test accuracy on MNIST" in text
    assert "Context, which decides nothing" in text
    assert text.index("{raw} html") < text.index("Context")


def test_two_seeds_are_said_to_be_too_few():
    text = verdicts.admonition(Verdict("N11", [accuracy(seeds=2)], {}, "cpu").content(), "link")
    assert "Fewer seeds than the 3 that it asks for decide nothing." in text


def test_the_table_has_every_claim_once():
    executed = stage.Executed("cpu", verdicts={"N11": {**Verdict("N11", [accuracy()]).content(), "notebook": "x"}})
    table = verdicts.results_table(executed)
    assert re.findall(r'href="#claim-(n11|a1)"', table) == ["n11", "a1"]
    assert '<tr data-verdict="does not hold" data-paper="N-CODE"><th scope="row"><a href="#claim-n11">' in table
    assert table.count("<tr data-verdict") == 30
    assert "<td>\N{MINUS SIGN}38.34 in FID</td>" in table and "<td>no number</td><td>not run</td>" in table
    assert verdicts.picture(executed).count("<a class=") == 30


def test_ours_is_what_the_verdict_rests_on():
    parts = [Evidence(part, "a proof", "paper", exact=held) for part, held in (("a", True), ("b", True), ("c", False))]
    assert verdicts.ours(Verdict("N3", parts)) == "2 of 3 exact checks"
    assert verdicts.ours(Verdict("N1", parts[:1])) == "1 of 1 exact check"
    assert verdicts.ours(Verdict("N1")) == "not run"
    open_one = Evidence("a", "s", "paper", 3, 0.7, (-1.0, 2.4))
    failed = Evidence("b", "s", "paper", 3, 3.2, (3.0, 3.3))
    assert verdicts.ours(Verdict("N16", [open_one, failed])).startswith("b: 3.2")
    assert verdicts.ours(Verdict("N16", [open_one])).startswith("a: 0.7")
    never = Evidence("c", "s", "paper", 3, float("inf"), (float("nan"), float("nan")))
    assert verdicts.ours(Verdict("N11", [never])) == "c: ∞"


def test_evidence_pairs_seeds():
    made = evidence.difference("a", "s", "toy", [1.0, 2.0, 3.0], [0.0, 1.1, 1.9])
    assert made.estimate == pytest.approx(1.0)
    assert made.interval == pytest.approx((1 - 4.303 * 0.1 / np.sqrt(3), 1 + 4.303 * 0.1 / np.sqrt(3)), abs=1e-3)
    assert made.seeds == 3
    doubled = evidence.ratio("a", "s", "toy", [2.0, 8.0], [1.0, 4.0])
    assert (doubled.estimate, doubled.interval) == (pytest.approx(2.0), pytest.approx((2.0, 2.0)))


def test_a_test_set_of_ten_thousand_adds_about_a_point():
    a = evidence.accuracies("a", "s", "paper", [0.60, 0.60, 0.60], [0.58, 0.58, 0.58], images=10_000)
    assert a.interval == pytest.approx((2.0, 2.0))
    # 1.96 √((0.6·0.4 + 0.58·0.42)/10⁴) is 1.36 points.
    assert a.total == pytest.approx((2 - 1.364, 2 + 1.364), abs=2e-3)


def test_two_lines_at_the_top():
    text = verdicts.in_short([Verdict("N11", [accuracy()], {}, "cpu").content()])
    claim = "- {ref}`N11 <verdict-n11>` open loop most accurate, then data control, then ANODE"
    assert f"{claim}: **does not hold** (reduced)\n" in text
    assert "  - *does not hold*: test accuracy on CIFAR-10 at 32×32: open loop minus data control" in text
    assert "  - not tested: 3 of 4 questions\n" in text
    assert decide(verdicts.claims.get("N11").questions, []).word == "not tested"


def test_many_cases_are_their_range_at_the_top():
    cases = [accuracy(low, low + 2.0, of=f"case {low:.0f}") for low in (-9.0, -5.0, -7.0)]
    text = verdicts.in_short([Verdict("N11", cases, {}, "cpu").content()])
    assert "3 cases, from −8.00 to −4.00" in text and "case -9" not in text


def test_counted_verdicts_read_as_a_sentence():
    shown = {id_: Verdict(id_, [accuracy()]).content() for id_ in ("N11",)}
    assert "- N-CODE: 24 claims; 1 does not hold, 23 are not tested." in front.scope(stage.Executed("cpu", shown))


def test_what_is_undefined_survives_as_well():
    lost = Evidence("a", "s", "paper", 3, float("inf"), (float("nan"), float("nan")))
    content = Verdict("N11", [lost]).content()
    assert "NaN" not in json.dumps(content)
    (read,) = Verdict.read(json.loads(json.dumps(content))).evidence
    assert np.isnan(read.interval).all() and read.estimate == float("inf")
    assert forest(Answer(Question("a", "above", "points", above=0.0), [read])) == ""


@pytest.mark.parametrize(("parts", "shut"), [("abc", 0), ("abcd", 4)])
def test_many_forest_plots_are_shown_on_demand(parts, shut):
    text = verdicts.admonition(Verdict("N17", [accuracy(part=part) for part in parts]).content(), "")
    assert text.count('class="ncode-forest"') == len(parts)
    assert text.count("<summary>Every setting, with its interval</summary>") == shut


def test_a_papers_number_on_another_scale_is_said_and_not_drawn():
    question = Question("a", "below", "Fréchet distance", below=0.0, published="−38.34 in FID")
    plot = forest(Answer(question, [accuracy(-9.1, -1.8, "a")]))
    assert "The paper: −38.34 in FID." in plot and 'class="paper"' not in plot
    assert "dashed line" not in plot


def test_a_plot_says_what_its_dashed_line_adds():
    one = evidence.accuracies("a", "x", "reduced", [0.5, 0.52], [0.4, 0.41], 1000)
    assert "The dashed line, and the interval in numbers, add the test images' sampling error." in html.unescape(
        forest(Answer(Question("a", "above", "points", above=0.0), [one]))
    )


def test_what_was_declared_as_context_is_shown_and_decides_nothing():
    found = [accuracy(1.0, 2.0, part, setting="MNIST", nearness="toy", context=True) for part in "ab"]
    text = verdicts.admonition(Verdict("N19", found, {}, "cpu").content(), "link")
    assert "{admonition} N19: not tested" in text
    assert "**a: not tested.** Asked:" in text and "declared as context" in text
    assert "claim-n19-a.csv" in text and "ncode-decides" not in text
