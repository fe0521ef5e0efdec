"""What pages show: verdicts are computed, tables are rectangular, profiles and claims exist."""

import base64

import matplotlib.pyplot as plt
import pytest

from ncode.reproduction import profiles
from ncode.reproduction.claims import claims
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.publishing import markdown, tables
from ncode.reproduction.publishing.display import (
    FIGURE,
    OURS,
    TABLE,
    VERDICT,
    Figure,
    Ours,
    Page,
    Table,
    Verdict,
)
from ncode.reproduction.publishing.verdicts import grouped


def test_a_verdict_needs_a_claim_and_evidence_that_it_asks_for():
    with pytest.raises(ValueError, match="claim: 'N99' is not one of"):
        Verdict("N99")
    with pytest.raises(ValueError, match="evidence: part 'z' is none of the claim's"):
        Verdict("N1", [Evidence("z", "s", "paper", exact=True)])


def test_a_claim_that_nobody_tested_has_a_verdict():
    verdict = Verdict("A5", profile="smoke")
    assert verdict.verdict == "not tested"
    assert verdict._repr_mimebundle_()[VERDICT]["verdict"] == "not tested"
    assert "A5: not tested" in verdict.html()


def test_a_smoke_builds_numbers_are_those_of_a_toy():
    assert [Page("05_reflection", profile).near("paper") for profile in ("smoke", "cpu")] == ["toy", "paper"]


def test_checks_that_begin_alike_stand_together():
    checks = {"MNIST: a": True, "b": None, "digits: a": False, "MNIST: c: d": False, "digits": True}
    assert grouped(checks.items()) == [
        ("MNIST", [("a", True), ("c: d", False)]),
        ("", [("b", None)]),
        ("digits", [("a", False), ("digits", True)]),
    ]
    assert grouped({"this run: a": True}.items()) == [("", [("this run: a", True)])]


def test_ours_stands_under_the_papers_rows_and_columns():
    ours = Ours("classification", {"ANODE": {"MNIST": "98.0 ± 0.1"}}, "Images of 14×14 pixels.")
    assert ours._repr_mimebundle_()[OURS]["rows"]["ANODE"]["MNIST"] == "98.0 ± 0.1"
    with pytest.raises(ValueError, match="column"):
        Ours("classification", {"ANODE": {"SVHN": "80"}}, "")


def test_a_table_is_rectangular_and_escaped():
    with pytest.raises(ValueError, match="rows"):
        Table("tab-x", "Caption", ["a", "b"], [["1"]])
    with pytest.raises(ValueError, match="none"):
        Table("tab-x", "Caption", ["a", "b"], [])
    bundle = Table("tab-x", "x < y", ["a"], [["1"]])._repr_mimebundle_()
    assert bundle[TABLE]["rows"] == [["1"]]
    assert "x &lt; y" in bundle["text/html"]


def test_a_figure_is_one_call_and_is_shown_once():
    drawing, _ = plt.subplots(figsize=(3, 2))
    shown = Page("05_reflection", "smoke").figure(drawing, name="fig-x", caption="x < y", alt='a "line"')
    assert not plt.fignum_exists(drawing.number)
    bundle = shown._repr_mimebundle_()
    assert bundle[FIGURE] == {"name": "fig-x", "caption": "x < y", "alt": 'a "line"', "width": shown.width}
    assert 200 < shown.width < 400
    assert base64.b64decode(bundle["image/png"]) == shown.png
    assert "x &lt; y" in bundle["text/html"] and "a &quot;line&quot;" in bundle["text/html"]


@pytest.mark.parametrize(
    ("part", "given"), [("name", {"name": "x"}), ("caption", {"caption": " "}), ("alt", {"alt": ""})]
)
def test_a_figure_needs_a_name_a_caption_and_words(part, given):
    with pytest.raises(ValueError, match=part):
        Figure(**{"name": "fig-x", "caption": "What to see.", "alt": "A line.", "png": b""} | given)


def test_a_figure_of_nothing_recorded_says_so():
    shown = Page("05_reflection", "smoke").figure(None, name="fig-x", caption="Samples: more and more.", alt="Digits.")
    assert shown._repr_markdown_() == "Samples: not recorded yet."


def test_a_figure_may_be_folded_under_a_title():
    drawing, _ = plt.subplots(figsize=(3, 2))
    shown = Page("05_reflection", "smoke").figure(drawing, name="fig-x", caption="A.", alt="B.", folded="On CIFAR-10")
    text = markdown.numbered_figure(shown.content())
    assert text.startswith('<details class="ncode-aside"><summary>On CIFAR-10</summary>\n\n')
    assert ":name: fig-x" in text and text.endswith("\n\n</details>")


def test_a_table_and_a_paragraph_may_be_folded_as_well():
    shown = Page("05_reflection", "smoke").table("tab-x", "Caption.", ["a"], [["1"]], folded="In numbers")
    text = markdown.table(shown.content())
    assert "<summary>In numbers</summary>" in text and ":name: tab-x" in text
    said = Page("05_reflection", "smoke").say("- one", folded="Runs")._repr_markdown_()
    assert said == '<details class="ncode-aside"><summary>Runs</summary>\n\n- one\n\n</details>'


def test_the_name_of_an_axis_that_is_longer_than_its_panel_takes_two_lines():
    drawing, (left, right) = plt.subplots(1, 2, figsize=(4, 1.4))
    left.set_ylabel("validation loss minus training loss")
    right.set_ylabel("loss of $x$")
    right.set_xlabel("epoch")
    Page("05_reflection", "smoke").figure(drawing, name="fig-x", caption="A.", alt="B.")
    assert left.get_ylabel() == "validation loss\nminus training loss"
    assert (right.get_ylabel(), right.get_xlabel()) == ("loss of $x$", "epoch")


def test_a_page_says_sentences_and_leaves_out_empty_ones():
    assert Page("05_reflection", "smoke").say("One.", "", " Two. ")._repr_markdown_() == "One. Two."


@pytest.mark.parametrize(
    ("rows", "cell", "folds"), [(8, "1", False), (9, "1", True), (4, "word " * 60, False), (5, "word " * 60, True)]
)
def test_a_long_table_folds(rows, cell, folds):
    text = tables.list_table("tab-x", "Caption.", ["a"], [[cell]] * rows)
    assert text.count("* - ") == rows + 1, "folded rows are there"
    assert (f"All {rows} rows" in text) == folds
    assert ("ncode-more-long" in text) == (folds and rows < 8)


def test_rows_that_begin_alike_say_so_once_and_the_csv_in_each():
    text = tables.list_table("tab-x", "Caption.", ["data", "model"], [["MNIST", "a"], ["MNIST", "b"], ["digits", "a"]])
    assert "* - MNIST\n  - a\n* - \n  - b\n* - digits\n  - a\n" in text
    assert "MNIST,a\nMNIST,b\ndigits,a\n" in text


def test_every_claim_has_a_home():
    assert len(claims.load()) == 30
    assert all(claim.home[:2].isdigit() for claim in claims.load().values())


def test_profiles_fall_back_to_common_settings():
    settings = {name: profiles.load("reflection", name).settings for name in profiles.NAMES}
    assert settings["smoke"]["iterations"] < settings["cpu"]["iterations"]
    with pytest.raises(ValueError, match="profile"):
        Page("05_reflection", "fast")
