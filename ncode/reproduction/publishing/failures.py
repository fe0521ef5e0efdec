"""Say, as the last thing that a failed build prints, what failed and where to read on."""

from __future__ import annotations

import sys
from pathlib import Path


def summary(build: Path) -> str:
    """What failed in the folder ``build``: each notebook with its cell and error, or the book itself."""
    reports = sorted((build / "failed").glob("*.txt"))
    lines = [f"\nThe book was not published. {len(reports)} notebook(s) failed:" if reports else ""]
    lines += [report.read_text(encoding="utf-8").rstrip() for report in reports]
    if not reports:
        log = build / "snakemake.log"
        lines += [log.read_text(encoding="utf-8") if log.exists() else "", "The book was not published."]
    if (build / "html" / "index.html").exists():
        lines.append(f"An earlier build is still there: {(build / 'html' / 'index.html').absolute()}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(summary(Path("_build") / sys.argv[1]))
