"""What a newcomer relies on: one list of dependencies, one address, notebooks in step."""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml

import ncode
from ncode.reproduction import extras
from ncode.reproduction.claims import claims
from ncode.reproduction.publishing import constraints, performance, readme, sync

# What a digit in a caption may be: a reference, a formula, a time or a share that defines what is drawn, a confidence.
NO_RESULT = re.compile(
    r"\$[^$]*\$|`[^`]*`|(Figs?\.|Table|Eqs?\.|Section) [A-C]?\.?\d+(\.\d+)?((,| and| to) [A-C]?\.?\d+)*|"
    r"[a-zA-Zθ]\(0\)|\b[tTpλ] = -?\d+|"
    r"π/\d|95 %|\d×\d|10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+|rk4|dopri\d|CIFAR-10|p\d"
)


def calls(source: str, method: str) -> list[ast.Call]:
    """The calls ``page.method(...)`` in a cell's source."""
    return [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and getattr(node.func.value, "id", "") == "page"
    ]


def written(node: ast.expr) -> str:
    """The text that stands typed in a string or an f-string."""
    return "".join(
        part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(ROOT.glob("notebooks/[0-9]*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


# Extras that no environment of ours installs by name: `test` lists what of them it needs.
BY_CHOICE = ("features", "fid", "bench", "cluster")


def names(requirements) -> set[str]:
    asked = {re.split(r"[\[<>=!~ ;]", entry)[0].lower().replace("_", "-") for entry in requirements}
    return asked - {extras.DISTRIBUTION}


def test_the_library_itself_needs_three_packages():
    assert names(PYPROJECT["project"]["dependencies"]) == {"torch", "torchdiffeq", "jaxtyping"}


def test_what_is_asked_for_by_module_comes_with_the_extra():
    brings = names(PYPROJECT["project"]["optional-dependencies"]["reproduction"])
    called = {"PIL": "pillow", "sklearn": "scikit-learn"}
    assert {called.get(module, module) for module in extras.REPRODUCTION} <= brings


def test_a_missing_package_names_its_extra():
    with pytest.raises(ImportError, match=r'nowhere_to_be_found: not installed; pip install "ncode-ode\[book\] @ git'):
        extras.need("book", "json", "nowhere_to_be_found")


def test_the_distributions_name_is_one():
    assert PYPROJECT["project"]["name"] == extras.DISTRIBUTION


def test_nobody_is_told_to_install_the_strangers_package():
    """`ncode` on the public index is an unrelated package; whatever installs ours from there doesn't find it either."""
    wrong = re.compile(
        r"""(?:pip|uv|pipx)3? install[^\n`]*?["' ]ncode(?:[\["' ]|$)|["'`]ncode\[(?!\d)|ncode-ode(\[\w+\])?["'`]$"""
    )
    texts = {".py", ".md", ".yml", ".toml", ".cff", ".ipynb", ".txt", ""}
    files = [
        path for path in tracked() if path.suffix in texts and path != Path(__file__) and "mathjax" not in path.parts
    ]
    found = [
        (path.name, line)
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if wrong.search(line) and "install" in line
    ]
    assert found == []


def test_every_package_is_listed_for_the_wheel():
    """Only a package that is listed travels with the wheel, which is all that Colab has."""
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "ncode").rglob("__init__.py")}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found | {"ncode.reproduction.recorded"}


def test_conda_installs_the_package_and_lists_nothing_twice():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    by_pip = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    by_conda = [entry for entry in environment if isinstance(entry, str)]
    assert by_pip == ["--constraint constraints.txt", "--editable .[book,test]"]
    assert {"reproduction", "book", "test", *BY_CHOICE} == set(PYPROJECT["project"]["optional-dependencies"])
    listed = names(PYPROJECT["project"]["dependencies"]).union(
        *map(names, PYPROJECT["project"]["optional-dependencies"].values())
    )
    assert names(by_conda) & listed == set()
    python = next(entry for entry in by_conda if entry.startswith("python="))
    assert python.removeprefix("python=") == PYPROJECT["project"]["requires-python"].removeprefix(">=")


def test_everything_that_we_ask_for_is_pinned():
    pinned = names(line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
    extras = PYPROJECT["project"]["optional-dependencies"]
    asked = names(PYPROJECT["project"]["dependencies"]).union(
        *(names(extras[name]) for name in ("reproduction", "book", "cluster", "features", "test"))
    )
    assert asked - pinned == set()


def test_pins_drop_local_builds_and_ourselves():
    frozen = "torch==2.13.0+cpu\n-e /somewhere/ncode\nncode==0.1.0\nnvidia-nccl-cu13==2.0\nnumpy==2.4.6\n"
    assert constraints.pins(frozen) == ["torch==2.13.0", "numpy==2.4.6"]


def test_derived_files_are_in_step():
    assert sync.out_of_step() == [], "run `make sync`"


def test_a_new_address_reaches_every_place(tmp_path):
    for name in ("pyproject.toml", "README.md", "CITATION.cff", "ncode/reproduction/extras.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    old, new = sync.declared_url(), "https://github.com/somebody-else/renamed"
    settings = tmp_path / "pyproject.toml"
    settings.write_text(settings.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    texts = sync.derived(tmp_path)
    assert {path.name for path in texts} >= {"README.md", "CITATION.cff", "extras.py"}
    owner = old.removeprefix("https://github.com/")
    assert [path.name for path, text in texts.items() if owner in text] == []


ADDRESSES = {
    "https://github.com/somebody/fork.git": "https://github.com/somebody/fork",
    "git@github.com:somebody/fork.git": "https://github.com/somebody/fork",
    "ssh://git@gitlab.example.org:22/somebody/fork": "https://gitlab.example.org/somebody/fork",
    "https://name:secret@github.com/somebody/fork": "https://github.com/somebody/fork",
    "/srv/git/ncode": None,
    "../ncode": None,
    "": None,
}


@pytest.mark.parametrize("remote", ADDRESSES)
def test_a_remote_is_where_a_browser_finds_it(remote):
    assert sync.web_address(remote) == ADDRESSES[remote]


def test_a_forks_book_opens_the_fork(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert sync.repository_url(tmp_path, {}) == sync.declared_url(), "neither workflow nor remote"
    for command in (["init", "-q"], ["remote", "add", "origin", "git@github.com:somebody/fork.git"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    assert sync.repository_url(tmp_path, {}) == "https://github.com/somebody/fork"
    workflow = {"GITHUB_REPOSITORY": "another/fork", "GITHUB_SERVER_URL": "https://github.com"}
    assert sync.repository_url(tmp_path, workflow) == "https://github.com/another/fork"
    sync.take_own_address(tmp_path)
    assert sync.declared_url(tmp_path) == sync.repository_url(tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    written = sync.derived(tmp_path)[tmp_path / "README.md"]
    assert "[The book](https://somebody.github.io/fork)" in written


def test_the_address_is_the_same_everywhere():
    ours = sync.declared_url().removeprefix("https://github.com/")
    found = set()
    for path in tracked():
        if path.suffix in {".py", ".md", ".yml", ".toml", ".cff", ".ipynb"} and path.parent.name != "tests":
            found |= set(re.findall(r"github(?:\.com)?/([\w.-]+/ncode)\b", path.read_text(encoding="utf-8")))
    assert found == {ours}


def test_the_citation_names_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == ncode.__version__


def test_continuous_integration_runs_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in ("make book", "make test"):
        assert command in readme
        assert command in script


def test_nothing_comes_from_a_content_network():
    hosts = re.compile(r"unpkg\.com|jsdelivr|cdnjs|googleapis|gstatic")
    files = [path for path in tracked() if path.is_relative_to(ROOT / "book") and "mathjax" not in path.parts]
    files = [path for path in files if path.suffix in {".md", ".css", ".js", ".yml", ".html"}]
    assert files
    assert [
        path.name for path in [*files, ROOT / "_config.yml"] if hosts.search(path.read_text(encoding="utf-8"))
    ] == []


def described(sections: str) -> list[tuple[str, ast.FunctionDef | ast.ClassDef, str]]:
    """Where, of what, and the first line of everything that docstrings list under ``sections``."""
    found = []
    for path in sorted((ROOT / "ncode").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for body in re.findall(rf"^(?:{sections}):\n((?: .*\n|\n)+)", f"{ast.get_docstring(node)}\n", re.M):
                    found += [
                        (f"{path.name}: {node.name}", node, line) for line in re.findall(r"^ {4}(\S.*)", body, re.M)
                    ]
    return found


def parameters(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    """Of a function, or of a class by its fields or its ``__init__``; none where it has its base's."""
    if isinstance(node, ast.ClassDef):
        fields = {line.target.id for line in node.body if isinstance(line, ast.AnnAssign)}
        return fields.union(*(parameters(line) for line in node.body if getattr(line, "name", "") == "__init__"))
    return {part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)}


def test_described_arguments_have_their_names():
    """What else stands before the colon becomes a heading on the API page."""
    entries = [(where, parameters(node), line.split(":")[0].split(", ")) for where, node, line in described("Args")]
    assert len(entries) > 200
    assert [(where, names) for where, real, names in entries if real and not real.issuperset(names)] == []


def test_no_description_is_a_lists_marker():
    """Sphinx reads "T." as the first point of an empty list."""
    entries = described("Args|Attributes|Returns|Raises")
    assert [(where, line) for where, _, line in entries if re.search(r"(^|: )\w[.)]( |$)", line)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_has_an_ipynb_without_outputs(self, path):
        notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
        nbformat.validate(notebook)
        assert [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []

    def test_begins_with_the_cell_that_installs_on_colab(self, path):
        first = next(cell for cell in jupytext.read(path).cells if cell.cell_type == "code")
        assert first.metadata["tags"] == ["remove-cell"]
        expected = sync.FIRST_CELL.format(distribution=extras.DISTRIBUTION, url=sync.declared_url())
        assert first.source == expected.strip()

    def test_runs_the_cpu_profile_unless_told(self, path):
        tagged = [cell for cell in jupytext.read(path).cells if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1
        assert re.search(r'^profile = "cpu"', tagged[0].source, re.M)

    def test_every_figure_is_a_call_of_the_page(self, path):
        """A caption in a cell's metadata cannot take a number from a run, and nobody reads it with the code."""
        cells = jupytext.read(path).cells
        assert [cell.source for cell in cells if "mystnb" in cell.metadata] == []
        figures = [call for cell in cells if cell.cell_type == "code" for call in calls(cell.source, "figure")]
        for call in figures:
            given = {keyword.arg for keyword in call.keywords}
            # A function of the experiment gives all of them, as **.
            assert None in given or {"name", "caption", "alt"} <= given

    def test_captions_take_their_numbers_from_the_data(self, path):
        """No digit is typed into a caption, except in a reference, in a formula or where it defines what is drawn."""
        typed = []
        for cell in jupytext.read(path).cells:
            if cell.cell_type != "code":
                continue
            captions = [
                keyword.value
                for kind in ("figure", "live", "table")
                for call in calls(cell.source, kind)
                for keyword in call.keywords
                if keyword.arg == "caption"
            ]
            captions += [call.args[1] for call in calls(cell.source, "table") if len(call.args) > 1]
            typed += [text for caption in captions if re.search(r"\d", text := NO_RESULT.sub("", written(caption)))]
        assert typed == []

    def test_cells_are_short(self, path):
        code = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
        shown = [source for source in code if not re.search(r"^(import|from) |^page\.", source, re.M)]
        assert [source for source in shown if len(source.splitlines()) > 15] == []

    def test_names_no_folder_of_the_repository(self, path):
        """On Colab there is only the installed package."""
        code = "\n".join(cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code")
        assert re.findall(r"sys\.path|\.\./|os\.chdir", code) == []


def captions(source: str) -> list[str]:
    """What is typed in the captions of the figures and tables that a module makes."""
    made = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Dict)]
    named = [
        {getattr(key, "value", None): value for key, value in zip(one.keys, one.values, strict=True)} for one in made
    ]
    return [written(one["caption"]) for one in named if {"name", "caption"} <= one.keys()]


def test_captions_of_experiments_take_their_numbers_from_the_data():
    """As captions in notebooks do (see ``test_captions_take_their_numbers_from_the_data``)."""
    files = sorted((ROOT / "ncode" / "reproduction" / "experiments").rglob("*.py"))
    found = {path: captions(path.read_text(encoding="utf-8")) for path in files}
    assert sum(map(len, found.values())) > 10
    assert [text for of in found.values() for text in of if re.search(r"\d", NO_RESULT.sub("", text))] == []


def test_the_readmes_code_runs():
    """Every Python block, in order, as a reader would paste them."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(block, names)


class TestReadme:
    def test_every_claim_stands_once_in_the_table_of_verdicts(self):
        table = readme.verdicts()
        for claim in claims.load().values():
            assert len(re.findall(rf"\b{claim.id}†? {re.escape(claim.short)}", table)) == 1, claim.id

    def test_other_data_have_a_column_and_amended_claims_a_mark(self, tmp_path):
        kept = [{"verdicts": {"N19": "holds", "N24": "holds", "N1": "holds"}, "profile": "cpu"}]
        kept[0] |= {"settings": {"N19": "toy", "N24": "reduced", "N1": "paper"}, "provenance": {"commit": "abc"}}
        (tmp_path / readme.KEPT).mkdir(parents=True)
        (tmp_path / readme.KEPT / "verdicts.json").write_text(json.dumps(kept), encoding="utf-8")
        (row,) = [line for line in readme.verdicts(tmp_path).splitlines() if line.startswith("| **holds**")]
        cells = [cell.split()[0] for cell in row.strip("| ").split(" | ")[1:]]
        assert cells == ["N1", "N24†", "N19"]

    def test_a_claim_without_a_verdict_is_not_tested(self, tmp_path):
        (row,) = [line for line in readme.verdicts(tmp_path).splitlines() if line.startswith("| **")]
        assert row.startswith("| **not tested** |")

    def test_the_peers_ratios_are_the_records(self):
        rows = {line.split(" | ")[0]: line for line in readme.peers().splitlines() if line.startswith("| ")}
        for one in performance.load():
            if one.config["suite"] == "step" and one.config["way"] in readme.PEERS:
                assert f"{one.metrics['ratio']:.1f}×" in rows[f"| {one.config['way']}"]


def test_no_bar_asks_for_widgets():
    """In a notebook, ``tqdm.auto`` without ipywidgets prints a warning with a path of this machine onto the page."""
    asking = [file for file in (ROOT / "ncode").rglob("*.py") if "tqdm.auto" in file.read_text(encoding="utf-8")]
    assert asking == []
