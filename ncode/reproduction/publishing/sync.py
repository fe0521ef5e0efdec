"""Write what is derived: every notebook's .ipynb and first cell, and the repository's address wherever it is needed.

    python -m ncode.reproduction.publishing.sync           write
    python -m ncode.reproduction.publishing.sync --here    take this checkout's own address first: for a fork
    python -m ncode.reproduction.publishing.sync --check   say what is out of step, and fail

The notebooks' source is the .py; Colab opens only the .ipynb. The address is set in ``pyproject.toml``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import jupytext
import nbformat

from ncode.reproduction.claims import claims
from ncode.reproduction.extras import DISTRIBUTION
from ncode.reproduction.publishing import readme
from ncode.reproduction.runs import kept

ROOT = Path(__file__).resolve().parents[3]
BRANCH = "main"
_INSTALL = re.compile(r"git\+https://[^\s\"'#@]+")
_WRITTEN = "(?<=<!-- {0}: written by `make sync` -->\\n).*?(?=<!-- end of {0} -->)"
_BADGES, _VERDICTS, _PEERS = (re.compile(_WRITTEN.format(of), re.S) for of in ("notebooks", "verdicts", "peers"))
_CLONE = re.compile(r"(?<=git clone )https://\S+")
_BOOK = re.compile(r"(?<=\[The book\]\()https://[^)]+")
_CITATION = re.compile(r"(?<=^repository-code: ).*$", re.M)
_ADDRESS = re.compile(r'(?<=^Repository = ").*(?="$)', re.M)
_CONSTANT = re.compile(r'(?<=^REPOSITORY = ").*(?="$)', re.M)
_FIRST_CELL = re.compile(r'(?<=^# %% tags=\["remove-cell"\]\n).*?(?=^# %%)', re.M | re.S)

FIRST_CELL = """\
import importlib.metadata as installed
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("ncode") is None:
    url = "git+{url}"
    ncode = f"{distribution}[reproduction] @ {{url}}"
    if "COLAB_RELEASE_TAG" not in os.environ:
        raise ImportError(f'ncode is not installed: pip install "{{ncode}}"')
    kept = [f"{{p}}=={{installed.version(p)}}" for p in ("torch", "numpy", "ipython")]
    pip = [sys.executable, "-m", "pip", "install", "-q", ncode, *kept]
    if subprocess.run(pip).returncode:
        raise ImportError("pip could not install ncode: it says above why")

"""
"""A notebook's first code cell. On Colab it installs the package and leaves alone what Colab itself rests on;
elsewhere it installs nothing."""


def declared_url(root: Path = ROOT) -> str:
    """The repository's address as ``pyproject.toml`` declares it: the one in every committed file."""
    with (root / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"].rstrip("/")


def repository_url(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> str:
    """The address of the repository that ``root`` is a checkout of: a fork's launch buttons open the fork.

    It is the workflow's where one runs, otherwise that of the git remote ``origin`` where there is one on a host,
    otherwise the declared one.
    """
    if environment.get("GITHUB_REPOSITORY"):
        host = environment.get("GITHUB_SERVER_URL", "https://github.com")
        return f"{host.rstrip('/')}/{environment['GITHUB_REPOSITORY']}"
    asked = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        told = ""
    return web_address(told) or declared_url(root)


def web_address(remote: str) -> str | None:
    """Where a browser finds the git remote ``remote``, without user name or password; ``None`` for a local one."""
    found = re.fullmatch(
        r"(?:https?://|ssh://|git@)(?:[^@/]*@)?([\w.-]+\.\w+)(?::\d+)?[:/]+([\w.-]+/[\w.-]+?)(?:\.git)?/?", remote
    )
    return f"https://{found[1]}/{found[2]}" if found else None


def colab_url(notebook: str, url: str) -> str:
    """Where Colab opens the .ipynb called ``notebook`` (without suffix) of the repository at ``url``."""
    return f"{url.replace('https://github.com', 'https://colab.research.google.com/github')}/blob/{BRANCH}/notebooks/{notebook}.ipynb"


def title(source: str) -> str:
    """The title of a py:percent notebook."""
    found = re.search(r"^# # (.+)$", source, re.M)
    if not found:
        raise ValueError("source: a notebook needs a title, a Markdown line that begins '# # '")
    return found[1].strip()


def to_ipynb(source: str) -> str:
    """The .ipynb of a py:percent notebook: no outputs, and the same bytes for the same source."""
    notebook = jupytext.reads(source, fmt="py:percent")
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
    return nbformat.writes(notebook) + "\n"


def derived(root: Path = ROOT) -> dict[Path, str]:
    """Every derived file under ``root`` with the text that it should have."""
    url = declared_url(root)
    first_cell = FIRST_CELL.format(distribution=DISTRIBUTION, url=url)
    files: dict[Path, str] = {}
    badges = ["", "| notebook | tests the claims | opens on |", "| --- | --- | --- |"]
    for path in sorted(root.glob("notebooks/[0-9]*.py")):
        source = _INSTALL.sub(f"git+{url}", path.read_text(encoding="utf-8"))
        source = _FIRST_CELL.sub(lambda _: first_cell, source, count=1)
        files[path] = source
        files[path.with_suffix(".ipynb")] = to_ipynb(source)
        tested = ", ".join(claim.id for claim in claims.load().values() if claim.home == path.stem)
        badges.append(f"| {title(source)} | {tested} | [Colab]({colab_url(path.stem, url)}) |")
    for name, patterns in {
        "README.md": {
            _BADGES: "\n".join(badges) + "\n\n",
            _VERDICTS: readme.verdicts(root),
            _PEERS: readme.peers(root),
            _CLONE: url,
            # On a host whose pages are not known the reader finds at least the repository.
            _BOOK: kept.book(url) or url,
            _INSTALL: f"git+{url}",
        },
        "CITATION.cff": {_CITATION: f'"{url}"'},
        "ncode/reproduction/extras.py": {_CONSTANT: url},
    }.items():
        if (root / name).exists():
            files[root / name] = _replaced((root / name).read_text(encoding="utf-8"), patterns)
    return files


def _replaced(text: str, patterns: Mapping[re.Pattern, str]) -> str:
    for pattern, new in patterns.items():
        text = pattern.sub(lambda _, new=new: new, text)
    return text


def out_of_step(root: Path = ROOT) -> list[Path]:
    """The derived files that differ from what they should be."""
    return [
        path for path, text in derived(root).items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def take_own_address(root: Path = ROOT) -> None:
    """Declare this checkout's own address in ``pyproject.toml``."""
    path = root / "pyproject.toml"
    path.write_text(_replaced(path.read_text(encoding="utf-8"), {_ADDRESS: repository_url(root)}), encoding="utf-8")


def main() -> None:
    if "--here" in sys.argv[1:]:
        take_own_address()
    stale = out_of_step()
    names = [str(path.relative_to(ROOT)) for path in stale]
    if "--check" in sys.argv[1:]:
        sys.exit("out of step, run `make sync`: " + ", ".join(names) if stale else 0)
    texts = derived()
    for path in stale:
        path.write_text(texts[path], encoding="utf-8")
    print("written: " + ", ".join(names) if stale else "everything is in step")


if __name__ == "__main__":
    main()
