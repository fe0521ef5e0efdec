"""What ``ncode doctor`` finds: packages, devices, folders and data."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch

import ncode
from ncode.reproduction.data import downloads
from ncode.reproduction.extras import DISTRIBUTION, command
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import root
from ncode.reproduction.words import counted

EXTRAS = {"book": ("jupyter_book", "papermill", "snakemake"), "features": ("efficientnet_lite_pytorch",)}
EXTRAS["fid"] = ("torch_fidelity",)
DATA = {"MNIST": "mnist", "CIFAR-10": "cifar-10", "SVHN": "svhn", "CelebA": "celeba"}


@dataclass(frozen=True)
class Fact:
    """One line of the doctor's.

    Attributes:
        name, value: what it is about, and what was found.
        fine: ``False`` where something is missing.
        needed: ``True`` where nothing works without it.
    """

    name: str
    value: str
    fine: bool = True
    needed: bool = False


def facts() -> list[Fact]:
    """Everything that a report of a problem needs."""
    return [*_packages(), *_devices(), *_folders(), *_data()]


def _packages() -> Iterator[Fact]:
    yield Fact("ncode", f"{ncode.__version__}, from {Path(ncode.__file__).parent}", needed=True)
    yield Fact("python", f"{platform.python_version()} on {platform.platform()}", needed=True)
    for name in ("torch", "torchdiffeq", "numpy", "scipy", "scikit-learn", "matplotlib"):
        yield Fact(name, metadata.version(name), needed=True)
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        yield Fact(f"extra {extra}", f"missing: {command(extra)}" if missing else "installed", not missing)
    if not list(metadata.distributions(name=DISTRIBUTION)):
        yield Fact(DISTRIBUTION, "is not installed; ncode comes from a folder on the path", fine=False)


def _devices() -> Iterator[Fact]:
    yield Fact("processor", f"{os.cpu_count()} cores, torch uses {counted(torch.get_num_threads(), 'thread')}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            yield Fact(f"GPU {index}", f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB")
    else:
        yield Fact("GPU", "none that torch can use: everything runs on the processor")


def _folders() -> Iterator[Fact]:
    runs, data = root(), downloads.folder()
    kept = sum(1 for _ in runs.glob("*/*/record.json"))
    yield _folder("runs", runs, "NCODE_RUNS", f"{kept} finished")
    yield _folder("data", data, "NCODE_DATA", "")
    number = sum(1 for _ in recordings.folder().glob("*.json"))
    yield Fact("recordings", f"{number} in {recordings.folder()}", number > 0, needed=True)


def _folder(name: str, path: Path, variable: str, holds: str) -> Fact:
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    fine = there.is_dir() and os.access(there, os.W_OK)
    free = f"{shutil.disk_usage(there).free / 2**30:.1f} GiB free"
    said = ", ".join(part for part in (holds, free, f"set by {variable}" if variable in os.environ else "") if part)
    return Fact(name, f"{path} ({said})" if fine else f"{path}: cannot be written; set {variable}", fine, needed=True)


def _data() -> Iterator[Fact]:
    for title, folder in DATA.items():
        found = sorted(path.name for path in downloads.folder().glob(f"{folder}*") if path.exists())
        yield Fact(title, ", ".join(found) if found else "not here: downloaded when it is needed, or from recordings")
