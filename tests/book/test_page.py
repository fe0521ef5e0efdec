"""What pages show: verdicts are computed, tables are rectangular, profiles and claims exist."""

import base64

import matplotlib.pyplot as plt
import pytest

from ncode.reproduction import profiles
from ncode.reproduction.claims import claims
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
    grouped,
)


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ({"a": True, "b": True}, "holds"),
        ({"a": True, "b": False}, "holds in part"),
        ({"a": False}, "does not hold here"),
        ({"a": True, "b": None}, "holds in part"),
        ({"a": False, "b": None}, "does not hold here"),
        ({"a": None}, "not decided here"),
    ],
)
def test_a_verdict_follows_from_its_checks(checks, expected):
    verdict = Verdict("N1", checks, "smoke")
    assert verdict.verdict == expected
    assert expected in claims.VERDICTS
    bundle = verdict._repr_mimebundle_()
    assert bundle[VERDICT]["verdict"] == expected
    assert expected in bundle["text/html"]


def test_a_verdict_needs_a_claim_and_a_check():
    with pytest.raises(ValueError, match="claim"):
        Verdict("N99", {"a": True}, "smoke")
    with pytest.raises(ValueError, match="checks"):
        Verdict("N1", {}, "smoke")


@pytest.mark.parametrize(
    ("checks", "expected"),
    [({"a": True}, "holds in part"), ({"a": False}, "does not hold here"), ({}, "not tested here")],
)
def test_what_was_not_tested_weakens_a_verdict_and_is_said(checks, expected):
    verdict = Verdict("N17", checks, "cpu", untested={"CelebA": "It takes the official archive."})
    assert verdict.verdict == expected
    assert "CelebA: not tested here. It takes the official archive." in verdict.html()


def test_a_claim_that_nobody_tested_has_a_verdict():
    assert Page("05_reflection", "smoke").untested("A5", "A GPU.").verdict == "not tested here"


def test_checks_that_begin_alike_stand_together():
    checks = {"MNIST: a": True, "b": None, "digits: a": False, "MNIST: c: d": False, "digits": True}
    assert grouped(checks.items()) == [
        ("MNIST", [("a", True), ("c: d", False)]),
        ("", [("b", None)]),
        ("digits", [("a", False), ("digits", True)]),
    ]
    shown = Verdict("N1", checks, "smoke").html()
    assert shown.index("MNIST<ul><li>") < shown.index("c: d") < shown.index("b</li>")
    assert "<li>✓ a</li>" in shown
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


def test_every_claim_has_a_home():
    assert len(claims.load()) == 30
    assert all(claim.home[:2].isdigit() for claim in claims.load().values())


def test_profiles_fall_back_to_common_settings():
    settings = {name: profiles.load("reflection", name).settings for name in profiles.NAMES}
    assert settings["smoke"]["iterations"] < settings["cpu"]["iterations"]
    with pytest.raises(ValueError, match="profile"):
        Page("05_reflection", "fast")
