"""A live figure: its data, its scripts, and the still picture that stands where no script runs."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from matplotlib.figure import Figure

MIME = "application/vnd.ncode.live+json"
KINDS = {"plane": "plane.js", "line": "line.js", "oscillator": "line.js", "memory": "memory.js", "orbit": "orbit.js"}


@cache
def script() -> str:
    """All scripts as one: the book loads it as a file, a notebook carries it."""
    names = ["core.js", *dict.fromkeys(KINDS.values())]
    return "\n".join(_read(name) for name in names)


@cache
def style() -> str:
    """The live figures' style sheet."""
    return _read("live.css")


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class LiveFigure:
    """A figure that moves under the reader's hand, in the book and in a notebook.

    Args:
        name: the label by which pages refer to it, such as ``fig-annuli-live``.
        kind: one of :data:`KINDS`.
        caption: what to see and what to do.
        alt: what the still picture shows.
        data: what the kind's script needs, as plain data.
        still: the picture for print and for pages without scripts.

    Raises:
        ValueError: on an unknown kind.
    """

    name: str
    kind: str
    caption: str
    alt: str
    data: Mapping
    still: Figure = field(repr=False)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is not one of {', '.join(KINDS)}")

    def png(self) -> str:
        """The still picture, as base64."""
        kept = io.BytesIO()
        self.still.savefig(kept, format="png", dpi=150)
        return base64.b64encode(kept.getvalue()).decode()

    def content(self) -> dict:
        """The figure as plain data, for the book."""
        return {
            "name": self.name,
            "kind": self.kind,
            "caption": self.caption,
            "alt": self.alt,
            "data": json.dumps(self.data, allow_nan=False, separators=(",", ":")),
            "png": self.png(),
        }

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        content = self.content()
        page = f"<style>{style()}</style>{markup(content)}<script>{script()}\nNcodeLive.start();</script>"
        return {"text/html": page, "text/plain": repr(self), MIME: content}


def markup(content: Mapping) -> str:
    """The HTML of a live figure's content, without its scripts and style."""
    # Inside a script element only its end tag is special.
    data = content["data"].replace("</", "<\\/")
    return (
        f'<figure class="ncode-live" id="{html.escape(content["name"])}" data-kind="{html.escape(content["kind"])}">'
        f'<div class="ncode-live-stage"></div>'
        f'<div class="ncode-live-still"><img alt="{html.escape(content["alt"])}" '
        f'src="data:image/png;base64,{content["png"]}"></div>'
        f'<script type="application/json">{data}</script>'
        f"<figcaption>{html.escape(content['caption'])}</figcaption></figure>"
    )
