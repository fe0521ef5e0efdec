"""What a notebook shows: figures, tables, verdicts, and what the page took.

Each object is readable wherever a notebook runs, as plain HTML. It also carries its content as JSON under a MIME
type of its own, and from those the book draws its numbered tables, its results page and its page on reproducing.
So a verdict has one source, the executed notebook, and nothing is typed in twice.
"""

from __future__ import annotations

import base64
import html
import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure as Drawing

from ncode.reproduction import profiles
from ncode.reproduction.claims import claims, published, settings
from ncode.reproduction.claims.questions import SETTINGS, Decision, Evidence, decide
from ncode.reproduction.interactive.figure import LiveFigure
from ncode.reproduction.plotting import style
from ncode.reproduction.plotting.vectors import svg
from ncode.reproduction.precision import full_float32
from ncode.reproduction.publishing.forest import MARKS, forest
from ncode.reproduction.runs import asked, folders, kept, provenance
from ncode.reproduction.words import counted

FIGURE = "application/vnd.ncode.figure+json"
TABLE = "application/vnd.ncode.table+json"
VERDICT = "application/vnd.ncode.verdict+json"
TOOK = "application/vnd.ncode.took+json"
OURS = "application/vnd.ncode.ours+json"
SVG = "image/svg+xml"


class _Shown:
    """Displays as HTML, and carries itself as JSON under ``mime``."""

    mime: str

    def html(self) -> str:
        raise NotImplementedError

    def content(self) -> dict:
        return asdict(self)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {"text/html": self.html(), "text/plain": repr(self), self.mime: self.content()}


@dataclass(frozen=True)
class Figure(_Shown):
    """A numbered figure.

    Args:
        name: the label by which pages refer to it, such as ``fig-reflection-paths``.
        caption: a few sentences: what is drawn, and what to see. Markdown and ``$TeX$`` are rendered in the book.
        alt: the figure in words, for readers who don't see it.
        png: the picture, with two of its pixels to one of the page's.
        svg: the same in vectors, for a reader who wants it elsewhere.
        folded: a title, under which the book shows the figure on demand; by default it is in sight.

    Raises:
        ValueError: when the name does not begin with ``fig-``, or the caption or the words are missing.
    """

    name: str
    caption: str
    alt: str
    png: bytes = field(repr=False)
    svg: str = field(default="", repr=False)
    folded: str = ""
    mime = FIGURE

    def __post_init__(self):
        if not self.name.startswith("fig-"):
            raise ValueError(f"name: {self.name!r} does not begin with 'fig-'")
        for part in ("caption", "alt"):
            if not getattr(self, part).strip():
                raise ValueError(f"{part}: the figure {self.name!r} needs one")

    @classmethod
    def of(cls, drawing: Drawing, name: str, caption: str, alt: str, folded: str = "") -> Figure:
        """The figure that ``drawing`` becomes; the drawing is closed."""
        style.wrap_labels(drawing)
        picture = io.BytesIO()
        drawing.savefig(picture, format="png", dpi=200, bbox_inches="tight")
        vectors = svg(drawing)
        plt.close(drawing)
        return cls(name, caption, alt, picture.getvalue(), vectors, folded)

    @property
    def width(self) -> int:
        """The width on a page, in CSS pixels: half of that in the header of the PNG."""
        return int.from_bytes(self.png[16:20], "big") // 2

    def content(self) -> dict:
        shown = {"name": self.name, "caption": self.caption, "alt": self.alt, "width": self.width}
        return shown | ({"folded": self.folded} if self.folded else {})

    def html(self) -> str:
        picture = f"data:image/png;base64,{base64.b64encode(self.png).decode()}"
        return (
            f'<figure><img src="{picture}" alt="{html.escape(self.alt)}" width="{self.width}">'
            f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        vectors = {SVG: self.svg} if self.svg else {}
        return {**super()._repr_mimebundle_(), "image/png": base64.b64encode(self.png).decode(), **vectors}


@dataclass(frozen=True)
class Text:
    """A paragraph in Markdown: what a page says with the numbers of its runs."""

    markdown: str

    def _repr_markdown_(self) -> str:
        return self.markdown


def aside(title: str, markdown: str) -> str:
    """``markdown`` behind a switch called ``title``, wherever Markdown is shown."""
    return f'<details class="ncode-aside"><summary>{title}</summary>\n\n{markdown}\n\n</details>'


@dataclass(frozen=True)
class Table(_Shown):
    """A numbered table. Cells are text: Markdown and ``$TeX$`` are rendered in the book.

    Args:
        name: the label by which pages refer to it, such as ``tab-reflection-mse``.
        caption: one or two sentences: what to see.
        columns: the headings.
        rows: one list of cells a row, as long as ``columns``.
        folded: a title, under which the book shows the table on demand; by default it is in sight.

    Raises:
        ValueError: when there is no row, or one whose length differs from the headings'.
    """

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: str = ""
    mime = TABLE

    def __post_init__(self):
        object.__setattr__(self, "rows", [[str(cell) for cell in row] for row in self.rows])
        if not self.rows:
            raise ValueError(f"rows: {self.name!r} has none")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"rows: {len(row)} cells under {len(self.columns)} columns in {self.name!r}")

    def html(self) -> str:
        def line(cells, tag):
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(line(row, "td") for row in self.rows)
        return (
            f"<table><caption>{html.escape(self.caption)}</caption>"
            f"<thead>{line(self.columns, 'th')}</thead><tbody>{body}</tbody></table>"
        )


