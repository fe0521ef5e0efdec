"""Source files and what they import, read without being executed: which code a notebook or a module can reach.

It needs nothing but the standard library. Names are resolved as a reader would: ``from ncode import MLP`` reaches the
module that defines ``MLP``, not everything that ``ncode/__init__.py`` offers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = "ncode"
# The library does not import what stands on top of it.
ABOVE = "ncode.reproduction"


class Sources:
    """The package's source files below ``root``, the folder that holds ``ncode/``."""

    def __init__(self, root: Path):
        self.root = root
        self._tree = cache(lambda path: ast.parse(path.read_text(encoding="utf-8")))
        self._code = cache(lambda module: without_docstrings(self.path(module).read_text(encoding="utf-8")))

    def path(self, module: str) -> Path | None:
        """The file of ``module``; ``None`` where there is no such module of ours."""
        place = self.root.joinpath(*module.split("."))
        for candidate in (place.with_suffix(".py"), place / "__init__.py"):
            if module.split(".", 1)[0] == PACKAGE and candidate.is_file():
                return candidate
        return None

    def reachable(self, file: Path) -> set[str]:
        """The modules of ours that ``file`` reaches through imports, at any depth of its code and of theirs."""
        seen: set[str] = set()
        stack = list(self._imported(self._tree(file), ""))
        while stack:
            module = stack.pop()
            if module in seen:
                continue
            seen.add(module)
            if not self._is_package(module):
                stack += self._imported(self._tree(self.path(module)), module)
            # Importing a.b.c runs a and a.b, too: their own code counts, what they offer to others does not.
            parent = module.rpartition(".")[0]
            if parent:
                stack.append(parent)
        return seen

    def code(self, modules: Iterable[str]) -> list[str]:
        """What ``modules`` do, one text for each: their syntax trees without comments and docstrings."""
        return [f"{module} {self._code(module)}" for module in sorted(modules)]

    def _is_package(self, module: str) -> bool:
        return self.path(module).name == "__init__.py"

    def _imported(self, tree: ast.AST, module: str) -> list[str]:
        """The modules of ours that hold what ``tree``, the code of ``module``, imports."""
        found: list[str] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found += self._whole(alias.name) if self.path(alias.name) else []
            elif isinstance(node, ast.ImportFrom):
                source = self._absolute(node, module)
                if self.path(source):
                    for alias in node.names:
                        found += self._holders(source, alias.name)
        return found

    def _absolute(self, node: ast.ImportFrom, module: str) -> str:
        if not node.level:
            return node.module or ""
        path = self.path(module)
        up = node.level - (path is not None and path.name == "__init__.py")
        parts = module.split(".")[: len(module.split(".")) - up]
        return ".".join([*parts, node.module] if node.module else parts)

    def _holders(self, source: str, name: str) -> list[str]:
        """The modules that ``from source import name`` reaches."""
        if self.path(f"{source}.{name}"):
            return self._whole(f"{source}.{name}")
        if not self._is_package(source):
            return [source]
        for node in ast.walk(self._tree(self.path(source))):
            if isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name for alias in node.names}:
                original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
                return [source, *self._holders(self._absolute(node, source), original)]
        if _defines(self._tree(self.path(source)), name):
            return [source, *self._imported(self._tree(self.path(source)), source)]
        return self._whole(source)

    def _whole(self, module: str) -> list[str]:
        """``module``, or of a package all of it: nobody can tell which part of it will be used."""
        if not self._is_package(module):
            return [module]
        files = sorted(self.path(module).parent.rglob("*.py"))
        names = [".".join(file.relative_to(self.root).with_suffix("").parts) for file in files]
        names = [name.removesuffix(".__init__") for name in names]
        return [name for name in names if module.startswith(ABOVE) or not name.startswith(ABOVE)]


def _defines(tree: ast.Module, name: str) -> bool:
    """Tell if ``name`` is assigned or defined at the top of ``tree``."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        if name in {getattr(target, "id", getattr(target, "name", "")) for target in targets}:
            return True
    return False


def without_docstrings(source: str) -> str:
    """What ``source`` does, as text: comments, docstrings and layout do not show."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            text = first.value if isinstance(first, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
