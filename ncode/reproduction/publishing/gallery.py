"""The gallery: every figure and table of the paper, with ours as a thumbnail, the verdicts, the data and the link.

What stands for what is in ``gallery.toml``; pictures, tables and verdicts are those of the executed notebooks.
"""

from __future__ import annotations

import html
import io
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from PIL import Image

from ncode.reproduction.claims import claims
from ncode.reproduction.publishing.display import Verdict
from ncode.reproduction.publishing.forest import forest
from ncode.reproduction.publishing.verdicts import CLASSES

PRINTED = (
    *(f"Fig. {number}" for number in range(1, 9)),
    *("Table 1", "Table 2", "Table A.1"),
    *(f"Fig. A.{number}" for number in range(1, 13)),
)
"""Every figure and table of the paper."""

FOLDER = "gallery"
WIDTH = 560
"""Of a thumbnail, in pixels: twice of the page's."""

_ROWS, _COLUMNS = 5, 3


@dataclass(frozen=True)
class Entry:
    """One figure or table of the paper: its title, ours by name, its claims; why ours is missing where it is."""

    title: str
    claims: Sequence[str]
    ours: Sequence[str] = ()
    missing: str = ""


@cache
def load() -> dict[str, Entry]:
    """Every entry of ``gallery.toml`` by the paper's name of it."""
    raw = tomllib.loads(resources.files(__package__).joinpath("gallery.toml").read_text(encoding="utf-8"))
    return {name: Entry(**entry) for name, entry in raw.items()}


def check(entries: Mapping[str, Entry], shown: Mapping[str, object]) -> None:
    """Refuse a gallery with a hole.

    Raises:
        ValueError: when a figure or table of the paper has no entry, or an entry names nothing that a notebook shows.
    """
    for name in PRINTED:
        if name not in entries:
            raise ValueError(f"{name}: the gallery has no entry for it")
    for name, entry in entries.items():
        if not entry.ours and not entry.missing:
            raise ValueError(f"{name}: the gallery has neither a figure of ours nor says why it is missing")
        for ours in entry.ours:
            if ours not in shown:
                raise ValueError(f"{name}: no executed notebook shows {ours!r}")
        for claim in entry.claims:
            claims.get(claim)


def page(executed) -> str:
    """The cards of the gallery.

    Raises:
        ValueError: as :func:`check` does.
    """
    check(load(), executed.figures | executed.tables)
    cards = "".join(_card(executed, name, entry) for name, entry in load().items())
    return f'```{{raw}} html\n<ul class="ncode-gallery">{cards}</ul>\n```\n'


def _card(executed, name: str, entry: Entry) -> str:
    where = {ours: _where(executed, ours) for ours in entry.ours}
    picture = _picture(executed, entry.ours[0], where[entry.ours[0]]) if entry.ours else f"<p>{entry.missing}</p>"
    pages = " ".join(f'<a href="{place}">{html.escape(_called(ours))}</a>' for ours, place in where.items())
    parts = [
        f"<strong>{name}</strong> {html.escape(entry.title)}",
        picture,
        " ".join(_word(executed, claim) for claim in entry.claims),
        f"<small>ours: {pages}</small>" if pages else "",
        f"<small>data: {data}</small>" if (data := _data(executed, entry)) else "",
    ]
    return f"<li>{''.join(f'<div>{part}</div>' for part in parts if part)}</li>"


def _called(name: str) -> str:
    """A figure's or table's name in words: ``figure reflection paths``."""
    kind, _, rest = name.partition("-")
    return f"{'figure' if kind == 'fig' else 'table'} {rest.replace('-', ' ')}"


def _notebook(executed, name: str) -> str:
    return executed.figures[name].notebook if name in executed.figures else executed.tables[name]["notebook"]


def _where(executed, name: str) -> str:
    return f"../notebooks/{_notebook(executed, name)}.html#{name}"


def _picture(executed, name: str, place: str) -> str:
    if name in executed.figures:
        image = Image.open(io.BytesIO(executed.figures[name].png))
        width, height = WIDTH // 2, round(WIDTH / 2 * image.height / image.width)
        alt = html.escape(executed.figures[name].alt)
        return (
            f'<a href="{place}"><img src="../_static/{FOLDER}/{name}.png" alt="{alt}" width="{width}" '
            f'height="{height}"></a>'
        )
    shown = executed.tables[name]
    columns = _columns(shown["columns"])

    def line(cells: Sequence[str], tag: str) -> str:
        # Formulas are not set at this size.
        plain = (cells[k].replace("$", "").replace("\\", "") for k in columns)
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in plain)}</tr>"

    head, body = line(shown["columns"], "th"), "".join(line(row, "td") for row in shown["rows"][:_ROWS])
    return f'<div class="ncode-mini"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _columns(headings: Sequence[str]) -> list[int]:
    """Which columns a thumbnail shows: the paper's beside the last of our recordings, or else the first ones."""
    paper = [k for k, heading in enumerate(headings) if heading.startswith("paper")]
    ours = [k for k, heading in enumerate(headings) if heading.startswith("recorded")]
    return [0, paper[0], ours[-1]] if paper and ours else [*range(min(_COLUMNS, len(headings)))]


def _verdict(executed, claim: str) -> Verdict:
    return Verdict.read(executed.verdicts[claim]) if claim in executed.verdicts else Verdict(claim)


def _word(executed, claim: str) -> str:
    word = _verdict(executed, claim).verdict
    return f'<a class="ncode-word ncode-{CLASSES[word]}" href="results.html#claim-{claim.lower()}">{claim}: {word}</a>'


def _data(executed, entry: Entry) -> str:
    """Links to what can be downloaded: the figures' vectors, the tables, the numbers of the claims' forest plots."""
    files = []
    for name in entry.ours:
        folder = f"../notebooks/{_notebook(executed, name)}"
        if name in executed.tables:
            files.append((f"{_called(name)}, CSV", f"{folder}/{name}.csv"))
        elif executed.figures[name].svg:
            files.append((f"{_called(name)}, SVG", f"{folder}/{name}.svg"))
    for claim in entry.claims:
        for answer in _verdict(executed, claim).decision.answers:
            if forest(answer):
                part = answer.question.part
                files.append((f"{claim}{part}, CSV", f"results/claim-{claim.lower()}-{part}.csv"))
    return " · ".join(f'<a href="{file}" download>{html.escape(said)}</a>' for said, file in files)


def thumbnails(executed, folder: Path) -> None:
    """Write the gallery's pictures into ``folder``."""
    folder.mkdir(parents=True)
    for entry in load().values():
        for name in entry.ours[:1]:
            if name in executed.figures:
                image = Image.open(io.BytesIO(executed.figures[name].png)).convert("RGB")
                image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
                image.save(folder / f"{name}.png", optimize=True)
