"""Whether what is kept is what was computed: every finished run of this machine, and the recordings in ``results/``."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from PIL import Image

from ncode.reproduction.runs import recordings, store
from ncode.reproduction.runs.configs import typed
from ncode.reproduction.runs.experiment import Run, named, root, unfinished
from ncode.reproduction.runs.files import DamagedFile, digest, leftovers, write_atomically

SUMS = "SHA256SUMS"
"""The checksums of all recordings and pictures, as ``sha256sum`` writes and checks them."""

TOLERANCE = 1e-5
"""The relative difference below which a metric that is computed again is the same: sums may be taken in another
order."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        path: of what.
        problem: what is wrong, and what to do.
    """

    path: Path
    problem: str

    def __str__(self) -> str:
        return self.problem if str(self.path) in self.problem else f"{self.path}: {self.problem}"


def verify(runs: Path | None = None, results: Path | None = None, recompute: int = 0, seed: int = 0) -> list[Finding]:
    """Everything that is wrong with finished runs and recordings.

    Args:
        runs: the folder of all runs; :func:`ncode.reproduction.runs.experiment.root` where none is given.
        results: the folder of recordings; that of this checkout or package where none is given.
        recompute: how many runs, drawn at random, have the metrics that follow from their weights and data computed
            again and compared.
        seed: of the draw.
    """
    runs, results = runs or root(), results or recordings.folder()
    found = [*of_recordings(results), *of_runs(runs)]
    sound = [path.parent for path in _records(runs) if not any(path.parent in (f.path, *f.path.parents) for f in found)]
    for folder in random.Random(seed).sample(sound, min(recompute, len(sound))):
        found += of_metrics(folder)
    return found


def problems(recompute: int = 0) -> list[str]:
    """:func:`verify` in words."""
    return [str(finding) for finding in verify(recompute=recompute)]


def of_runs(folder: Path) -> Iterator[Finding]:
    """Everything that is wrong with the finished runs below ``folder``."""
    for record in _records(folder):
        place = record.parent
        try:
            content = store.read(place)
            store.tensors(place, content["weights"])
            if content["experiment"] != place.parent.name:
                yield Finding(record, f"is a run of {content['experiment']}, and lies among {place.parent.name}'s")
        except (DamagedFile, KeyError) as error:
            yield Finding(record, str(error))
        for path in (*leftovers(place), *unfinished(place)):
            yield Finding(path, "was left by a process that was killed. Delete it")


def of_metrics(folder: Path) -> Iterator[Finding]:
    """Metrics of one run that come out otherwise when they are computed again from its weights and data."""
    record = store.read(folder)
    experiment = named(record["experiment"])
    if experiment.evaluate is None:
        return
    run: Run = experiment.finished(record["id"], folder.parents[1])
    for name, value in experiment.evaluate(run.config, run.model()).items():
        if not math.isclose(value, run.metrics[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            yield Finding(folder, f"{name} is {run.metrics[name]!r} in the record, and {value!r} when computed again")


def of_recordings(folder: Path) -> Iterator[Finding]:
    """Everything that is wrong with the recordings and pictures in ``folder``."""
    remedy = "If the change is meant: python -m ncode.reproduction.runs seal"
    listed = checksums(folder)
    there = {path.name: path for path in _kept(folder)}
    for name in sorted(listed.keys() - there.keys()):
        yield Finding(folder / name, f"is listed in {SUMS}, and is not there. {remedy}")
    for name, path in there.items():
        if name not in listed:
            yield Finding(path, f"is not listed in {SUMS}. {remedy}")
        elif digest(path) != listed[name]:
            yield Finding(path, f"is not the file that {SUMS} lists. {remedy}")
        try:
            _readable(path)
        except (ValueError, KeyError, TypeError, OSError) as error:
            yield Finding(path, f"cannot be read ({error})")


def checksums(folder: Path) -> dict[str, str]:
    """What :data:`SUMS` lists, by name."""
    file = folder / SUMS
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {name: checksum for checksum, name in (line.split(maxsplit=1) for line in lines)}


def seal(folder: Path | None = None, only: str | None = None) -> Path:
    """List the checksums of all recordings and pictures as they are now, or of ``only`` the file with that name.

    Raises:
        ValueError: when no recording or picture is called ``only``.
    """
    folder = folder or recordings.folder()
    if only and only not in {path.name for path in _kept(folder)}:
        raise ValueError(f"only: no recording or picture in {folder} is called {only!r}")
    # Workers write different recordings side by side, and all of them this one list.
    with FileLock(folder / f"{SUMS}.lock"):
        listed = checksums(folder) if only else {}
        listed |= {path.name: digest(path) for path in _kept(folder) if only in (None, path.name)}
        text = "".join(f"{checksum}  {name}\n" for name, checksum in sorted(listed.items()))
        write_atomically(folder / SUMS, lambda path: path.write_text(text, encoding="utf-8"))
    return folder / SUMS


def _kept(folder: Path) -> list[Path]:
    # A checkout with nothing recorded yet has no such folder.
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.suffix in (".json", ".jsonl", ".png"))


def _records(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/*/{store.RECORD}"))


def _readable(path: Path) -> None:
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
            made = json.loads(image.text["ncode"])["runs"]
    elif path.suffix == ".jsonl":
        made = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        made = json.loads(path.read_text(encoding="utf-8"))
    for run in made:
        if path.suffix == ".json":
            typed(named(run["experiment"]).Config, run["config"])
        for fact in ("commit", "versions", "device", "device_type", "threads", "seconds"):
            if run["provenance"].get(fact) in (None, ""):
                raise ValueError(f"{run['id']}: its provenance lacks {fact}")
