"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file, force it to disk and move it to ``path``: a reader sees all of it or none.

    Raises:
        OSError: naming ``path``, when it cannot be written; what was there before is then still there.
    """
    # A name that no other process or thread has, on this host or another that shares the folder.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _force(temporary)
        os.replace(temporary, path)
        if os.name == "posix":
            # The new name, too, must outlast a loss of power.
            _force(path.parent)
    except OSError as error:
        if error.errno is None or (error.filename is not None and str(temporary) not in str(error.filename)):
            raise
        raise type(error)(error.errno, f"could not be written ({error.strerror})", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _force(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
