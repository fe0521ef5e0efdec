"""Source files and what they import, read without being executed: which code a notebook or a module can reach.

It needs nothing but the standard library. Names are resolved as a reader would: ``from ncode import MLP`` reaches the
module that defines ``MLP``, not everything that ``ncode/__init__.py`` offers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

PACKAGE = "ncode"
# The library does not import what stands on top of it.
ABOVE = "ncode.reproduction"


class Sources:
    """The package's source files.

    Args:
        root: the folder that holds ``ncode/``.
        elsewhere: the folders that hold other packages or modules which are read, too, by name.
    """

    def __init__(self, root: Path, elsewhere: Mapping[str, Path] | None = None):
        self.root = root
        self._roots = {**(elsewhere or {}), PACKAGE: root}
        self._tree = cache(lambda path: ast.parse(path.read_text(encoding="utf-8")))
        self._code = cache(self._text)
        self._portable = cache(lambda module: portable(self._bare(module)))

    def path(self, module: str) -> Path | None:
        """The file of ``module``; ``None`` where there is no such module of ours."""
        root = self._roots.get(module.split(".", 1)[0])
        if root is None:
            return None
        place = root.joinpath(*module.split("."))
        found = (place.with_name(f"{place.name}.py"), place / "__init__.py")
        return next((candidate for candidate in found if candidate.is_file()), None)

    def reachable(self, file: Path) -> set[str]:
        """The modules of ours that ``file`` reaches through imports, at any depth of its code and of theirs."""
        return self._reached(self._imported(self._tree(file), ""))

    def of_module(self, module: str, without: str = "") -> set[str]:
        """``module`` and the modules of ours that it reaches.

        Args:
            without: a package that is left out, with what only it reaches.
        """
        return self._reached([module], without)

    def _reached(self, start: Iterable[str], without: str = "") -> set[str]:
        seen: set[str] = set()
        stack = list(start)
        while stack:
            name = stack.pop()
            if name in seen or (without and f"{name}.".startswith(f"{without}.")):
                continue
            seen.add(name)
            if not self._is_package(name):
                stack += self._imported(self._tree(self.path(name)), name)
            # Importing a.b.c runs a and a.b, too: their own code counts, what they offer to others does not.
            parent = name.rpartition(".")[0]
            if parent:
                stack.append(parent)
        return seen

    def code(self, modules: Iterable[str]) -> list[str]:
        """What ``modules`` do, one text for each: their syntax trees without comments and docstrings."""
        return [f"{module} {self._code(module)}" for module in sorted(modules)]

    def portable_code(self, modules: Iterable[str]) -> list[str]:
        """:meth:`code` in a text that is the same under every version of Python, which ``ast.dump``'s is not."""
        return [f"{module} {self._portable(module)}" for module in sorted(modules)]

    def _text(self, module: str) -> str:
        return ast.dump(self._bare(module))

    def _bare(self, module: str) -> ast.Module:
        tree = ast.parse(self.path(module).read_text(encoding="utf-8"))
        return without_docstrings(without_offers(tree) if self._is_package(module) else tree)

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
                        found += self._used(tree, source, alias)
        return found

    def _used(self, tree: ast.AST, source: str, alias: ast.alias) -> list[str]:
        """The modules that ``tree`` uses of what ``from source import alias`` gives it.

        A package of which only attributes are used, as in ``annuli.build``, is those attributes' modules.
        """
        package = f"{source}.{alias.name}"
        if not (self.path(package) and self._is_package(package)):
            return self._holders(source, alias.name)
        name = alias.asname or alias.name
        named = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name]
        attributes = [
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
        ]
        if not attributes or len(attributes) < len(named):
            return self._whole(package)
        return [package, *(module for attr in set(attributes) for module in self._holders(package, attr))]

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
        root = self._roots[module.split(".", 1)[0]]
        names = [".".join(file.relative_to(root).with_suffix("").parts) for file in files]
        names = [name.removesuffix(".__init__") for name in names]
        return [name for name in names if module.startswith(ABOVE) or not name.startswith(ABOVE)]


def without_offers(tree: ast.Module) -> ast.Module:
    """A package's own code, without what it only offers to others: what they use of that is reached by name."""

    def offers(node: ast.stmt) -> bool:
        targets = node.targets if isinstance(node, ast.Assign) else []
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        return isinstance(node, ast.ImportFrom) or names == ["__all__"]

    return ast.Module([node for node in tree.body if not offers(node)], [])


def _defines(tree: ast.Module, name: str) -> bool:
    """Tell if ``name`` is assigned or defined at the top of ``tree``."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        if name in {getattr(target, "id", getattr(target, "name", "")) for target in targets}:
            return True
    return False


def without_docstrings(tree: ast.Module) -> ast.Module:
    """``tree`` itself, which loses its docstrings: comments, docstrings and layout do not change what code does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            text = first.value if isinstance(first, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def portable(node: object) -> str:
    """A syntax tree as text. Empty fields are left out: each version of Python adds some of its own."""
    if isinstance(node, ast.JoinedStr):
        # Python 3.12 ends some of them in an empty text.
        values = [value for value in node.values if getattr(value, "value", None) != ""]
        return f"JoinedStr({portable(values)})"
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        # The value of a constant stands even where it is None.
        fields = [("value", node.value)] if isinstance(node, ast.Constant) else fields
        return f"{type(node).__name__}({', '.join(f'{name}={portable(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(portable, node))}]"
    return ascii(node)
