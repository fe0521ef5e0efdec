"""An edit executes the notebooks that it can change and no others, and computes only those runs again that it can
change: ten kinds of edit, asked of Snakemake in a copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ncode.reproduction.publishing import inputs
from ncode.reproduction.runs.sources import Sources

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = {path.stem for path in ROOT.glob("notebooks/[0-9]*.py")}
EXPERIMENTS = "ncode/reproduction/experiments"


def reaching(*modules: str) -> set[str]:
    """The notebooks that reach one of ``modules``: by their own imports, as text."""
    sources = Sources(ROOT)
    return {
        path.stem
        for path in ROOT.glob("notebooks/[0-9]*.py")
        if sources.reachable(path) & {f"ncode.{module}" for module in modules}
    }


def in_code(path: str, line: str = "EDITED = 1") -> tuple[str, str, str]:
    """Another line of code at the end of ``path``."""
    return path, r"\Z", f"\n{line}\n"


# The edit: a file, a pattern whose first match is replaced, and by what; then the notebooks that it executes.
EDITS = {
    "a test": (in_code("tests/core/test_solve.py"), set()),
    "a page of the book": (("book/intro.md", r"\Z", "\nOne more line.\n"), set()),
    "a claim's text": (("ncode/reproduction/claims/claims.toml", r'(?m)^text = "', 'text = "Edited. '), set()),
    "a docstring": (("ncode/solvers/dispatch.py", r'"""', '"""Edited. '), set()),
    "a caption": (("notebooks/05_reflection.py", r"(?m)^# # Reflection", "# # Reflection, edited"), {"05_reflection"}),
    "a recording": (("results/orbits_mnist.json", r"\Z", "\n"), {"11_autoencoding"}),
    "a setting": (("ncode/reproduction/profiles.toml", r"(?m)^\[van_der_pol\.smoke\]\n", r"\g<0>edited = 1\n"), None),
    "a plan": (in_code(f"{EXPERIMENTS}/pattern_memorisation/plans.py"), None),
    "a plot style": (in_code("ncode/reproduction/plotting/style.py"), None),
    "a metric": (in_code("ncode/reproduction/metrics/frechet.py"), None),
    "a field": (in_code("ncode/fields/conv.py"), None),
    "the solver": (in_code("ncode/solvers/dispatch.py"), None),
}
REACHED = {
    "a setting": lambda: {"04_van_der_pol"},
    "a plan": lambda: reaching("reproduction.experiments.pattern_memorisation.plans"),
    "a plot style": lambda: reaching("reproduction.plotting.style"),
    "a metric": lambda: reaching("reproduction.metrics.frechet"),
    "a field": lambda: reaching("fields.conv"),
    "the solver": lambda: reaching("solvers.dispatch"),
}
PUBLISHED = {name for name in EDITS if name != "a test"}

IDENTITIES = """
import importlib, json, pkgutil
from ncode.reproduction import experiments
from ncode.reproduction.runs import provenance
found = {}
for package in pkgutil.iter_modules(experiments.__path__):
    if package.ispkg:
        names = [m.name for m in pkgutil.iter_modules([experiments.__path__[0] + "/" + package.name])]
        module = f"{experiments.__name__}.{package.name}." + ("train" if "train" in names else "experiment")
        if module.rsplit(".", 1)[1] in names:
            found[package.name] = provenance.code_fingerprint(module)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A copy of the repository whose smoke book Snakemake takes for finished."""
    root = tmp_path_factory.mktemp("edits")
    for name in ("ncode", "notebooks", "results", "book", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    for name in ("Snakefile", "_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    executed = root / "_build" / "smoke" / "executed"
    executed.mkdir(parents=True)
    for name in NOTEBOOKS:
        (executed / f"{name}.ipynb").touch()
    (root / "_build" / "smoke" / "html").mkdir()
    (root / "_build" / "smoke" / "html" / "index.html").touch()
    (root / "_build" / "smoke" / "published").touch()
    snakemake(root, "--forceall", "--touch")
    return root


def snakemake(root: Path, *arguments: str) -> str:
    command = [Path(sys.executable).with_name("snakemake"), "--config", "profile=smoke", "--nolock", "--cores", "1"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([*command, *arguments], cwd=root, capture_output=True, text=True, check=True, env=environment)
    return done.stdout + done.stderr


def identities(root: Path) -> dict[str, str]:
    """By experiment, the fingerprint of the code that is a part of its runs' identity."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", IDENTITIES], cwd=root, capture_output=True, text=True, check=True, env=environment
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def before(repository) -> dict[str, str]:
    assert "Nothing to be done" in snakemake(repository, "--dry-run")
    return identities(repository)


