"""Recorded runs: what took longer than a notebook should, as small files that travel with the package.

A recording holds for every run its configuration, metrics, provenance and a thinned history, and no weights. A picture
holds what recorded runs' models made of some images, and the runs' configurations and provenance. In the repository
they lie in ``results/``; an installed package carries them as ``ncode/reproduction/recorded``.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ncode.reproduction.runs.configs import plain, typed
from ncode.reproduction.runs.experiment import Run, named
from ncode.reproduction.runs.files import write_atomically
from ncode.reproduction.words import counted

LIMIT = 300_000
"""The largest size of a recording or a picture, in bytes."""

FEWEST = 10
"""Entries of a thinned history, at least."""


@dataclass(frozen=True)
class RecordedRun:
    """One run of a recording; attributes as of :class:`ncode.reproduction.runs.experiment.Run`.

    Attributes:
        experiment: the experiment's name.
        history: ``iteration`` and, for every series, means over the iterations since the entry before; and
            ``evaluated`` and ``evaluations`` where the run had any.
    """

    id: str
    experiment: str
    config: Any
    metrics: dict[str, float]
    history: dict[str, list]
    provenance: dict[str, Any]

    def finished(self) -> Run:
        """The run that this is the record of, with its weights.

        Raises:
            FileNotFoundError: when it is not finished here.
        """
        return named(self.experiment).finished(self.id)


def folder() -> Path:
    """Where recordings lie: the checkout's ``results/``, or the installed package's copy."""
    package = Path(__file__).resolve().parents[1]
    root = package.parents[1]
    checkout = root / "results"
    return checkout if (root / "pyproject.toml").exists() and checkout.is_dir() else package / "recorded"


def save(name: str, runs: Sequence[Run], points: int = 100) -> Path:
    """Write ``runs`` as the recording ``name``.

    Histories are thinned to at most ``points`` entries, or to as many fewer, down to :data:`FEWEST`, as keep the file
    below :data:`LIMIT`.

    Raises:
        ValueError: when it would be larger all the same.
    """
    text = _text(runs, points)
    while len(text.encode()) > LIMIT and points > FEWEST:
        points = max(FEWEST, points // 2)
        text = _text(runs, points)
    if len(text.encode()) > LIMIT:
        raise ValueError(f"runs: {name} takes {len(text.encode())} bytes, more than {LIMIT}: too many runs")
    return _write(name, text)


def add(name: str, run: Run, place: Callable[[Any], int], points: int = 100) -> Path:
    """Put ``run`` into the recording ``name``, beside what is there and in the place of a run of its configuration.

    Where the file would be larger than :data:`LIMIT`, all histories are thinned, down to :data:`FEWEST` entries.

    Args:
        place: of a configuration in the recording.

    Raises:
        ValueError: when it would be larger all the same.
    """
    path = folder() / f"{name}.json"
    there = json.loads(path.read_text()) if path.exists() else []
    config = plain(run.config)
    kept = [*(one for one in there if _read(one).config != run.config), _kept(run, points)]
    kept.sort(key=lambda one: place(run.config if one["config"] == config else _read(one).config))
    text = _lines(kept)
    while len(text.encode()) > LIMIT and points > FEWEST:
        points = max(FEWEST, points // 2)
        text = _lines([one | {"history": _coarser(one["history"], points)} for one in kept])
    if len(text.encode()) > LIMIT:
        raise ValueError(f"run: {name} would take {len(text.encode())} bytes, more than {LIMIT}: too many runs")
    return _write(name, text)


def _write(name: str, text: str) -> Path:
    path = folder() / f"{name}.json"
    write_atomically(path, lambda temporary: temporary.write_text(text))
    return path


def _text(runs: Sequence[Run], points: int) -> str:
    return _lines([_kept(run, points) for run in runs])


def _lines(kept: Sequence[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(run, allow_nan=False) for run in kept) + "\n]\n"


def _kept(run: Run, points: int) -> dict[str, Any]:
    """A run as a recording keeps it."""
    return {
        "id": run.id,
        "experiment": run.experiment.name,
        "config": plain(run.config),
        # JSON has no infinity and no NaN: "inf" and "nan" read as numbers again.
        "metrics": {k: v if math.isfinite(v) else str(v) for k, v in run.metrics.items()},
        "history": thinned(run, points),
        "provenance": run.provenance,
    }


def load(name: str) -> list[RecordedRun]:
    """The recording called ``name``.

    Raises:
        FileNotFoundError: when there is none, saying what there is.
    """
    path = folder() / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(found.stem for found in folder().glob("*.json"))) or "none"
        raise FileNotFoundError(f"no recording {name!r} in {folder()}; there are: {known}")
    return [_read(run) for run in json.loads(path.read_text())]


def _read(raw: dict[str, Any]) -> RecordedRun:
    return RecordedRun(
        raw["id"],
        raw["experiment"],
        typed(named(raw["experiment"]).Config, raw["config"]),
        {name: float(value) for name, value in raw["metrics"].items()},
        raw["history"],
        raw["provenance"],
    )


def find(name: str) -> list[RecordedRun]:
    """The recording called ``name``; empty where there is none yet."""
    try:
        return load(name)
    except FileNotFoundError:
        return []


def thinned(run: Run, points: int = 100) -> dict[str, list]:
    """A run's history in at most ``points`` entries, as a recording keeps it; its evaluations are kept as they are."""
    history = run.history
    block = max(1, math.ceil(history.iterations / points))
    starts = range(0, history.iterations, block)
    series = {"loss": history.loss, **history.metrics}
    short = {name: [_mean(values[k : k + block]) for k in starts] for name, values in series.items()}
    short["iteration"] = [min(k + block, history.iterations) for k in starts]
    short["failures"] = history.failures
    if history.evaluated:
        short["evaluated"] = history.evaluated
        short["evaluations"] = {name: [_mean([v]) for v in values] for name, values in history.evaluations.items()}
    return short


