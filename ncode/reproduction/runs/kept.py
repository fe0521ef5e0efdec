"""The archive that this process draws its pages from, in the profile ``recorded``: then no run is made, only found.

It is the one that ``$NCODE_ARCHIVE`` names, a path or an address; otherwise the one that the repository's book is
published with.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
import requests
from filelock import FileLock

from ncode.reproduction.extras import REPOSITORY
from ncode.reproduction.runs import provenance, store
from ncode.reproduction.runs.archive import CHECKSUM, Archive, ArchiveError, checksum_in, extracted, read
from ncode.reproduction.runs.files import write_atomically

VARIABLE = "NCODE_ARCHIVE"
PUBLISHED = "cpu"
"""The profile of the book that is published, and of the archive beside it."""

TIMEOUT = 30
"""Seconds without an answer after which the book's address counts as unreachable."""

REMEDY = f'Set profile = "{PUBLISHED}" to compute what is missing, or {VARIABLE} to an archive of yours.'

_USED: list[tuple[Archive, str]] = []


class MissingRun(RuntimeError):
    """A run that an archive lacks: it says which, of which page, why, and what to do. Nothing was trained for it."""


def file_name(profile: str) -> str:
    """The name of the archive of a book in ``profile``."""
    return f"runs-{profile}.tar"


def use(page: str) -> Archive:
    """From now on, take every run from the archive and make none.

    Args:
        page: which asks for them, for errors.

    Raises:
        ArchiveError: when it cannot be had, or is not what was packed.
    """
    archive = opened()
    _USED[:] = [(archive, page)]
    return archive


def leave() -> None:
    """From now on, make runs and keep them where all runs lie."""
    _USED.clear()


def in_use() -> Archive | None:
    """The archive in use; ``None`` where runs are made."""
    return _USED[0][0] if _USED else None


def place(experiment: str, config: Mapping[str, Any], module: str) -> Path:
    """The folder of the run of ``config`` in the archive in use.

    Versions and threads are the archive's own; configuration and code have to be the same.

    Args:
        experiment: its name.
        config: plain values.
        module: whose code makes such runs.

    Raises:
        MissingRun: when it is not there.
    """
    archive, page = _USED[0]
    found = archive.find(experiment, config, provenance.portable_fingerprint(module))
    if found is None:
        raise MissingRun(_missing(archive, page, experiment, config))
    return found


def need_weights(run: str, folder: Path) -> None:
    """Make sure that the archive in use, if there is one, has the weights of ``run``, which lies in ``folder``.

    Raises:
        MissingRun: when it has not.
    """
    if _USED and not (folder / store.WEIGHTS).exists():
        archive, page = _USED[0]
        raise MissingRun(
            f"{page}: the archive of commit {archive.commit} ({archive.source}) has the run {run} without its weights: "
            f"no page read them when it was packed. In this profile nothing is trained. {REMEDY}"
        )


def _missing(archive: Archive, page: str, experiment: str, config: Mapping[str, Any]) -> str:
    run = ", ".join(f"{name}={config[name]!r}" for name in ("model", "seed") if name in config)
    lacks = f"{page}: the archive of commit {archive.commit} ({archive.source}) lacks the run {experiment}({run})"
    if archive.has_of_other_code(experiment, config):
        why = f"the code that makes it, which here is that of {provenance.commit()}, differs from the archive's"
    else:
        why = "no page had a run with these settings when it was packed"
    return f"{lacks}: {why}. In this profile nothing is trained. {REMEDY}"


def source() -> str:
    """Where the archive comes from.

    Raises:
        ArchiveError: when nothing is set, and no address follows from the repository's.
    """
    named = os.environ.get(VARIABLE, "")
    address = published(REPOSITORY)
    if not named and not address:
        raise ArchiveError(f"No archive of runs is known to be published for {REPOSITORY}. {REMEDY}")
    return named or address


def published(repository: str) -> str:
    """The address of the archive beside the book of ``repository``; empty for a host whose pages are not known."""
    address = book(repository)
    return f"{address}/{file_name(PUBLISHED)}" if address else ""


def book(repository: str) -> str:
    """The address of the published book of ``repository``; empty for a host whose pages are not known."""
    found = re.fullmatch(r"https://github\.com/([\w-]+)/([\w.-]+)", repository)
    if not found:
        return ""
    site = f"{found[1].lower()}.github.io"
    folder = "" if found[2].lower() == site else f"/{found[2]}"
    return f"https://{site}{folder}"


def opened() -> Archive:
    """The archive, read and checked; downloaded where it comes from an address and is not here yet.

    Raises:
        ArchiveError: when it cannot be had, or is not what was packed.
    """
    where = source()
    cache = platformdirs.user_cache_path("ncode") / "archives"
    try:
        if where.startswith(("https://", "http://")):
            return _downloaded(where, cache)
        return read(Path(where).expanduser(), cache)
    except ArchiveError as error:
        raise ArchiveError(f"{error} {REMEDY}") from error


def _downloaded(address: str, cache: Path) -> Archive:
    """The archive at ``address``, as it is now; as it was last time where there is no network."""
    latest = cache / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.latest"
    try:
        answer = requests.get(address + CHECKSUM, timeout=TIMEOUT)
        answer.raise_for_status()
    except requests.RequestException as error:
        earlier = checksum_in(latest.read_text(encoding="utf-8")) if latest.is_file() else ""
        if earlier and (there := extracted(cache, earlier, address)):
            return there
        raise ArchiveError(f"{address}: cannot be had ({type(error).__name__}).") from error
    checksum = checksum_in(answer.text)
    if not checksum:
        raise ArchiveError(f"{address}{CHECKSUM}: is no checksum.")
    cache.mkdir(parents=True, exist_ok=True)
    # Notebooks run side by side: the second waits for the first, and finds its files.
    with FileLock(cache / f".{latest.stem}.lock"):
        archive = extracted(cache, checksum, address) or _fetched(address, checksum, cache)
    write_atomically(latest, lambda path: path.write_text(f"{checksum}\n", encoding="utf-8"))
    return archive


def _fetched(address: str, checksum: str, cache: Path) -> Archive:
    import pooch  # Here and not above: it is slow to import, and warns in a notebook that has no widgets.

    name = f"{checksum}.tar"
    try:
        loader = pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 16, timeout=TIMEOUT)
        pooch.retrieve(address, f"sha256:{checksum}", fname=name, path=cache, downloader=loader)
    except (requests.RequestException, OSError) as error:
        raise ArchiveError(f"{address}: cannot be had ({type(error).__name__}: {error}).") from error
    except ValueError as error:
        raise ArchiveError(
            f"{address}: what came has another SHA-256 than {address}{CHECKSUM} says. Try again."
        ) from error
    try:
        return read(cache / name, cache, checksum, address)
    finally:
        (cache / name).unlink(missing_ok=True)
