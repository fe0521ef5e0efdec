"""Pack the runs that a built book's pages show, so that they can be drawn again without training.

    python -m ncode.reproduction.publishing.archive cpu

Every executed notebook says which runs it asked for, and of which it read the weights: those are packed, and no other.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat

from ncode.reproduction import profiles
from ncode.reproduction.publishing import stage
from ncode.reproduction.publishing.execute import RUNS
from ncode.reproduction.runs import kept, store
from ncode.reproduction.runs.archive import Archive, ArchiveError, pack, sums
from ncode.reproduction.runs.files import DamagedFile

BUILDS = Path("_build")


def place(profile: str) -> Path:
    """Where the archive of the book in ``profile`` is packed."""
    return BUILDS / profile / kept.file_name(profile)


def here() -> Archive:
    """The archive that this checkout's pages are drawn from: its own where it has packed one and none is named.

    Raises:
        ArchiveError: when it cannot be had, or is not what was packed.
    """
    own = place(kept.PUBLISHED)
    if own.is_file():
        os.environ.setdefault(kept.VARIABLE, str(own.absolute()))
    return kept.opened()


def asked(notebooks: list[Path]) -> dict[str, dict[str, bool]]:
    """By page the runs that each executed notebook asked for, and whether it read their weights.

    Raises:
        ArchiveError: when there are none, or one does not say.
    """
    executed = stage.Executed("")
    for path in notebooks:
        stage.collect(nbformat.read(path, as_version=4), path.stem, executed)
    silent = [path.stem for path in notebooks if "asked" not in executed.took.get(path.stem, {})]
    if silent or not notebooks:
        raise ArchiveError(f"{', '.join(silent) or 'notebooks'}: not executed to the end. Build the book first.")
    return {name: took["asked"] for name, took in executed.took.items()}


def sizes(content: Mapping, pages: Mapping[str, Mapping[str, bool]], runs: Path) -> list[str]:
    """What each page needs of an archive, as lines of text: runs, how many with weights, and megabytes."""
    lines = [f"{'page':28}{'runs':>6}{'with weights':>14}{'MB':>8}"]
    every = {name: any(of.get(name) for of in pages.values()) for of in pages.values() for name in of}
    for page, of in [*pages.items(), ("all, each run once", every)]:
        files = [runs / name / file for name in of for file in content["runs"][name]["files"] if file == store.RECORD]
        files += [runs / name / store.WEIGHTS for name, weights in of.items() if weights]
        size = sum(file.stat().st_size for file in files) / 1e6
        lines.append(f"{page:28}{len(of):6}{sum(of.values()):14}{size:8.1f}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make archive", description=__doc__.splitlines()[0])
    parser.add_argument("profile", choices=profiles.NAMES)
    chosen = parser.parse_args(arguments)
    runs, to = Path(os.environ.get("NCODE_RUNS") or RUNS), place(chosen.profile)
    try:
        pages = asked(sorted((BUILDS / chosen.profile / "executed").glob("*.ipynb")))
        content = pack(runs, chosen.profile, pages, to)
    except (ArchiveError, DamagedFile, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(sizes(content, pages, runs)))
    print(f"{to.stat().st_size / 1e6:.1f} MB, checksum in {sums(to).name}")
    print(to.absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main())
