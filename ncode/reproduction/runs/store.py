"""A run's folder: its record and its weights, written once and compared with their checksums whenever they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from ncode.reproduction.runs.files import (
    DamagedFile,
    digest,
    digest_of,
    load_tensors,
    read_json,
    save_tensors,
    write_atomically,
)
from ncode.reproduction.runs.output import RunOutput

RECORD, WEIGHTS = "record.json", "weights.safetensors"

REMEDY = "Delete the run's folder, and it is computed again."


def write(folder: Path, id_: str, experiment: str, config: Mapping, output: RunOutput, provenance: Mapping) -> None:
    """Keep a run: the weights first, and the record last."""
    tensors = {f"array.{name}": value for name, value in output.arrays.items()}
    if output.model is not None:
        tensors |= {f"model.{name}": value for name, value in output.model.state_dict().items()}
    if tensors:
        save_tensors(folder / WEIGHTS, tensors)
    content = {
        "id": id_,
        "experiment": experiment,
        "config": config,
        "metrics": {name: float(value) for name, value in output.metrics.items()},
        "history": asdict(output.history),
        "provenance": provenance,
        "weights": digest(folder / WEIGHTS) if tensors else "",
    }
    sealed = {**content, "sha256": digest_of(content)}
    write_atomically(folder / RECORD, lambda path: path.write_text(json.dumps(sealed), encoding="utf-8"))


def read(folder: Path) -> dict[str, Any]:
    """The content of a run's record.

    Raises:
        FileNotFoundError: when there is no finished run.
        DamagedFile: when the record is not what was written there.
    """
    path = folder / RECORD
    content = read_json(path, REMEDY)
    found = content.pop("sha256", None) if isinstance(content, dict) else None
    if found is None:
        raise DamagedFile(f"{path}: has no checksum: no version from this one on wrote it. {REMEDY}")
    if found != digest_of(content):
        raise DamagedFile(f"{path}: its content is not what was written: its checksum differs. {REMEDY}")
    if content["id"] != folder.name:
        raise DamagedFile(f"{path}: is the record of {content['id']}, and lies in the folder of another run. {REMEDY}")
    return content


def tensors(folder: Path, checksum: str) -> dict[str, Tensor]:
    """The weights and arrays of a run.

    Args:
        checksum: of the file, as the record has it; empty where the run kept none.

    Raises:
        DamagedFile: when the file is not the one that was kept.
    """
    path = folder / WEIGHTS
    if not checksum:
        return {}
    if not path.exists():
        raise DamagedFile(f"{path}: is missing. {REMEDY}")
    if digest(path) != checksum:
        raise DamagedFile(f"{path}: is not what was kept with the record: its checksum differs. {REMEDY}")
    return load_tensors(path, REMEDY)[0]
