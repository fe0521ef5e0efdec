"""Write what is derived: every notebook's .ipynb, and the repository's address wherever a literal is needed.

    python -m ncode.reproduction.publishing.sync           write
    python -m ncode.reproduction.publishing.sync --check   say what is out of step, and fail

The notebooks' source is the .py; Colab opens only the .ipynb. The address is set in ``pyproject.toml``.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import jupytext
import nbformat

from ncode.reproduction.claims import claims

ROOT = Path(__file__).resolve().parents[3]
BRANCH = "main"
_INSTALL = re.compile(r"git\+https://[^\s\"'#@]+")
_BADGES = re.compile(r"(?<=<!-- notebooks: written by `make sync` -->\n).*?(?=<!-- end of notebooks -->)", re.S)
_CLONE = re.compile(r"(?<=git clone )https://\S+")
_CITATION = re.compile(r"(?<=^repository-code: ).*$", re.M)


def repository_url(root: Path = ROOT) -> str:
    """The repository's address, from ``pyproject.toml``."""
    with (root / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"].rstrip("/")


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
    url = repository_url(root)
    files: dict[Path, str] = {}
    badges = ["", "| notebook | tests the claims | opens on |", "| --- | --- | --- |"]
    for path in sorted(root.glob("notebooks/[0-9]*.py")):
        source = _INSTALL.sub(f"git+{url}", path.read_text(encoding="utf-8"))
        files[path] = source
        files[path.with_suffix(".ipynb")] = to_ipynb(source)
        tested = ", ".join(claim.id for claim in claims.load().values() if claim.home == path.stem)
        badges.append(f"| {title(source)} | {tested} | [Colab]({colab_url(path.stem, url)}) |")
    readme = root / "README.md"
    if readme.exists():
        text = _BADGES.sub(lambda _: "\n".join(badges) + "\n\n", readme.read_text(encoding="utf-8"))
        files[readme] = _CLONE.sub(url, text)
    citation = root / "CITATION.cff"
    if citation.exists():
        files[citation] = _CITATION.sub(f'"{url}"', citation.read_text(encoding="utf-8"))
    return files


def out_of_step(root: Path = ROOT) -> list[Path]:
    """The derived files that differ from what they should be."""
    return [
        path for path, text in derived(root).items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> None:
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
