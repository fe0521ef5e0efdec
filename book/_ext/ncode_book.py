"""A Sphinx extension: pages that work with the network closed, and an API reference that says what ncode says."""

from __future__ import annotations

import inspect
import re

from sphinx.application import Sphinx
from torch import nn

# Live code (Thebe) and widgets come from other hosts, and nothing here uses them.
UNUSED = ("thebe", "require.js", "embed-amd", "html-manager")


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
    # Late: the theme and myst-nb add their scripts while a page's context is made.
    app.connect("html-page-context", drop_unused_scripts, priority=900)
    app.connect("autodoc-skip-member", skip_unexplained)
    app.connect("autodoc-process-docstring", drop_torchs_words)
    app.connect("autodoc-process-signature", plain_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
