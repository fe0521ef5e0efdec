"""A Sphinx extension: pages that work with the network closed, without errors in the console."""

from __future__ import annotations

from sphinx.application import Sphinx

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


def setup(app: Sphinx) -> dict:
    """Connect the handlers."""
    # Late: the theme and myst-nb add their scripts while a page's context is made.
    app.connect("html-page-context", drop_unused_scripts, priority=900)
    app.connect("autodoc-skip-member", skip_unexplained)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
