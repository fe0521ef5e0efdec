"""Where a number comes from: commit, versions, device, threads, and a fingerprint of the code that made it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from ncode.reproduction.extras import DISTRIBUTION

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


def on_gpu(facts: Mapping) -> bool:
    """Whether the run of that provenance was made on a GPU."""
    # Older recordings do not say; the device's name tells of the machines that they were made on.
    return facts.get("device_type", "cpu" if "cores" in facts["device"] else "cuda") == "cuda"


def code_fingerprint(module: str) -> str:
    """A hash of the code that ``module`` can reach inside its own package and this one.

    It covers the module and what it imports from them, directly or not. Comments and docstrings do not count:
    a better explanation does not make a run stale, a changed line of code does.
    """
    digest = hashlib.sha256()
    for name in sorted(_reachable(module)):
        digest.update(name.encode() + b"\0" + _code(name).encode() + b"\0")
    return digest.hexdigest()[:16]


def _reachable(module: str) -> set[str]:
    seen: set[str] = set()
    stack = [module]
    while stack:
        name = stack.pop()
        if name in seen or _source(name) is None:
            continue
        seen.add(name)
        stack.extend(_imports(name))
        # Importing a.b.c runs a.b, too; what a itself does counts for those outside it (see _imports).
        parent = name.rpartition(".")[0]
        if "." in parent:
            stack.append(parent)
    return seen


@cache
def _source(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module).read_text(encoding="utf-8"))


def _imports(module: str) -> list[str]:
    """The modules of this module's own package, and of this one, that it imports, at any depth of its code."""
    package = module.split(".", 1)[0]
    found: list[str] = []
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = importlib.util.find_spec(module).parent
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), parent)
            # `from ncode import runs` names a module, `from ncode.reproduction.runs.store import run` one of its
            # functions.
            found += [source, *(f"{source}.{alias.name}" for alias in node.names)]
    # Inside a package its __init__ does not count: it imports everything, and runs nothing of it. From outside,
    # `from ncode import NCODE` may mean any of it.
    mine = {package, __name__.split(".", 1)[0]}
    return [name for name in found if name.split(".", 1)[0] in mine and name != package]


def _code(module: str) -> str:
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
