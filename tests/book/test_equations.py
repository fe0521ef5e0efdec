"""Displayed equations have a number and a target, so that anybody can cite them."""

import re
from pathlib import Path

import jupytext

ROOT = Path(__file__).resolve().parents[2]
DISPLAYED = re.compile(r"\$\$.+?\$\$[^\n]*", re.S)


def pages() -> dict[str, str]:
    """Every page's text by its name; of notebooks what is Markdown."""
    found = {path.stem: path.read_text(encoding="utf-8") for path in ROOT.glob("book/*.md")}
    for path in ROOT.glob("notebooks/[0-9]*.py"):
        found[path.stem] = "\n\n".join(c.source for c in jupytext.read(path).cells if c.cell_type == "markdown")
    return found


def test_every_displayed_equation_has_a_target_of_its_own():
    displayed = [(name, one) for name, text in pages().items() for one in DISPLAYED.findall(text)]
    assert len(displayed) > 20
    targets = [re.search(r"\$\$ \((eq-[\w-]+)\)$", one) for _, one in displayed]
    assert [one for one, target in zip(displayed, targets, strict=True) if target is None] == []
    assert len({target[1] for target in targets}) == len(targets)


def test_every_equation_that_is_referred_to_is_there():
    text = "\n".join(pages().values())
    assert set(re.findall(r"\{eq\}`([^`]+)`", text)) <= set(re.findall(r"\$\$ \((eq-[\w-]+)\)", text))
