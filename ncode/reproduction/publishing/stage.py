"""Stage a book: executed notebooks and pages, under the repository's own paths, ready for Jupyter Book.

Launch links are made from these paths: a page staged at ``notebooks/05_reflection.ipynb`` opens the file of
that name in the repository. Figures and tables are numbered, verdicts become admonitions, and what notebooks
show fills the pages on results and on reproducing.
"""

from __future__ import annotations

import base64
import re
import shutil
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import nbformat
import yaml

from ncode.reproduction.interactive import figure as interactive
from ncode.reproduction.publishing import api, downloads, gallery, markdown, performance, verdicts
from ncode.reproduction.publishing.display import FIGURE, OURS, SVG, TABLE, TOOK, VERDICT
from ncode.reproduction.publishing.sync import BRANCH, repository_url
from ncode.reproduction.runs import provenance

_FILL = re.compile(r"^\{\{ (\w+)((?: \S+)*) \}\}$", re.M)


@dataclass(frozen=True)
class Figure:
    """A figure as its notebook made it: a picture in PNG and in vectors, and what its page says of it."""

    notebook: str
    png: bytes
    caption: str
    alt: str
    svg: str = ""


@dataclass
class Executed:
    """The content of a book's executed notebooks.

    Attributes:
        profile: the profile that ran.
        verdicts: each verdict by its claim, with the notebook that gave it under ``"notebook"``.
        took: each notebook's record of what it took.
        titles: each notebook's title.
        figures: each notebook's figures by name.
        live: each notebook's live figures by name, as their notebooks made them.
        tables: each notebook's tables by name, with the notebook under ``"notebook"``.
        ours: by published table, what was measured of it, with the notebook that did under ``"notebook"``.
    """

    profile: str
    verdicts: dict[str, dict] = field(default_factory=dict)
    took: dict[str, dict] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    live: dict[str, dict] = field(default_factory=dict)
    tables: dict[str, dict] = field(default_factory=dict)
    ours: dict[str, dict] = field(default_factory=dict)


def stage(root: Path, notebooks: list[Path], profile: str, to: Path) -> Executed:
    """Write the book's source to the empty folder ``to``.

    Args:
        root: the repository.
        notebooks: the executed, cleaned notebooks.
        profile: the profile in which they ran.
        to: where Jupyter Book will look.

    Raises:
        ValueError: when two notebooks give a verdict on one claim or measure one published table, or a page asks for
            something unknown.
    """
    executed = Executed(profile)
    (to / "notebooks").mkdir(parents=True)
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        collect(notebook, path.stem, executed)
        source = (root / "notebooks" / path.name).with_suffix(".py").read_text(encoding="utf-8")
        nbformat.write(for_the_book(notebook, path.stem, source), to / "notebooks" / path.name)
    shutil.copytree(root / "book", to / "book", ignore=shutil.ignore_patterns("*.py", "__pycache__", "_toc.yml"))
    shutil.copytree(root / "book" / "_ext", to / "book" / "_ext", dirs_exist_ok=True)
    (to / downloads.FIGURES).mkdir()
    for name, figure in executed.figures.items():
        (to / downloads.FIGURES / f"{name}.png").write_bytes(figure.png)
        if figure.svg:
            (to / downloads.FIGURES / f"{name}.svg").write_text(figure.svg, encoding="utf-8")
    performance.draw(to / downloads.FIGURES, performance.load())
    (to / "book" / "_static" / "interactive.js").write_text(
        f"{interactive.script()}\nNcodeLive.start();\n", encoding="utf-8"
    )
    (to / "book" / "_static" / "interactive.css").write_text(interactive.style(), encoding="utf-8")
    api.write(to / "book" / api.FOLDER)
    gallery.thumbnails(executed, to / "book" / "_static" / gallery.FOLDER)
    for page in (to / "book").glob("*.md"):
        page.write_text(fill(page.read_text(encoding="utf-8"), executed), encoding="utf-8")
    shutil.copy(root / "book" / "_toc.yml", to / "_toc.yml")
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(configure(settings, repository_url(root), executed), sort_keys=False, allow_unicode=True)
    (to / "_config.yml").write_text(text, encoding="utf-8")
    return executed


def collect(notebook: nbformat.NotebookNode, name: str, executed: Executed) -> None:
    """Add to ``executed`` what the executed ``notebook`` called ``name`` says."""
    found = re.search(
        r"^# (.+)$", "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"), re.M
    )
    executed.titles[name] = found[1] if found else name
    for mime, key, into in ((VERDICT, "claim", executed.verdicts), (OURS, "table", executed.ours)):
        for shown in _shown(notebook, mime):
            earlier = into.get(shown[key])
            if earlier:
                kind = "a verdict" if mime == VERDICT else "measurements"
                raise ValueError(f"{shown[key]}: {kind} in {earlier['notebook']} and another one in {name}")
            into[shown[key]] = {**shown, "notebook": name}
    for mime, of in ((interactive.MIME, executed.live), (TABLE, executed.tables)):
        of.update({shown["name"]: {**shown, "notebook": name} for shown in _shown(notebook, mime)})
    for took in _shown(notebook, TOOK):
        executed.took[name] = dict(took)
    executed.figures |= _by_the_kernel(notebook, name)
    for data in _outputs(notebook, FIGURE):
        shown = data[FIGURE]
        executed.figures[shown["name"]] = Figure(
            name, base64.b64decode(data["image/png"]), shown["caption"], shown["alt"], data.get(SVG, "")
        )


