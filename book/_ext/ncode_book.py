"""A Sphinx extension: pages that work with the network closed, downloads beside what they show, and an API reference
that says what ncode says."""

from __future__ import annotations

import html
import inspect
import re
import shutil
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from torch import nn

# Live code (Thebe) and widgets come from other hosts, and nothing here uses them.
UNUSED = ("thebe", "require.js", "embed-amd", "html-manager")


class Offer(SphinxDirective):
    """``{offer} name``: the content, or a copy of a staged file, in a folder named after the page; a link to it, and
    one to the line of the repository that made it (see :mod:`ncode.reproduction.publishing.downloads`)."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"source": directives.unchanged, "of": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        name, page = self.arguments[0], self.env.docname
        file = Path(self.env.app.outdir, page, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        if staged := self.options.get("of"):
            shutil.copy(Path(self.env.srcdir, staged), file)
        else:
            file.write_text("\n".join(self.content) + "\n", encoding="utf-8")
        link = f'<a href="{Path(page).name}/{name}" download>{html.escape(name)}</a>'
        return [nodes.raw("", f'<p class="ncode-offer">{link} · {self.made()}</p>', format="html")]

    def made(self) -> str:
        """A link to where it was made, at the commit of this build."""
        path, _, line = (self.options.get("source") or _own(self.env)).partition("#L")
        commit = self.config.ncode_commit
        known = re.match(r"[0-9a-f]{7,40}(?=$|-dirty)", commit)
        url = f"{self.config.ncode_repository}/blob/{known[0] if known else 'main'}/{path}{f'#L{line}' if line else ''}"
        where = f"{path}{f', line {line}' if line else ''}"
        return f'made by <a href="{html.escape(url)}">{html.escape(where)}</a> at {html.escape(commit)}'


def _own(env) -> str:
    """The page's file in the repository: a notebook's source is its .py."""
    path = Path(env.doc2path(env.docname, base=False))
    return str(path.with_suffix(".py") if path.suffix == ".ipynb" else path)


def drop_unused_scripts(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Keep each script once, and none that loads from elsewhere."""
    seen: set[tuple] = set()
    kept = []
    for script in context.get("script_files", []):
        name = str(getattr(script, "filename", script) or "")
        attributes = getattr(script, "attributes", {})
        body = str(attributes.get("body", ""))
        key = (name, body)
        text = (name + body).lower()
        if key in seen or any(word in text for word in UNUSED):
            continue
        seen.add(key)
        kept.append(script)
    context["script_files"] = kept


# A navigation's toggle, which is a picture alone, and the same with a name that a screen reader can say.
_SILENT = '<summary><span class="toctree-toggle"'
_NAMED = '<summary aria-label="more pages"><span class="toctree-toggle"'


def name_toggles(app: Sphinx, failure: Exception | None) -> None:
    """Name the navigation's toggles."""
    for file in Path(app.outdir).rglob("*.html") if failure is None else []:
        text = file.read_text(encoding="utf-8")
        if _SILENT in text:
            file.write_text(text.replace(_SILENT, _NAMED), encoding="utf-8")


# A signature of many lines, as Sphinx writes it.
_ARGUMENTS = re.compile(r"\n\n<dl>\n((?:<dd>.*?</dd>\n)+)</dl>\n\n", re.S)


def mend_roles(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Mend markup of Sphinx's own that a screen reader stumbles over.

    A signature of many lines is a ``dl`` of ``dd`` alone, inside its ``dt``; the references' ``role="list"`` has
    children that are no list items.
    """
    if body := context.get("body"):
        body = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        context["body"] = _ARGUMENTS.sub(_plain, body)


def _plain(match: re.Match) -> str:
    lines = match[1].replace("<dd>", '<span class="ncode-argument">').replace("</dd>", "</span>")
    return f'<span class="ncode-arguments">{lines}</span>'


def skip_unexplained(app: Sphinx, what: str, name: str, thing, skip: bool, options) -> bool | None:
    """Leave out a named tuple's fields where all that is known of them is their number; the class explains them."""
    return True if (getattr(thing, "__doc__", None) or "").startswith("Alias for field number") else None


def drop_torchs_words(app: Sphinx, what: str, name: str, thing, options, lines: list[str]) -> None:
    """Leave out what torch says of any module's ``forward``, which one without a docstring inherits."""
    if lines[:1] == inspect.getdoc(nn.Module.forward).splitlines()[:1]:
        lines.clear()


def plain_signature(
    app: Sphinx, what: str, name: str, thing, options, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """No arguments where a class has none of its own, and dots for a default that is no Python."""
    if signature is None:
        return None
    if what == "class" and signature.startswith("(*args"):
        return "", returned
    # Sphinx sets a signature that it cannot parse in one piece, with its internal marks.
    return re.sub(r"<(?:[^<>]|<[^<>]*>)*>", "...", signature), returned


def setup(app: Sphinx) -> dict:
    """Connect the handlers."""
    app.add_config_value("ncode_repository", "", "html")
    app.add_config_value("ncode_commit", "", "html")
    app.add_directive("offer", Offer)
    # Late: the theme and myst-nb add their scripts while a page's context is made.
    app.connect("html-page-context", drop_unused_scripts, priority=900)
    app.connect("html-page-context", mend_roles, priority=900)
    app.connect("build-finished", name_toggles)
    app.connect("autodoc-skip-member", skip_unexplained)
    app.connect("autodoc-process-docstring", drop_torchs_words)
    app.connect("autodoc-process-signature", plain_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
