"""Keep, for the README, a picture and the verdicts' words of an executed book, with where they come from.

    python -m ncode.reproduction.publishing.showcase _build/cpu/executed

They lie in ``book/readme``; ``make sync`` writes them into the README (:mod:`ncode.reproduction.publishing.readme`).
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import nbformat
from PIL import Image

from ncode.reproduction.publishing.elsewhere import summary
from ncode.reproduction.publishing.readme import KEPT, ROOT
from ncode.reproduction.publishing.stage import Executed, collect

PICTURE = "fig-annuli-flow"
WIDTH = 900
"""Of the picture, in pixels: what a page of a repository shows."""


def keep(executed: Path, root: Path = ROOT) -> None:
    """Keep the picture and the verdicts of the executed notebooks in the folder ``executed``."""
    to = root / KEPT
    to.mkdir(exist_ok=True)
    book, lines = Executed(""), []
    for path in sorted(executed.glob("[0-9]*.ipynb")):
        collect(nbformat.read(path, as_version=4), path.stem, book)
        kept = summary(path)
        settings = {claim: book.verdicts[claim]["nearness"] for claim in kept["verdicts"]}
        lines.append(json.dumps({**kept, "settings": settings}))
    (to / "verdicts.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    image = Image.open(io.BytesIO(book.figures[PICTURE].png)).convert("RGB")
    image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    image.quantize(128).save(to / "picture.png", optimize=True)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
