"""Build the staged book with warnings as errors, and let it take the place of the one that is out.

Snakemake calls ``python -m ncode.reproduction.publishing.publish smoke NOTEBOOK ...`` in the repository's folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ncode.reproduction.publishing import pdf
from ncode.reproduction.publishing.stage import stage
from ncode.reproduction.runs import recordings, verify

# The one beside this Python, whatever is on the PATH.
JUPYTER_BOOK = Path(sys.executable).with_name("jupyter-book")


def publish(root: Path, notebooks: list[Path], profile: str, build: Path) -> bool:
    """Build the book of the repository ``root`` from executed ``notebooks`` in the folder ``build``; ``True`` if it was
    published.

    ``build/html`` is a link to the newest edition. Only an edition that built without a warning becomes one.
    """
    wrong = list(verify.of_recordings(recordings.folder()))
    if wrong:
        print("\n".join(f"failed: {finding}" for finding in wrong), flush=True)
        return False
    source = build / "source"
    # Always from scratch: pages that Sphinx remembers do not repeat their warnings.
    shutil.rmtree(source, ignore_errors=True)
    stage(root, notebooks, profile, source)
    command = [
        str(JUPYTER_BOOK),
        "build",
        str(source),
        "-W",
        "-n",
        "--keep-going",
        "--quiet",
    ]
    log = build / "book.log"
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    log.write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        # Last in the book's log is what went wrong; the failed build's summary shows it.
        print(f"failed: the pages; the log: {log.absolute()}", flush=True)
        return False
    built = source / "_build" / "html"
    if (built / pdf.PAGE).exists() and (why := pdf.write(built, pdf.chromium())):
        print(f"The report has no PDF: {why}", flush=True)
    edition = build / f"edition-{time.time_ns()}"
    built.rename(edition)
    replace(build / "html", edition)
    return True


def replace(link: Path, edition: Path) -> None:
    """Make ``link`` point at ``edition``, in one step, and remove the editions that it pointed at before."""
    fresh = link.with_name("html.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(edition.name, target_is_directory=True)
    os.replace(fresh, link)
    for old in edition.parent.glob("edition-*"):
        if old != edition:
            shutil.rmtree(old)


if __name__ == "__main__":
    profile, *paths = sys.argv[1:]
    print(f"building the book ({profile})", flush=True)
    if not publish(Path.cwd(), [Path(path) for path in paths], profile, Path("_build") / profile):
        sys.exit(1)
