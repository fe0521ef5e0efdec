"""Where finished runs are kept from one session to the next, by one setting: a folder, or the user's drive on Colab."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

DRIVE = Path("/content/drive")
"""Where Colab shows the user's drive, once it is asked to."""


def keep_in(folder: str) -> Path:
    """From now on, keep this process's finished runs in ``folder`` and find them there; on Colab's drive, mount it.

    Raises:
        ValueError: naming ``runs``, when the folder cannot be had.
    """
    path = Path(folder).expanduser()
    if path.is_relative_to(DRIVE) and not os.path.ismount(DRIVE):
        _mount(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"runs: {folder!r} cannot keep runs ({error.strerror}). Name another folder.") from error
    if not os.access(path, os.W_OK):
        raise ValueError(f"runs: {folder!r} cannot be written. Name another folder.")
    os.environ["NCODE_RUNS"] = str(path.absolute())
    return path


def _mount(folder: str) -> None:
    """Ask Colab for the user's drive; it asks the user."""
    if find_spec("google") is None or find_spec("google.colab") is None:
        raise ValueError(
            f"runs: {folder!r} is on the user's drive, which only Colab has. Name a folder of this machine."
        )
    from google.colab import drive

    drive.mount(str(DRIVE))