@pytest.fixture
def edited(repository, request) -> Iterator[str]:
    (path, pattern, new), _ = EDITS[request.param]
    file = repository / path
    text = file.read_text(encoding="utf-8")
    changed, number = re.subn(pattern, new, text, count=1)
    assert number == 1
    file.write_text(changed, encoding="utf-8")
    yield request.param
    file.write_text(text, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("edited", EDITS, indirect=True)
def test_an_edit_does_again_what_it_can_change(before, repository, edited, record_property):
    told = snakemake(repository, "--dry-run")
    executes = set(re.findall(r"(?m)^ +output: _build/smoke/executed/(\S+)\.ipynb", told))
    after = identities(repository)
    again = {name for name in before if after[name] != before[name]}
    print(f"\n| {edited} | {said(executes, NOTEBOOKS)} | {said(again, set(before))} |")
    expected = EDITS[edited][1]
    assert executes == (REACHED[edited]() if expected is None else expected)
    assert ("output: _build/smoke/published" in told) == (edited in PUBLISHED)
    if edited in {"a field", "the solver", "a metric"}:
        assert again or edited == "a metric"
    else:
        assert again == set(), "nothing of it trains"


def said(found: set[str], every: set[str]) -> str:
    """``found`` in a table's cell."""
    short = sorted(name.split("_")[0] if name[0].isdigit() else name for name in found)
    return "all" if found == every else ", ".join(short) or "none"


class TestSources:
    """Names lead to the module that defines them, not to everything that a package offers."""

    @pytest.fixture
    def sources(self, tmp_path) -> Sources:
        files = {
            "ncode/__init__.py": "from ncode.a import A\nfrom ncode.b import B\nHERE = 1\n",
            "ncode/a.py": '"""Text."""\nfrom ncode import c\n\nclass A:\n    """Of it."""\n',
            "ncode/b.py": "def B():\n    from .sub import deep\n",
            "ncode/c.py": "import json\n",
            "ncode/sub/__init__.py": "from ncode.sub.other import thing\n",
            "ncode/sub/deep.py": "",
            "ncode/sub/other.py": "thing = 1\n",
            "ncode/reproduction/__init__.py": "",
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return Sources(tmp_path)

    def reached(self, sources: Sources, code: str) -> set[str]:
        file = sources.root / "notebook.py"
        file.write_text(code)
        return {name.removeprefix("ncode.") for name in Sources(sources.root).reachable(file)} - {"ncode"}

    def test_a_name_of_the_package_leads_to_its_module_and_on(self, sources):
        assert self.reached(sources, "from ncode import A") == {"a", "c"}

    def test_imports_inside_functions_and_relative_ones_count(self, sources):
        assert self.reached(sources, "from ncode import B") == {"b", "sub", "sub.deep"}

    def test_what_nobody_can_tell_is_all_of_the_library_and_not_what_stands_on_it(self, sources):
        assert self.reached(sources, "import ncode") == {"a", "b", "c", "sub", "sub.deep", "sub.other"}

    def test_other_packages_are_not_ours(self, sources):
        assert self.reached(sources, "import json, numpy") == set()

    def test_a_docstring_is_no_code(self, sources):
        (before,) = sources.code({"ncode.a"})
        file = sources.root / "ncode" / "a.py"
        file.write_text(file.read_text().replace("Of it.", "Of it, explained better.") + "# A comment\n")
        assert Sources(sources.root).code({"ncode.a"}) == [before]
        file.write_text(file.read_text() + "x = 1\n")
        assert Sources(sources.root).code({"ncode.a"}) != [before]


def test_every_recording_and_every_section_has_an_owner_or_is_everybodys():
    """A recording that no experiment's name begins would execute everything; there is none."""
    sources = Sources(ROOT)
    reached = [sources.reachable(path) for path in ROOT.glob("notebooks/[0-9]*.py")]
    assert any(inputs.recordings(ROOT, modules) for modules in reached)
    assert inputs.recordings(ROOT, ()) == []