def history(run: Run | RecordedRun, points: int = 100) -> dict[str, list]:
    """A live run's history as :func:`thinned` gives it, or a recorded run's, which was thinned when it was recorded."""
    return run.history if isinstance(run, RecordedRun) else thinned(run, points)


@dataclass(frozen=True)
class Picture:
    """What recorded runs' models made of some images.

    Attributes:
        images: numbers between 0 and 1, of shape (rows, columns, channels, height, width), in steps of 1/255.
        facts: ``runs``, for each its ``id``, ``config`` and ``provenance``, and whatever else the picture was saved
            with.
    """

    images: Float[np.ndarray, "rows columns channels height width"]
    facts: dict


def save_picture(name: str, images: np.ndarray, runs: Sequence[Run], **facts: Any) -> Path:
    """Write ``images`` as the PNG file ``name``, side by side, with what is to be known of them inside.

    Args:
        images: as of :class:`Picture`.
        runs: whose models made them.
        facts: more to know, as plain data.

    Raises:
        ValueError: when the file would be larger than :data:`LIMIT`.
    """
    rows, columns, channels, height, width = images.shape
    whole = images.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    text = PngInfo()
    of = [{"id": run.id, "config": plain(run.config), "provenance": run.provenance} for run in runs]
    known = {"shape": images.shape, "runs": of, **facts}
    text.add_text("ncode", json.dumps(known))
    buffer = io.BytesIO()
    pixels = np.round(255 * whole.clip(0, 1)).astype(np.uint8)
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG", pnginfo=text, optimize=True)
    if len(buffer.getvalue()) > LIMIT:
        raise ValueError(f"images: {name} takes {len(buffer.getvalue())} bytes, more than {LIMIT}; show fewer")
    path = folder() / f"{name}.png"
    write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))
    return path


def find_picture(name: str) -> Picture | None:
    """The picture called ``name``; ``None`` where there is none yet."""
    path = folder() / f"{name}.png"
    if not path.exists():
        return None
    with Image.open(path) as image:
        facts = json.loads(image.text["ncode"])
        pixels = np.asarray(image) / 255
    rows, columns, channels, height, width = facts.pop("shape")
    images = pixels.reshape(rows, height, columns, width, channels).transpose(0, 2, 4, 1, 3)
    return Picture(images, facts)


def describe(name: str) -> str:
    """What a recording consists of, as one line of Markdown: runs, seeds, and for each machine time and commits."""
    made = load(name)
    machines: dict[str, list[RecordedRun]] = {}
    for run in made:
        facts = run.provenance
        machine = f"{facts['device']}, {counted(facts['threads'], 'thread')}, torch {facts['versions']['torch']}"
        machines.setdefault(machine, []).append(run)
    parts = []
    for machine, runs in machines.items():
        minutes = sum(run.provenance["seconds"] for run in runs) / 60
        commits = ", ".join(sorted({run.provenance["commit"] for run in runs}))
        of = f"{len(runs)} of them " if len(machines) > 1 else ""
        parts.append(f"{of}{minutes:.0f} minutes on {machine}, commit {commits}")
    seeds = len({run.config.seed for run in made})
    return f"- `{name}`: {counted(len(made), 'run')}, {counted(seeds, 'seed')}, {'; '.join(parts)}"


def _coarser(history: dict[str, list], points: int) -> dict[str, list]:
    """A thinned history in at most ``points`` entries: means over neighbours, each by the iterations that it is of."""
    ends = history["iteration"]
    block = math.ceil(len(ends) / points)
    if block <= 1:
        return history
    spans = np.diff(ends, prepend=0)
    starts = range(0, len(ends), block)
    kept = {"failures", "evaluated", "evaluations"}
    short: dict[str, Any] = {name: values for name, values in history.items() if name in kept}
    short["iteration"] = [ends[min(k + block, len(ends)) - 1] for k in starts]
    for name in history.keys() - kept - {"iteration"}:
        series = [math.nan if value is None else float(value) for value in history[name]]
        short[name] = [_mean(series[k : k + block], spans[k : k + block]) for k in starts]
    return {name: short[name] for name in history}


def _mean(values: Sequence[float], weights: np.ndarray | None = None) -> float | None:
    # A failed step's NaN would not be JSON; a block of nothing else is a gap.
    finite = np.isfinite(values)
    weights = None if weights is None else weights[finite]
    return float(f"{np.average(np.asarray(values)[finite], weights=weights):.4g}") if finite.any() else None
