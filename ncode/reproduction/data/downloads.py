"""Getting data files: where they lie, how they come, and that nothing half-written or altered is taken for whole.

Files lie below ``$NCODE_DATA``, by default a cache folder in the user's home. A download grows in a file of another
name beside its place, goes on from there after an interruption where the server allows it, and is moved into place
only when its checksum is right.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import platformdirs
import requests
from filelock import FileLock
from tqdm import tqdm

TIMEOUT = 30
"""Seconds without a byte after which a download counts as broken off."""


class DataError(RuntimeError):
    """Data that cannot be had or must not be trusted; says which file, and what to do."""


def folder() -> Path:
    """The folder of all data: ``$NCODE_DATA`` where it is set."""
    return Path(os.environ.get("NCODE_DATA") or platformdirs.user_cache_path("ncode") / "data").expanduser()


def checksum(content: bytes | Path, kind: str = "md5") -> str:
    """The hash of a file, or of bytes: what tells the official release from anything else.

    Raises:
        DataError: when the file cannot be read.
    """
    digest = hashlib.new(kind, usedforsecurity=False)
    if isinstance(content, bytes):
        digest.update(content)
    else:
        with reading(content), content.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()


REPLACE = "Delete it, so that it is downloaded anew, or put a whole one there."


@contextmanager
def reading(file: Path | str, remedy: str = REPLACE) -> Iterator[None]:
    """Turn whatever a reader raises over a file's bytes into one error that names ``file`` and the remedy.

    Libraries raise what the damaged bytes happen to lead them to, from ``struct.error`` to ``MemoryError``.
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{file}: is missing. {remedy}") from error
    except IsADirectoryError as error:
        raise DataError(f"{file}: is a folder, where a file must be. {remedy}") from error
    except PermissionError as error:
        raise DataError(f"{file}: may not be read by this user. {remedy}") from error
    except Exception as error:
        raise DataError(f"{file}: is truncated or corrupt ({type(error).__name__}: {error}). {remedy}") from error


_LOOKING: ContextVar[bool] = ContextVar("looking", default=False)


@contextmanager
def nothing_downloaded() -> Iterator[None]:
    """Within it a file that is not here is an error: for whoever only looks at what there is."""
    token = _LOOKING.set(True)
    try:
        yield
    finally:
        _LOOKING.reset(token)


def fetch(url: str, file: Path, md5: str) -> Path:
    """``file``, downloaded from ``url`` where it is not there yet.

    Raises:
        DataError: when there is no network, the disk is full, or what came is not what ``md5`` says. What had come
            before an interruption stays in ``<file>.part`` and is not asked for again.
    """
    if file.exists():
        return file
    if _LOOKING.get():
        raise DataError(f"{file}: is not here")
    import pooch  # Here and not above: it is slow to import, and warns in a notebook that has no widgets.

    with readable_failures(file, f"It comes from {url}: try again with a network, or put the file there by hand"):
        file.parent.mkdir(parents=True, exist_ok=True)
        # Notebooks run side by side: the second waits for the first, and finds the file.
        with FileLock(file.with_name(f".{file.name}.lock")):
            if file.exists():
                return file
            try:
                pooch.retrieve(url, f"md5:{md5}", fname=file.name, path=file.parent, downloader=_resuming(file))
            except ValueError as error:
                # pooch has removed what it got.
                raise DataError(
                    f"{file}: what {url} sent has the wrong checksum and was discarded. Try again."
                ) from error
    return file


@contextmanager
def readable_failures(file: Path, remedy: str) -> Iterator[None]:
    """Turn what goes wrong between disk and network into one error that names ``file`` and the remedy."""
    try:
        yield
    except requests.RequestException as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{file}: could not be downloaded ({reason}). {remedy} (NCODE_DATA sets where).") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(
            f"{file}: the disk is full. Make room, or set NCODE_DATA to a folder on another disk; nothing "
            "incomplete will be used."
        ) from error


def _resuming(file: Path) -> Callable[[str, str, object], None]:
    """A downloader for pooch that goes on where an interrupted one stopped."""
    part = file.with_name(file.name + ".part")

    def download(url: str, output: str, _pooch: object) -> None:
        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, stream=True, headers=headers, timeout=TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                part.unlink()
                return download(url, output, _pooch)
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                have = 0  # A server that cannot resume sends everything anew.
            total = have + int(answer.headers.get("Content-Length", 0))
            _receive(answer, part, have, total)
        if part.stat().st_size < total:
            raise requests.ConnectionError(f"the connection broke off after {part.stat().st_size} of {total} bytes")
        os.replace(part, output)

    return download


def _receive(answer: requests.Response, part: Path, have: int, total: int) -> None:
    with (
        part.open("ab" if have else "wb") as out,
        tqdm(desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, leave=False) as bar,
    ):
        for block in answer.iter_content(1 << 16):
            out.write(block)
            bar.update(len(block))