def _by_the_kernel(notebook: nbformat.NotebookNode, name: str) -> dict[str, Figure]:
    """Figures whose cell shows them itself, with name and caption in its metadata: pictures without vectors."""
    found = {}
    for cell in notebook.cells:
        about = cell.metadata.get("mystnb", {})
        pictures = [o.data["image/png"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
        if "figure" in about and pictures:
            caption, alt = about["figure"]["caption"], about.get("image", {}).get("alt", "")
            found[about["figure"]["name"]] = Figure(name, base64.b64decode(pictures[0]), caption, alt)
    return found


def _shown(notebook: nbformat.NotebookNode, mime: str) -> list[dict]:
    return [data[mime] for data in _outputs(notebook, mime)]


def _outputs(notebook: nbformat.NotebookNode, mime: str) -> list[dict]:
    """What the notebook's cells put out that has the type ``mime``, in all its types."""
    return [
        output["data"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if mime in output.get("data", {})
    ]


def for_the_book(notebook: nbformat.NotebookNode, name: str = "", source: str = "") -> nbformat.NotebookNode:
    """Put a Markdown cell in the place of every figure, table, verdict and record of what the page took.

    Args:
        name, source: the notebook's name and its text as py:percent, to which downloads point.
    """
    written = {
        FIGURE: markdown.numbered_figure,
        interactive.MIME: markdown.live,
        TABLE: markdown.table,
        VERDICT: markdown.verdict,
        TOOK: markdown.took,
        OURS: markdown.ours,
    }
    cells = []
    given = _shown(notebook, VERDICT)
    for cell in notebook.cells:
        cells.append(cell)
        if given and cell.cell_type == "markdown" and re.match(r"# ", cell.source):
            cells.append(nbformat.v4.new_markdown_cell(verdicts.in_short(given), id="in-short"))
            given = []
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            data = output.get("data", {})
            mime = next((mime for mime in written if mime in data), None)
            if mime:
                shown = {**data[mime], "source": _place(name, source, cell.source, data[mime].get("name", ""))}
                text = written[mime]({**shown, "vectors": SVG in data})
                if mime in (VERDICT, TOOK):
                    _fold_code(cell)
                cells.append(nbformat.v4.new_markdown_cell(text, id=f"{cell.id}-{len(cells)}"[-64:]))
            else:
                kept.append(output)
        cell.outputs = kept
    notebook.cells = cells
    return notebook


def _fold_code(cell: nbformat.NotebookNode) -> None:
    """Show the cell's code on demand: what it hands to a verdict stands in the verdict."""
    cell.metadata["tags"] = list(dict.fromkeys([*cell.metadata.get("tags", []), "hide-input"]))


def _place(notebook: str, source: str, cell: str, shown: str) -> str:
    """Where ``notebook`` makes ``shown`` in ``cell``: its path in the repository, and the line."""
    line = downloads.line_of(source, cell, shown)
    return f"notebooks/{notebook}.py#L{line}" if line else ""


def fill(text: str, executed: Executed) -> str:
    """Replace each line ``{{ name arguments }}`` of a page by what :mod:`ncode.reproduction.publishing.markdown` writes
    for it.

    Raises:
        ValueError: when a page asks for something that is not there.
    """

    def written(match: re.Match) -> str:
        function = markdown.FILLS.get(match[1])
        if function is None:
            raise ValueError(f"{{{{ {match[1]} }}}}: a page may ask for {', '.join(markdown.FILLS)}")
        return function(executed, *match[2].split())

    return _FILL.sub(written, text)


def configure(settings: dict, url: str, executed: Executed) -> dict:
    """Jupyter Book's ``settings`` with the repository's address and the profile, named on every page."""
    took = executed.took.values()
    kept = {re.sub(r"\*\*|`", "", shown["kept"]) for shown in took if shown.get("kept")}
    drawn = "".join(f" Nothing was trained: it shows {of}." for of in sorted(kept))
    html = {
        **settings.get("html", {}),
        "extra_footer": f"<p>Executed in the <strong>{executed.profile}</strong> profile.{escape(drawn)}</p>",
    }
    if "smoke" in {executed.profile, *(shown["profile"] for shown in took)}:
        html["announcement"] = (
            "This is a smoke build: every experiment is cut down to seconds, to show that the book runs. "
            "Its numbers and verdicts say nothing about the paper."
        )
    sphinx = settings.get("sphinx", {})
    config = {**sphinx.get("config", {}), "ncode_repository": url, "ncode_commit": provenance.commit()}
    repository = {"url": url, "branch": BRANCH, "path_to_book": ""}
    return {**settings, "html": html, "repository": repository, "sphinx": {**sphinx, "config": config}}
