"""The report as a PDF: the built page as Chromium prints it, in the style of ``book/_static/report.css``.

The page has a place for the link. It stays empty where no Chromium is installed: the book needs none, and offers no
file that is not there.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PAGE = Path("book", "report.html")
FILE = Path("book", "report", "report.pdf")
PLACE = '<p id="report-pdf" hidden></p>'
"""Where the page gets its link; written in ``book/report.md``."""

LINK = '<p class="ncode-offer"><a href="report/report.pdf" download>report.pdf</a> · the same on paper</p>'


def chromium() -> str | None:
    """The path of an installed Chromium or Chrome."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return next(filter(None, found), None)


def write(book: Path, program: str | None) -> str | None:
    """Print the report of the built ``book`` with ``program``, and link the file from its page.

    Returns:
        ``None``, or why there is no PDF.
    """
    if program is None:
        return "no Chromium on the PATH"
    page, file = (book / PAGE).absolute(), (book / FILE).absolute()
    file.parent.mkdir(exist_ok=True)
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    # The page's scripts get so many of their own milliseconds.
    command = [program, *quiet, "--virtual-time-budget=10000", f"--print-to-pdf={file}", page.as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program}: {error}"
    if done.returncode or not file.exists():
        return f"{program} ended with {done.returncode}: {done.stderr.strip()[-200:]}"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(PLACE, LINK), encoding="utf-8")
    return None
