"""The report's PDF: linked where it could be printed, silently absent where not."""

from pathlib import Path

import pytest

from ncode.reproduction.publishing import pdf

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def book(tmp_path):
    page = tmp_path / pdf.PAGE
    page.parent.mkdir()
    page.write_text(f"<html><body><h1>Report</h1>{pdf.PLACE}</body></html>")
    return tmp_path


def test_the_page_has_a_place_for_the_link():
    assert (ROOT / "book" / "report.md").read_text(encoding="utf-8").count(pdf.PLACE) == 1


def test_without_a_chromium_there_is_no_link(book):
    assert pdf.write(book, None) == "no Chromium on the PATH"
    assert pdf.PLACE in (book / pdf.PAGE).read_text()


def test_a_chromium_that_fails_leaves_no_link(book):
    assert "false ended with 1" in pdf.write(book, "/bin/false")
    assert "not-there" in pdf.write(book, "/not-there")
    assert pdf.LINK not in (book / pdf.PAGE).read_text()


@pytest.mark.skipif(pdf.chromium() is None, reason="no Chromium on the PATH")
def test_the_printed_report_is_linked_from_its_page(book):
    assert pdf.write(book, pdf.chromium()) is None
    assert (book / pdf.FILE).read_bytes().startswith(b"%PDF")
    assert pdf.LINK in (book / pdf.PAGE).read_text()