@dataclass(frozen=True)
class Verdict(_Shown):
    """What executed code says about one claim of a paper.

    The word follows from the evidence on the claim's primary questions, and from nothing else (see
    :mod:`ncode.reproduction.claims.questions`). Checks are context: they are shown, and decide nothing.

    Args:
        claim: the claim's id in ``claims.toml``, such as ``"N8"``.
        evidence: what was found on the claim's questions, at every setting at which they were asked.
        context: further checks, in words, and whether each came out true; ``None`` where it decided nothing.
        profile: the profile that ran.
        runs: ids of the run records behind the context.
        note: what a reader must know to weigh it: how weak the evidence is, which control explains it.

    Raises:
        ValueError: on an unknown claim, or evidence of a question that the claim does not ask.
    """

    claim: str
    evidence: Sequence[Evidence] = ()
    context: Mapping[str, bool | None] = field(default_factory=dict)
    profile: str = ""
    runs: Sequence[str] = ()
    note: str = ""
    verdict: str = field(init=False)
    nearness: str | None = field(init=False)
    mime = VERDICT

    def __post_init__(self):
        context = {name: None if value is None else bool(value) for name, value in self.context.items()}
        object.__setattr__(self, "context", context)
        object.__setattr__(self, "verdict", self.decision.word)
        object.__setattr__(self, "nearness", self.decision.nearness)

    @property
    def decision(self) -> Decision:
        """The claim's questions, each with its evidence."""
        return decide(claims.get(self.claim).questions, self.evidence)

    def content(self) -> dict:
        # Pairs, for a notebook file sorts the keys of what it stores; and JSON has neither infinity nor NaN.
        kept = [{name: _plain(value) for name, value in asdict(one).items()} for one in self.evidence]
        return {**asdict(self), "evidence": kept, "context": list(self.context.items())}

    @classmethod
    def read(cls, content: Mapping) -> Verdict:
        """The verdict that :meth:`content` describes."""
        evidence = [Evidence(**{**one, **_pairs(one)}) for one in content["evidence"]]
        known = {name: content[name] for name in ("claim", "profile", "runs", "note")}
        return cls(**known, evidence=evidence, context=dict(content["context"]))

    def html(self) -> str:
        claim, parts = claims.get(self.claim), ""
        for answer in self.decision.answers:
            parts += f"<li><strong>{answer.word}</strong>: {html.escape(answer.question.asks)}{forest(answer)}</li>"
        lines = "".join(f"<li>{MARKS[held]} {html.escape(name)}</li>" for name, held in self.context.items())
        context = (
            f"<details><summary>Context, which decides nothing</summary><ul>{lines}</ul></details>" if lines else ""
        )
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        where = f", {SETTINGS[self.nearness]}" if self.nearness else ""
        return (
            f'<div class="ncode-verdict"><p><strong>{self.claim}: {self.verdict}</strong>{where} '
            f"({html.escape(self.profile)} profile). {html.escape(claim.text)}</p><ul>{parts}</ul>{context}{note}</div>"
        )


