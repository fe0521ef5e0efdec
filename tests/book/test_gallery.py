"""The gallery has a card for every figure and table of the paper, with what the executed notebooks show."""

import io

import pytest
from PIL import Image

from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.publishing import gallery, stage
from ncode.reproduction.publishing.display import Verdict
from ncode.reproduction.publishing.gallery import Entry


def png(size=(800, 600)) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, "white").save(written, format="png")
    return written.getvalue()


@pytest.fixture
def executed():
    """A build whose notebooks show all that the gallery asks for, and decide one claim."""
    names = [name for entry in gallery.load().values() for name in entry.ours]
    figure = stage.Figure("05_reflection", png(), "What to see.", 'A "line".', "<svg/>")
    table = {"notebook": "10_image_classification", "columns": ["model", "$x$"], "rows": [["NODE", "a < b"]]}
    verdict = Verdict("N8", [Evidence("b", "1-d", "paper", 5, 2e-4, (1e-4, 3e-4))], profile="cpu")
    return stage.Executed(
        "cpu",
        figures={name: figure for name in names if name.startswith("fig-")},
        tables={name: table for name in names if name.startswith("tab-")},
        verdicts={"N8": verdict.content() | {"notebook": "05_reflection"}},
    )


def test_every_figure_and_table_of_the_paper_has_an_entry():
    assert set(gallery.load()) == set(gallery.PRINTED)
    assert len(gallery.PRINTED) == 8 + 12 + 3


def test_a_hole_fails_the_build(executed):
    gallery.page(executed)
    del executed.figures["fig-reflection-fields"]
    with pytest.raises(ValueError, match=r"Fig\. 4: no executed notebook shows 'fig-reflection-fields'"):
        gallery.page(executed)


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [
        (None, "has no entry for it"),
        (Entry("t", ["N8"]), "neither a figure of ours nor says why"),
        (Entry("t", ["N99"], missing="No data."), "claim: 'N99'"),
    ],
)
def test_an_entry_names_what_there_is(executed, entry, wrong):
    entries = {name: kept for name, kept in gallery.load().items() if name != "Fig. 4"}
    with pytest.raises(ValueError, match=wrong):
        gallery.check(entries | ({"Fig. 4": entry} if entry else {}), executed.figures | executed.tables)


def test_a_card_has_thumbnail_verdict_data_and_link(executed, tmp_path):
    text = gallery.page(executed)
    card = next(part for part in text.split("<li>") if "<strong>Fig. 4</strong>" in part)
    assert '<a href="../notebooks/05_reflection.html#fig-reflection-paths"><img src=' in card
    assert 'alt="A &quot;line&quot;."' in card
    assert f'href="results.html#claim-n8">N8: {executed.verdicts["N8"]["verdict"]}</a>' in card
    assert 'href="../notebooks/05_reflection/fig-reflection-paths.svg" download' in card
    assert 'href="results/claim-n8-b.csv" download' in card
    gallery.thumbnails(executed, tmp_path / "g")
    thumbnail = Image.open(tmp_path / "g" / "fig-reflection-paths.png")
    assert thumbnail.size == (gallery.WIDTH, gallery.WIDTH * 3 // 4)


def test_a_tables_thumbnail_is_its_first_cells(executed):
    text = gallery.page(executed)
    assert "<th>model</th><th>x</th>" in text
    assert "<td>a &lt; b</td>" in text


def test_a_tables_thumbnail_sets_ours_beside_the_papers(executed):
    (name,) = gallery.load()["Table 2"].ours[:1]
    shown = {
        "columns": ["model", "paper, A", "paper, B", "this run", "recorded, A", "recorded, B"],
        "rows": [[*"mabcde"]],
    }
    executed.tables[name] |= shown
    assert "<th>model</th><th>paper, A</th><th>recorded, B</th>" in gallery.page(executed)
    assert "<td>m</td><td>a</td><td>e</td>" in gallery.page(executed)
