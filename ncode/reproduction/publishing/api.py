"""The API reference: an index, and a page for every module, in groups that follow the layout.

The pages are written when the book is staged; ``book/_toc.yml`` names their folder.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path

# The library first, then what the papers need. Experiments are the notebooks'.
ROOTS = ("ncode", "ncode.reproduction")
LEFT_OUT = ("ncode.reproduction", "ncode.reproduction.experiments", "ncode.reproduction.recorded")
FOLDER = "api"


def modules(package: str) -> list[str]:
    """The modules below ``package``, at any depth, that hold code; modules before packages."""
    found = sorted(pkgutil.iter_modules(importlib.import_module(package).__path__), key=lambda info: info.ispkg)
    names: list[str] = []
    for info in found:
        name = f"{package}.{info.name}"
        if name in LEFT_OUT or info.name == "__main__":
            continue
        names += modules(name) if info.ispkg else [name]
    return names


def groups() -> dict[str, list[str]]:
    """Every package with the modules that lie directly in it, in the order of the reference."""
    found: dict[str, list[str]] = {}
    for root in ROOTS:
        for name in modules(root):
            found.setdefault(name.rpartition(".")[0], []).append(name)
    return found


def index(executed) -> str:
    """Every package, and a line for each of its modules with the link to its page."""
    parts = []
    for package, names in groups().items():
        lines = "\n".join(f"- {{doc}}`{name} <{FOLDER}/{name}>`: {first_line(name)}" for name in names)
        # A target for docstrings that name the package.
        target = f"```{{eval-rst}}\n.. py:module:: {package}\n```\n"
        parts.append(f"## `{package}`\n\n{target}\n{lines}\n")
    return "\n".join(parts)


def first_line(module: str) -> str:
    """The first sentence of a module's docstring, as it is written in its file."""
    tree = ast.parse(Path(find_spec(module).origin).read_text(encoding="utf-8"))
    said = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
    # reStructuredText's code is Markdown's with one backtick less; the index needs no links into the reference.
    return re.sub(r":\w+:`~?", "`", said.replace("``", "`"))


def write(folder: Path) -> None:
    """Write a page for every module into the new ``folder``."""
    folder.mkdir()
    for names in groups().values():
        for name in names:
            text = f"# `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n"
            (folder / f"{name}.md").write_text(text, encoding="utf-8")
