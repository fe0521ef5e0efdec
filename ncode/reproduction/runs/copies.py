"""Copies of what a worker makes, kept in another folder: the machine may be taken away at any time.

Of every run that changed since the worker began, the folder gets checkpoint, weights and record; of every recording
that the worker wrote, the file. A copy is whole or absent, and a record is copied after its weights. Another worker, on
another machine, takes the runs up from there and ends in the same bits.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ncode.reproduction.runs.experiment import CHECKPOINT, root, unfinished
from ncode.reproduction.runs.files import write_atomically
from ncode.reproduction.runs.store import RECORD, WEIGHTS

EVERY = 60.0
"""Seconds between two copies of a run's checkpoint, at least. A finished run is copied at once."""

LOOK = 1.0
"""Seconds between two looks at the folder of runs."""


class Copies:
    """Copies below ``folder``: runs in ``runs/``, recordings in ``results/``.

    Args:
        folder: on another disk or machine; made where it is not there.
        tell: is given a line when something cannot be copied. The worker goes on: its runs are worth more.
        every: as :data:`EVERY`.

    Raises:
        ValueError: where ``folder`` is the folder of runs, or lies in it.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None] = print, every: float | int = EVERY) -> None:
        self.folder = folder.expanduser().absolute()
        if self.folder.resolve().is_relative_to(root().resolve()):
            raise ValueError(f"keep: {folder} lies in the folder of runs {root()}, and would be lost with it")
        self._tell = tell
        self._every = every
        # File systems keep times more coarsely.
        self._since = time.time() - 2
        self._next: dict[Path, float] = {}
        self._looked = 0.0

    def take_up(self) -> int:
        """Bring into the folder of runs what is further there than here.

        Returns:
            The number of runs of which something was brought.
        """
        runs, number = self.folder / "runs", 0
        for there in sorted({path.parent for name in (RECORD, f"{CHECKPOINT}*") for path in runs.rglob(name)}):
            here = root() / there.relative_to(runs)
            if not (here / RECORD).exists():
                number += any([_copied(path, here / path.name) for path in _worth_keeping(there)])
        return number

    def look(self, last: bool = False) -> None:
        """Copy what changed and is due.

        Args:
            last: the worker ends: everything is due.
        """
        now = time.monotonic()
        if not last and now < self._looked + LOOK:
            return
        self._looked = now
        for folder in self._changed():
            finished = (folder / RECORD).exists()
            if last or finished or now >= self._next.get(folder, 0.0):
                self._keep(folder, finished)
                self._next[folder] = now + self._every

    def _changed(self) -> list[Path]:
        """The runs' folders in which something was written since the worker began."""
        # Directories change when a file is moved there: no file needs to be looked at.
        folders = [Path(path) for path, _, _ in os.walk(root())] if root().exists() else []
        return [folder for folder in folders if folder.stat().st_mtime >= self._since]

    def _keep(self, run: Path, finished: bool) -> None:
        there = self.folder / "runs" / run.relative_to(root())
        try:
            for path in _worth_keeping(run):
                _copied(path, there / path.name)
            if finished:
                for path in unfinished(there):
                    path.unlink()
        except OSError as error:
            self._tell(f"could not be kept: {error}")

    def recording(self, path: Path) -> None:
        """Copy a recording that was written."""
        try:
            _copied(path, self.folder / "results" / path.name)
        except OSError as error:
            self._tell(f"could not be kept: {error}")


def _worth_keeping(run: Path) -> list[Path]:
    """The files of a run that somebody else needs, in the order in which they are written: the record is the last."""
    if (run / RECORD).exists():
        return [path for path in (run / WEIGHTS, run / RECORD) if path.exists()]
    return unfinished(run)


def _copied(source: Path, target: Path) -> bool:
    """Copy a file whose copy is absent or older, with its time; say whether that was done."""
    try:
        time_ = source.stat().st_mtime_ns
        if target.exists() and target.stat().st_mtime_ns >= time_:
            return False

        def write(temporary: Path) -> None:
            shutil.copyfile(source, temporary)
            os.utime(temporary, ns=(time_, time_))

        write_atomically(target, write)
    except FileNotFoundError:
        # The run ended meanwhile, and its checkpoint is gone.
        return False
    return True
