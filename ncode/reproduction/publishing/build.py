"""Build the book: ``make book`` calls ``python -m ncode.reproduction.publishing.build cpu``.

It takes the lock of this folder's book, lets Snakemake execute what has changed and publish, and says meanwhile what
is being worked on. Its last line is the path of the book's first page.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ncode.reproduction import profiles
from ncode.reproduction.publishing import archive
from ncode.reproduction.publishing.failures import summary
from ncode.reproduction.publishing.progress import Progress, span
from ncode.reproduction.runs.archive import ArchiveError

BUILDS = Path("_build")
SNAKEMAKE = Path(sys.executable).with_name("snakemake")


class BusyError(RuntimeError):
    """Another process builds the same book; the message says which, and since when."""


@contextmanager
def sole(profile: str) -> Iterator[Path]:
    """Be the only one to build this folder's book in ``profile``.

    The operating system drops the lock of a process that has died. What such a process left running is ended first:
    it would write where the new build writes.

    Yields:
        the file in which the holder says who it is.

    Raises:
        BusyError: while another process holds the lock.
    """
    BUILDS.mkdir(exist_ok=True)
    holder = BUILDS / f".{profile}.holder"
    lock = FileLock(BUILDS / f".{profile}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise BusyError(_busy(profile, _said(holder))) from None
    try:
        _end_leftovers(_said(holder))
        tell(holder)
        yield holder
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def tell(holder: Path, group: int | None = None) -> None:
    """Write who holds the lock: process, host, since when, and the process group that works for it."""
    text = json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": time.time(), "group": group})
    temporary = holder.with_suffix(".writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(holder)


def _said(holder: Path) -> dict:
    try:
        return json.loads(holder.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # It has only just taken the lock, or was killed before it could say anything.
        return {}


def _busy(profile: str, said: dict) -> str:
    if not said:
        return f"The {profile} book is being built in this folder by another process. Try again when it has finished."
    since = datetime.fromtimestamp(said["since"])
    return (
        f"The {profile} book is being built in this folder by process {said['process']} on {said['host']}, "
        f"since {since:%Y-%m-%d %H:%M:%S} ({span(time.time() - said['since'])}). Try again when it has finished, "
        f"or end it: kill {said['process']}"
    )


def _end_leftovers(said: dict) -> None:
    """End what a build that was killed left running here."""
    group = said.get("group")
    if not group or said["host"] != socket.gethostname() or not _is_ours(group):
        return
    print(f"An earlier build (process {said['process']}) was killed; ending what it left running.", flush=True)
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        for _ in range(50):
            time.sleep(0.1)
            if not _is_ours(group):
                return


def _is_ours(group: int) -> bool:
    """Whether a process of that group works for a book: process numbers are used again."""
    try:
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=False
        )
    except OSError:  # A slim container has no ps.
        return False
    parts = (line.split(None, 2) for line in listed.stdout.splitlines())
    return any(
        int(part[0]) == group and not part[1].startswith("Z") and ("snakemake" in part[2] or __package__ in part[2])
        for part in parts
        if len(part) == 3
    )


def command(profile: str, cores: str, gpus: int) -> list[str]:
    """The call of Snakemake."""
    resources = ["--resources", f"gpu={gpus}"] if gpus else []
    flags = ["--keep-going", "--rerun-incomplete", "--nocolor", "--nolock"]
    return [str(SNAKEMAKE), "--cores", cores, *resources, "--config", f"profile={profile}", *flags]


def build(profile: str, cores: str, gpus: int) -> int:
    """Build the book and say how it goes; the exit status."""
    folder = BUILDS / profile
    with sole(profile) as holder:
        folder.mkdir(exist_ok=True)
        for old in [*(folder / "failed").glob("*"), folder / "book.log"]:
            old.unlink(missing_ok=True)
        published, before = folder / "published", _changed(folder / "published")
        with (folder / "snakemake.log").open("w", encoding="utf-8") as log:
            # In a group of its own, so that all of it can be ended together.
            working = subprocess.Popen(
                command(profile, cores, gpus), stdout=subprocess.PIPE, stderr=log, text=True, process_group=0
            )
            tell(holder, working.pid)
            status = _watch(working, Progress(folder))
    if status:
        print(summary(folder), file=sys.stderr)
        return 1
    if _changed(published) == before:
        print("Nothing has changed since this book was built.")
    print((folder / "html" / "index.html").absolute())
    return 0


def _watch(working: subprocess.Popen, progress: Progress) -> int:
    def end(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, end)
    try:
        progress.follow(working.stdout)
        return working.wait()
    except KeyboardInterrupt:
        os.killpg(working.pid, signal.SIGTERM)
        working.wait()
        print("\nStopped. What is finished is kept: the next call goes on from here.", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make book", description="Execute what has changed and build the book.")
    parser.add_argument("profile", choices=(*profiles.NAMES, profiles.RECORDED))
    parser.add_argument("--cores", default="all")
    parser.add_argument("--gpus", type=int, default=0, help="how many notebooks may use a GPU at the same time")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.profile == profiles.RECORDED:
            print(f"Drawn from {archive.here().source}", flush=True)
        return build(chosen.profile, chosen.cores, chosen.gpus)
    except (BusyError, ArchiveError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
