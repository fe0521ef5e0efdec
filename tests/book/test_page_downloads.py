"""What a page offers to download: numbers as they are recorded, figures in vectors, and the line that made each."""

import ast
import csv
import io
import re
import sys
from pathlib import Path

import jupytext
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sphinx.application import Sphinx

from ncode.reproduction.claims.questions import Answer, Evidence, Question
from ncode.reproduction.plotting.vectors import MOST_POINTS, svg
from ncode.reproduction.publishing import downloads
from ncode.reproduction.publishing.numbers import SPACE

ROOT = Path(__file__).resolve().parents[2]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_a_tables_csv_has_its_rows_in_plain_text():
    rows = [["{doc}`/notebooks/05_reflection`", f"58.74{SPACE}±{SPACE}0.04"], ["a, b", 'say "x"\nand y']]
    written = read(downloads.as_csv(["page", "error"], rows))
    assert written == [["page", "error"], ["/notebooks/05_reflection", "58.74 ± 0.04"], ["a, b", 'say "x" and y']]


def test_a_forests_csv_is_its_evidence_unrounded():
    question = Question("a", "above", "points", above=0.0, published="12.1")
    near = Evidence("a", "CIFAR-10", "reduced", 5, 1 / 3, (0.1 + 0.2, 2 / 3), total=(0.2, 0.7), runs=("r1", "r2"))
    toy = Evidence("a", "digits", "toy", 2, -0.5, (-1.0, 0.0))
    head, *rows = read(downloads.as_csv(downloads.FOREST_COLUMNS, downloads.forest_rows(Answer(question, [toy, near]))))
    first, second = (dict(zip(head, row, strict=True)) for row in rows)
    numbers = ["estimate", "interval_low", "interval_high", "total_low", "total_high"]
    assert [float(first[name]) for name in numbers] == [near.estimate, *near.interval, *near.total]
    assert (first["setting"], first["decides"], first["runs"], first["published"]) == (
        "CIFAR-10",
        "yes",
        "r1 r2",
        "12.1",
    )
    assert (second["setting"], second["decides"], second["total_low"]) == ("digits", "no", "")


def names(cell: str) -> list[str]:
    """The names of what a cell shows: written out in calls of the page."""
    try:
        calls = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)]
    except SyntaxError:
        return []
    shown = [call for call in calls if getattr(call.func, "attr", "") in {"figure", "table", "live"}]
    said = [str(node.value) for call in shown for node in ast.walk(call) if isinstance(node, ast.Constant)]
    return [name for name in said if re.fullmatch(r"(fig|tab)-[\w-]+", name)]


def test_what_a_notebook_shows_has_its_line():
    found = 0
    for path in ROOT.glob("notebooks/[0-9]*.py"):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for cell in jupytext.read(path).cells:
            for name in names(cell.source) if cell.cell_type == "code" else []:
                assert name in lines[downloads.line_of(text, cell.source, name) - 1]
                found += 1
    assert found > 80


def test_a_cell_that_is_not_in_the_notebook_has_no_line():
    assert downloads.line_of("# %%\na = 1\n", "a = 2", "fig-x") is None


class TestVectors:
    def drawing(self, points):
        figure, axes = plt.subplots()
        axes.scatter(*np.random.default_rng(0).random((2, points)))
        plt.close(figure)
        return figure

    def test_the_same_drawing_gives_the_same_file(self):
        first, second = svg(self.drawing(10)), svg(self.drawing(10))
        assert first == second
        assert "<image" not in first

    def test_many_points_become_a_picture_inside(self):
        drawn = svg(self.drawing(10 * MOST_POINTS))
        assert "<image" in drawn
        assert len(drawn) < 400_000


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A small page with both kinds of offer, built: the folder of its HTML."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "book" / "_ext"), *sys.path])
    source = tmp_path / "source"
    (source / "book" / "figures").mkdir(parents=True)
    (source / "book" / "figures" / "fig-x.svg").write_text("<svg/>")
    made = "notebooks/05_reflection.py#L7"
    offers = [
        downloads.offer("tab-x.csv", "a,b\n1,2\n", source=made),
        downloads.offer("fig-x.svg", of="book/figures/fig-x.svg"),
    ]
    (source / "index.md").write_text("# Index\n\n```{toctree}\nbook/page\n```\n")
    (source / "book" / "page.md").write_text("# Page\n\n" + "\n".join(offers))
    settings = {
        "extensions": ["myst_parser", "sphinx.ext.autodoc", "ncode_book"],
        "ncode_repository": "https://host/a/b",
        "ncode_commit": "0123456789ab-dirty",
    }
    out = tmp_path / "html"
    options = {"confoverrides": settings, "status": None, "warningiserror": True}
    Sphinx(str(source), None, str(out), str(tmp_path / "trees"), "html", **options).build()
    return out / "book"


def test_a_page_offers_the_file_and_the_line_that_made_it(page):
    assert (page / "page" / "tab-x.csv").read_text() == "a,b\n1,2\n"
    assert (page / "page" / "fig-x.svg").read_text() == "<svg/>"
    text = (page / "page.html").read_text()
    assert '<a href="page/tab-x.csv" download>' in text
    assert 'href="https://host/a/b/blob/0123456789ab/notebooks/05_reflection.py#L7"' in text
    assert "https://host/a/b/blob/0123456789ab/book/page.md" in text
