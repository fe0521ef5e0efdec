"""Where a number comes from: commit, versions, device, threads, and a fingerprint of the code that made it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from ncode.reproduction.extras import DISTRIBUTION
from ncode.reproduction.runs.sources import PACKAGE, Sources

THEN = ", then "
"""Between the devices of a run that went on elsewhere."""

# The packages whose version can change a number.
PACKAGES = ("torch", "torchdiffeq", "numpy", "scikit-learn")


def here() -> dict:
    """Commit, versions, device, its type and threads of this process."""
    return {
        "commit": commit(),
        "versions": {"python": platform.python_version(), **versions()},
        "device": device_name(),
        "device_type": "cuda" if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }


def versions() -> dict[str, str]:
    """The versions of the packages that can change a number."""
    return {name: metadata.version(name) for name in PACKAGES}


@cache
def commit() -> str:
    """The commit of the checkout that this package lies in, ``-dirty`` where ``ncode/`` has uncommitted changes.

    Installed by pip from a repository, it is the commit that pip recorded; otherwise the package's version.
    """
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        # A site-packages folder may lie inside some other repository: only a tracked file of ours counts.
        git("ls-files", "--error-unmatch", str(Path(__file__).resolve()))
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if git("status", "--porcelain", ".") else "")
    except (subprocess.CalledProcessError, OSError):
        pass
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return origin.get("vcs_info", {}).get("commit_id", "")[:12] or f"version {distribution.version}"


@cache
def device_name() -> str:
    """The accelerator's name where there is one, otherwise the processor's."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {torch.get_num_threads()} of {os.cpu_count()} cores"
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def code_fingerprint(module: str) -> str:
    """A hash of the code that ``module`` can reach inside its own package and this one. A process reads it once.

    It covers the module and what it imports from them, directly or not, but for :data:`KEEPERS`. Comments and
    docstrings do not count: a better explanation does not make a run stale, a changed line of code does.
    """
    top = module.split(".", 1)[0]
    return fingerprint_of(_sources(top), module)


def fingerprint_of(sources: Sources, module: str) -> str:
    """:func:`code_fingerprint` of the code that ``sources`` reads."""
    return _hash(sources.code(sources.of_module(module, without=KEEPERS)))


def _hash(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


@cache
def portable_fingerprint(module: str) -> str:
    """:func:`code_fingerprint` as every version of Python computes it: for runs that travel to another one."""
    sources = _sources(module.split(".", 1)[0])
    return _hash(sources.portable_code(sources.of_module(module, without=KEEPERS)))


KEEPERS = "ncode.reproduction.runs"
"""What finds, keeps and checks runs: it changes none of their numbers."""


@cache
def _sources(package: str) -> Sources:
    here = Path(__file__).resolve().parents[3]
    if package == PACKAGE:
        return Sources(here)
    spec = importlib.util.find_spec(package)
    file = Path(spec.origin)
    return Sources(here, {package: file.parents[1] if file.name == "__init__.py" else file.parent})
