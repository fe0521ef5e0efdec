"""Keep what executed notebooks said on another machine or in another profile: the page on reproducing shows it.

    python -m ncode.reproduction.publishing.elsewhere h100_machine _build/paper/executed/01_proposition_1.ipynb ...

A notebook comes in executed and cleaned (:mod:`ncode.reproduction.publishing.execute`); of its record of what it took
and its verdicts, ``book/elsewhere/<name>.json`` keeps profile, seconds, provenance and each claim's word. No figure, no
number of it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nbformat

from ncode.reproduction.publishing import markdown, stage


def summary(path: Path) -> dict:
    """What is kept of the executed notebook at ``path``.

    Raises:
        ValueError: when it does not say what it took: then it was not executed to its end.
    """
    executed = stage.Executed("")
    stage.collect(nbformat.read(path, as_version=4), path.stem, executed)
    if path.stem not in executed.took:
        raise ValueError(f"{path}: does not say what it took; it was not executed to its end")
    took = executed.took[path.stem]
    return {
        "notebook": path.stem,
        **{name: took[name] for name in ("profile", "seconds", "provenance")},
        "verdicts": {claim: shown["verdict"] for claim, shown in sorted(executed.verdicts.items())},
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the file: the machine")
    parser.add_argument("executed", type=Path, nargs="+", help="executed notebooks")
    chosen = parser.parse_args(arguments)
    markdown.ELSEWHERE.mkdir(exist_ok=True)
    path = markdown.ELSEWHERE / f"{chosen.name}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    # A page executed again takes its earlier self's place.
    kept = {(one["profile"], one["notebook"]): one for one in [*known, *map(summary, chosen.executed)]}
    path.write_text("[\n" + ",\n".join(map(json.dumps, kept.values())) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
