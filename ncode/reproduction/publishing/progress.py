"""Which notebook is being executed, since when, and about how long it takes: what ``make book`` prints meanwhile."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

EVERY = 30
"""Seconds between two lines where the output is no terminal."""

_EXECUTING = re.compile(r"^executing notebooks/(\S+)\.py ")
_ENDED = re.compile(r"^(executed|failed:) notebooks/(\S+)\.py\b")
_BUILDING = re.compile(r"^building the book ")
_PLANNED = re.compile(r"^notebook\s+(\d+)\s*$", re.M)


def span(seconds: float) -> str:
    """``seconds`` as a reader counts them: ``42 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Follows a build by the lines that its jobs print.

    How long each notebook took is kept in ``seconds.json``, from one build to the next.

    Args:
        folder: the build's folder.
        out: where to write; standard output where none is given.
    """

    def __init__(self, folder: Path, out: io.TextIOBase | None = None):
        self.folder = folder
        self.out = out or sys.stdout
        self.seconds = self._read()
        self.running: dict[str, float] = {}
        self.done = 0
        self._line = ""
        self._writing = threading.Lock()

    def follow(self, lines: Iterable[str]) -> None:
        """Print what ``lines`` tell as they come, and meanwhile how far it is; return when they end."""
        ended = threading.Event()
        clock = threading.Thread(target=self._tick, args=(ended,), daemon=True)
        clock.start()
        try:
            for line in lines:
                self.hear(line)
        finally:
            ended.set()
            clock.join()
            self._show("")

    def hear(self, line: str) -> None:
        """Take in one line that a job printed."""
        if found := _EXECUTING.match(line):
            self.running[found[1]] = time.monotonic()
            self._print(f"{line.rstrip()}: {self.expected(found[1])}")
        elif found := _ENDED.match(line):
            self.done += 1
            took = time.monotonic() - self.running.pop(found[2], time.monotonic())
            if found[1] == "executed":
                self._keep(found[2], took)
            word = "executed" if found[1] == "executed" else "FAILED"
            self._print(f"{word} notebooks/{found[2]}.py in {span(took)} ({self.of()})")
        elif _BUILDING.match(line):
            self.running["the book's pages"] = time.monotonic()
            self._print(line.rstrip())
        elif line.strip():
            self._print(line.rstrip())

    def expected(self, notebook: str) -> str:
        """About how long ``notebook`` takes here."""
        last = self.seconds.get(notebook)
        return f"about {span(last)}, as last time" if last else "for the first time here"

    def of(self) -> str:
        """How many of the notebooks are through."""
        planned = self._planned()
        return f"{self.done} of {planned} notebooks" if planned else f"{self.done} notebooks"

    def state(self) -> str:
        """What is being worked on, since when, and about how long it takes."""
        now = time.monotonic()
        parts = []
        for name, since in sorted(self.running.copy().items(), key=lambda item: item[1]):
            about = f" of about {span(self.seconds[name])}" if name in self.seconds else ""
            parts.append(f"{name} {span(now - since)}{about}")
        return f"{self.of()}; working on {', '.join(parts)}" if parts else ""

    def _tick(self, ended: threading.Event) -> None:
        terminal = self.out.isatty()
        while not ended.wait(1 if terminal else EVERY):
            state = self.state()
            if terminal:
                self._show(state)
            elif state:
                self._print(state)

    def _print(self, text: str) -> None:
        self._show("")
        with self._writing:
            print(text, file=self.out, flush=True)

    def _show(self, state: str) -> None:
        """Put ``state`` into the terminal's last line."""
        if not self.out.isatty() or state == self._line:
            return
        with self._writing:
            print(f"\r\033[K{state[:118]}", end="", file=self.out, flush=True)
            self._line = state

    def _planned(self) -> int:
        log = self.folder / "snakemake.log"
        found = _PLANNED.search(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else None
        return int(found[1]) if found else 0

    def _read(self) -> dict[str, float]:
        try:
            return json.loads((self.folder / "seconds.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def _keep(self, notebook: str, seconds: float) -> None:
        self.seconds[notebook] = round(seconds, 1)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "seconds.json").write_text(json.dumps(self.seconds, indent=1), encoding="utf-8")
