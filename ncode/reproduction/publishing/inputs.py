"""What an executed notebook depends on, besides its own text: code, data files, recordings, settings, claims.

The Snakefile asks for it. Each kind is one fingerprint, so that Snakemake can say which of them has changed.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path

from ncode.reproduction.runs.sources import Sources

EXPERIMENTS = "ncode.reproduction.experiments."
EXECUTION = Path("ncode/reproduction/publishing/execute.py")
SETTINGS = Path("ncode/reproduction/profiles.toml")
CLAIMS = Path("ncode/reproduction/claims/claims.toml")
# Read by section, or by claim, below.
_PARTED = {SETTINGS, CLAIMS}
# What only the book's pages show of a claim.
_WORDING = {"text", "where"}


def fingerprints(sources: Sources, notebook: str, profile: str) -> dict[str, str]:
    """By kind, a fingerprint of everything that the executed ``notebook`` depends on.

    Args:
        sources: of the repository.
        notebook: its name without suffix, such as ``"05_reflection"``.
        profile: the profile in which it is executed.
    """
    root = sources.root
    modules = sources.reachable(root / "notebooks" / f"{notebook}.py")
    # Plans are looked up by name: a run does not depend on them, a page does.
    plans = {f"{EXPERIMENTS}{name}.plans" for name in experiments(modules)}
    modules |= {name for name in plans if sources.path(name)}
    execution = (root / EXECUTION).read_text(encoding="utf-8")
    return {
        "code": _digest(sources.code(modules)),
        "data": _digest(_contents(root, data_files(sources, modules))),
        "recordings": _digest(_contents(root, recordings(root, modules))),
        "settings": _digest([json.dumps(settings(root, notebook, modules, profile), sort_keys=True)]),
        "claims": _digest([json.dumps(claims(root, notebook), sort_keys=True)]),
        "execution": _digest([execution]),
    }


def data_files(sources: Sources, modules: Iterable[str]) -> list[Path]:
    """What lies beside ``modules`` and is no code. A file named after a module is that module's alone."""
    modules = set(modules)
    found: set[Path] = set()
    for module in modules:
        package = sources.path(module).parent
        for file in package.iterdir():
            if not file.is_file() or file.suffix in {".py", ".pyc"} or file.relative_to(sources.root) in _PARTED:
                continue
            owner = file.with_suffix(".py")
            name = ".".join(owner.relative_to(sources.root).with_suffix("").parts)
            if not owner.exists() or name in modules:
                found.add(file)
    return sorted(found)


def experiments(modules: Iterable[str]) -> set[str]:
    """The experiments that ``modules`` belong to."""
    return {module.removeprefix(EXPERIMENTS).split(".")[0] for module in modules if module.startswith(EXPERIMENTS)}


def _is_of(name: str, known: set[str], wanted: set[str]) -> bool:
    """Tell if ``name`` is of one of ``wanted``: it begins with its owner's name; what nobody owns is everybody's."""
    owners = [one for one in known if name == one or name.startswith((f"{one}_", f"{one}."))]
    return not owners or max(owners, key=len) in wanted


def _all_experiments(root: Path) -> set[str]:
    return {path.name for path in root.joinpath(*EXPERIMENTS.split(".")).iterdir() if (path / "__init__.py").exists()}


def recordings(root: Path, modules: Iterable[str]) -> list[Path]:
    """The files in ``results/`` whose experiment is one of those that ``modules`` belong to."""
    files = sorted(path for path in (root / "results").glob("*.*") if path.suffix in {".json", ".png"})
    return [path for path in files if _is_of(path.stem, _all_experiments(root), experiments(modules))]


def settings(root: Path, notebook: str, modules: Iterable[str], profile: str) -> dict:
    """The sections of ``profiles.toml`` for ``notebook`` and the experiments of ``modules``, in ``profile``.

    What is planned to be recorded of an experiment counts where its plans are among ``modules``.
    """
    sections = tomllib.loads((root / SETTINGS).read_text(encoding="utf-8"))
    names = {path.stem.split("_", 1)[1] for path in root.glob("notebooks/[0-9]*.py")}
    wanted = {notebook.split("_", 1)[1], *experiments(modules)}
    planned = sections.pop("recorded", {})
    found = {
        name: {key: value for key, value in section.items() if key not in {"smoke", "cpu", "paper"} - {profile}}
        for name, section in sections.items()
        if _is_of(name, _all_experiments(root) | names, wanted)
    }
    plans = {name for name in planned if f"{EXPERIMENTS}{name}.plans" in set(modules)}
    return {**found, "recorded": {name: planned[name] for name in sorted(plans)}}


def claims(root: Path, notebook: str) -> dict:
    """What ``claims.toml`` asks of ``notebook``'s claims; how they are worded is for the book's pages alone."""
    entries = tomllib.loads((root / CLAIMS).read_text(encoding="utf-8"))
    return {
        name: {key: value for key, value in entry.items() if key not in _WORDING} if isinstance(entry, dict) else entry
        for name, entry in entries.items()
        if not isinstance(entry, dict) or entry.get("home", notebook) == notebook
    }


def _contents(root: Path, files: Iterable[Path]) -> list[str]:
    return [f"{file.relative_to(root)} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
