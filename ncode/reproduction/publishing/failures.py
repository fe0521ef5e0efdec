"""Say, as the last thing that a failed build prints, what failed and where to read on."""

from __future__ import annotations

from pathlib import Path

from ncode.reproduction.words import counted


def summary(build: Path) -> str:
    """What failed in the folder ``build``: each notebook with its cell and error, or the book itself."""
    reports = sorted((build / "failed").glob("*.txt"))
    lines = [f"\nThe book was not published. {counted(len(reports), 'notebook')} failed:" if reports else ""]
    lines += [report.read_text(encoding="utf-8").rstrip() for report in reports]
    if not reports:
        # A build starts without a log of the pages: where there is one, they were what failed.
        logs = [path for path in (build / "book.log", build / "snakemake.log") if path.exists()]
        said = logs[0].read_text(encoding="utf-8") if logs else ""
        lines += [said, f"The book was not published. Its logs: {', '.join(str(path.absolute()) for path in logs)}"]
    if (build / "html" / "index.html").exists():
        lines.append(f"An earlier build is still there: {(build / 'html' / 'index.html').absolute()}")
    return "\n".join(lines)
