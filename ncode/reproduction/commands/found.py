"""What the command line finds and says: experiments, recordings and finished runs, as plain rows of text."""

from __future__ import annotations

import dataclasses
import importlib
import json
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncode.reproduction.runs import recordings as recorded
from ncode.reproduction.words import counted

HEADS = {
    "experiments": ("experiment", "what it is"),
    "recordings": ("recording", "runs", "seeds", "hours"),
    "runs": ("experiment", "id", "seconds", "started"),
}


def experiments() -> list[tuple[str, ...]]:
    """Every experiment's name, and the first sentence of what it says of itself."""
    import ast

    from ncode.reproduction import experiments as package

    rows = []
    # Others measure and draw, and train nothing.
    for path in sorted(Path(package.__path__[0]).glob("*/__init__.py")):
        if not path.with_name("train.py").exists():
            continue
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append((path.parent.name, told.split("\n\n")[0].replace("\n", " ")))
    return rows


def recordings() -> list[tuple[str, ...]]:
    """Every recording: its name, how many runs and seeds it has, and how long they took."""
    rows = []
    for path in sorted(recorded.folder().glob("*.json")):
        runs = _read(path)
        if not (isinstance(runs, list) and all("provenance" in run for run in runs)):
            continue
        hours = sum(run["provenance"]["seconds"] for run in runs) / 3600
        seeds = len({run["config"].get("seed") for run in runs})
        rows.append((path.stem, str(len(runs)), str(seeds), f"{hours:.2f}"))
    return rows


def runs() -> list[tuple[str, ...]]:
    """Every finished run on this machine: its experiment, id, duration and when it was started."""
    rows = []
    for path in _records():
        run = _read(path)
        facts = run["provenance"]
        rows.append((run["experiment"], run["id"], f"{facts['seconds']:.0f}", facts.get("started", "")))
    return rows


def named(name: str) -> list[dict]:
    """The runs of the recording called ``name``, or the one run whose id begins so.

    Raises:
        LookupError: when there is neither, or more than one such run.
    """
    path = recorded.folder() / f"{name}.json"
    if path.is_file():
        return _read(path)
    beginning = [_read(path) for path in _records() if path.parent.name.startswith(name)]
    if not beginning:
        every = (run for path in recorded.folder().glob("*.json") for run in _read(path) if isinstance(run, dict))
        beginning = list({run["id"]: run for run in every if run.get("id", "").startswith(name)}.values())
    if len(beginning) != 1:
        what = f"{len(beginning)} runs have ids that begin with" if beginning else "no recording and no run is called"
        raise LookupError(f"{what} {name!r}; see: ncode list recordings, ncode list runs")
    return beginning


def description(runs: Sequence[Mapping]) -> list[str]:
    """What ``runs`` share, how they differ, and what came out."""
    settings = [run["config"] for run in runs]
    shared = {key: value for key, value in settings[0].items() if all(one.get(key) == value for one in settings)}
    varied = [key for key in settings[0] if key not in shared]
    lines = [f"{runs[0]['experiment']}: {counted(len(runs), 'run')}", "", "settings"]
    lines += [f"  {key} = {json.dumps(value)}" for key, value in shared.items()]
    for group, members in _grouped(runs, [key for key in varied if key != "seed"]).items():
        lines += ["", f"{group or 'metrics'} ({_seeds(members)})"]
        lines += [f"  {name} = {_spread(values)}" for name, values in _metrics(members).items()]
    machines = {(run["provenance"]["device"], run["provenance"]["commit"]) for run in runs}
    lines += ["", *sorted(f"computed on {device}, commit {commit}" for device, commit in machines)]
    return lines


def comparison(first: str, left: Sequence[Mapping], second: str, right: Sequence[Mapping]) -> list[str]:
    """The settings in which two sets of runs differ, and the metrics that both have, model by model."""

    def values(runs: Sequence[Mapping], key: str) -> str:
        return ", ".join(sorted({json.dumps(run["config"].get(key)) for run in runs}))

    keys = dict.fromkeys(key for run in (*left, *right) for key in run["config"])
    rows = [(key, values(left, key), values(right, key)) for key in keys]
    rows = [row for row in rows if row[1] != row[2]]
    models = ["model"] if any("model" in run["config"] for run in left) else []
    ours, theirs = _grouped(left, models), _grouped(right, models)
    for group in (group for group in ours if group in theirs):
        one, other = _metrics(ours[group]), _metrics(theirs[group])
        shared = [name for name in one if name in other]
        rows += [(f"{group}: {name}" if group else name, _spread(one[name]), _spread(other[name])) for name in shared]
    return _aligned(("", first, second), rows)


def make(name: str, profile: str, settings: Sequence[str]) -> dict:
    """The run of the experiment called ``name`` with ``settings``, each ``field=value``.

    What they do not name is as in ``profile``; the seed is 0.

    Raises:
        ValueError: for an unknown experiment or profile, an unknown field, or one without any value.
    """
    import torch

    from ncode.reproduction import profiles
    from ncode.reproduction.runs.configs import typed
    from ncode.reproduction.runs.experiment import named as experiment_named

    experiment = experiment_named(name)
    fields = {field.name: field for field in dataclasses.fields(experiment.Config)}
    usual = {"seed": 0, **profiles.load(name.split(".")[0], profile).settings}
    chosen = {key: value for key, value in usual.items() if key in fields}
    for setting in settings:
        key, _, text = setting.partition("=")
        if key not in fields or not text:
            raise ValueError(f"{setting!r}: must be FIELD=VALUE, with a field of {', '.join(fields)}")
        chosen[key] = _value(text)
    for key, field in fields.items():
        if key not in chosen and field.default is field.default_factory is dataclasses.MISSING:
            models = getattr(importlib.import_module(experiment.train.__module__), "MODELS", ())
            known = f" (one of {', '.join(models)})" if key == "model" and models else ""
            raise ValueError(f"{name} has no default for {key}: give {key}=VALUE{known}")
    # One thread, as in a notebook: the same sums in the same order.
    torch.set_num_threads(1)
    run = experiment.run(typed(experiment.Config, chosen))
    return _read(run.folder / "record.json")


def table(rows: Sequence[Sequence[str]], what: str) -> list[str]:
    """``rows`` under the heads of ``what``; a sentence where there are none."""
    return _aligned(HEADS[what], rows) if rows else [f"There are no {what}."]


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return [line.rstrip() for line in (lines[0], "  ".join("-" * width for width in widths), *lines[1:])]


def _records() -> list[Path]:
    from ncode.reproduction.runs.experiment import root

    return sorted(root().glob("*/*/record.json"))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _grouped(runs: Sequence[Mapping], keys: Sequence[str]) -> dict[str, list[Mapping]]:
    groups: dict[str, list[Mapping]] = {}
    for run in runs:
        label = ", ".join(f"{key} = {json.dumps(run['config'].get(key))}" for key in keys)
        groups.setdefault(label, []).append(run)
    return groups


def _seeds(runs: Sequence[Mapping]) -> str:
    seeds = sorted({run["config"].get("seed", 0) for run in runs})
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"


def _metrics(runs: Sequence[Mapping]) -> dict[str, list[float]]:
    return {
        name: [float(run["metrics"][name]) for run in runs if name in run["metrics"]]
        for name in dict.fromkeys(name for run in runs for name in run["metrics"])
    }


def _spread(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.4g}" if len(values) < 2 else f"{mean:.4g} ± {statistics.stdev(values):.2g}"