def _plain(value):
    """A value of evidence as JSON keeps it."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _pairs(one: Mapping) -> dict:
    """The numbers of stored evidence, as :func:`_plain` kept them."""
    read = {name: tuple(map(float, one[name])) for name in ("interval", "total") if one.get(name)}
    read |= {"runs": tuple(one["runs"]), "started": tuple(one["started"])}
    return read | ({} if one["estimate"] is None else {"estimate": float(one["estimate"])})


@dataclass(frozen=True)
class Took(_Shown):
    """What a page took: seconds, device, threads, seeds, versions, and the runs it rests on.

    Args:
        asked: every run that the page asked for, as in ``annuli/6a3c2e20aa1b9c3d``, and whether it read its weights.
        kept: of what it was drawn where it trained nothing, in Markdown (see
            :meth:`ncode.reproduction.runs.archive.Archive.described`).
    """

    notebook: str
    profile: str
    seconds: float
    training_seconds: float
    seeds: int
    runs: Sequence[str]
    provenance: Mapping
    asked: Mapping[str, bool] = field(default_factory=dict)
    kept: str = ""
    mime = TOOK

    def html(self) -> str:
        facts = self.provenance
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        drawn = f" and trained nothing; it shows {self.kept}" if self.kept else ""
        return (
            f"<p>Profile <strong>{self.profile}</strong>: this page took {self.seconds:.0f} s{drawn}; its "
            f"{counted(len(self.runs), 'training run')} took {self.training_seconds:.0f} s when they were computed "
            f"({counted(self.seeds, 'seed')}). {facts['device']}, {counted(facts['threads'], 'thread')}. {versions}. "
            f"Commit {facts['commit']}.</p>"
        )


@dataclass(frozen=True)
class Ours(_Shown):
    """What this book measures where a paper printed a number: the page on results sets the two side by side.

    Args:
        table: the published table's name in ``paper.toml``.
        rows: by the published table's rows and columns, what was measured, as text; what is left out was not tested.
        setting: in a sentence or two, in what it differs from the paper's measurement.

    Raises:
        ValueError: when the published table has no such row or column.
    """

    table: str
    rows: Mapping[str, Mapping[str, str]]
    setting: str
    mime = OURS

    def __post_init__(self):
        table = published.get(self.table)
        for row, values in self.rows.items():
            for column in values:
                table.value(row, column)

    def html(self) -> str:
        return f"<p>Set beside the published table <em>{html.escape(self.table)}</em> on the page of results.</p>"


class Page:
    """One notebook's run: its profile, its clock, and what it shows.

    Args:
        notebook: the notebook's file name without suffix, such as ``"05_reflection"``.
        profile: ``"smoke"``, ``"cpu"`` or ``"paper"``; or ``"recorded"``, to take every run from an archive.
        runs: the folder that keeps finished runs, instead of the usual one; on Colab it may be on the user's drive.

    Attributes:
        profile: the profile whose settings count; in ``"recorded"``, that of the archive's runs.
        settings, options: the notebook's part of ``profiles.toml`` in this profile (see
            :class:`ncode.reproduction.profiles.Profile`).

    Raises:
        ArchiveError: when the archive cannot be had, or is not what was packed.
        ValueError: for an unknown profile, or a folder that cannot be had.
    """

    def __init__(self, notebook: str, profile: str, runs: str = ""):
        self.notebook = notebook
        asked.begin()
        kept.leave()
        if runs:
            folders.keep_in(runs)
        self._kept = ""
        if profile == profiles.RECORDED:
            archive = kept.use(notebook)
            profile, self._kept = archive.profile, archive.described()
            display(self.say(f"*Nothing is trained here: this page shows {self._kept}.*"))
        self.profile = profile
        table = profiles.load(notebook.split("_", 1)[1], profile)
        self.settings, self.options = table.settings, table.options
        self._start = time.perf_counter()
        full_float32()
        style.use_style()

    def figure(self, drawing: Drawing | None, *, name: str, caption: str, alt: str, folded: str = "") -> Figure | Text:
        """A numbered figure (see :class:`Figure`); what was drawn is closed, so that it is shown once.

        Args:
            drawing: ``None`` where it is of recordings that do not exist yet, which the page then says.
        """
        if drawing is None:
            return Text(f"{folded or caption.partition(':')[0].rstrip('.')}: not recorded yet.")
        return Figure.of(drawing, name, caption, alt, folded)

    def say(self, *sentences: str, folded: str = "") -> Text:
        """A paragraph whose numbers come from runs; empty sentences are left out.

        Args:
            folded: a title, under which a page shows the paragraph on demand; by default it is in sight.
        """
        text = " ".join(filter(None, (sentence.strip() for sentence in sentences)))
        return Text(aside(folded, text) if folded else text)

    def readings(self) -> Text:
        """What the papers leave open of this page's experiments, and the readings taken (``settings.toml``)."""
        found = "\n".join(f"- {reading}" for reading in settings.left_open(self.notebook))
        return self.say(found, folded="What the paper leaves out or contradicts, and how we read it")

    def table(
        self, name: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], folded: str = ""
    ) -> Table:
        """A numbered table (see :class:`Table`)."""
        return Table(name, caption, list(columns), rows, folded)

    def live(self, name: str, kind: str, *, caption: str, alt: str, data: Mapping, still: Drawing) -> LiveFigure:
        """A live figure (see :class:`~ncode.reproduction.interactive.figure.LiveFigure`)."""
        plt.close(still)
        return LiveFigure(name, kind, caption, alt, data, still)

    def deviations(self) -> Table:
        """What the papers state of this page's experiments and runs otherwise somewhere (``settings.toml``)."""
        name = f"tab-{self.notebook.split('_', 1)[1].replace('_', '-')}-deviations"
        caption = "What the paper states of these experiments and what runs otherwise, here or in the recordings."
        return Table(name, caption, settings.COLUMNS, settings.deviations(self.notebook, self.profile))

    def ours(self, table: str, rows: Mapping[str, Mapping[str, str]], setting: str) -> Ours:
        """What was measured where the paper printed the table ``table`` (see :class:`Ours`)."""
        return Ours(table, rows, setting)

    def verdict(
        self,
        claim: str,
        evidence: Sequence[Evidence] = (),
        context: Mapping[str, bool | None] | None = None,
        *,
        runs: Sequence = (),
        note: str = "",
    ) -> Verdict:
        """The verdict on ``claim`` that its ``evidence`` gives; ``runs`` are those behind the context."""
        return Verdict(claim, evidence, context or {}, profile=self.profile, runs=[run.id for run in runs], note=note)

    def near(self, nearness: str) -> str:
        """``nearness``, the place of this build's setting; a smoke build's numbers say nothing, so it is a toy."""
        return "toy" if self.profile == "smoke" else nearness

    def took(self, runs: Sequence = ()) -> Took:
        """The page's footer; call it last."""
        return Took(
            self.notebook,
            self.profile,
            seconds=round(time.perf_counter() - self._start, 1),
            training_seconds=round(sum(run.provenance["seconds"] for run in runs), 1),
            seeds=len({run.config.seed for run in runs}),
            runs=[run.id for run in runs],
            provenance=provenance.here(),
            asked=asked.runs(),
            kept=self._kept,
        )
