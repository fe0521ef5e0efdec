"""The README's tables: the verdicts of an executed book, and how fast the library is beside others.

``make sync`` writes them into the README, from what :mod:`ncode.reproduction.publishing.showcase` keeps of an executed
book and from the record of performance (:mod:`ncode.reproduction.publishing.performance`). Nothing there is typed.
"""

from __future__ import annotations

import json
from pathlib import Path

from ncode.reproduction.claims import claims, questions
from ncode.reproduction.publishing import performance

ROOT = Path(__file__).resolve().parents[3]
KEPT = Path("book", "readme")
PEERS = ("torchdiffeq", "torchdyn", "torchode", "diffrax, batched", "diffrax, vmapped", "torchdiffeq, Appendix B")
KINDS = ("open loop", "closed loop", "neural ODE")
COLUMNS = {"paper": "at the paper's setting", "reduced": "at a smaller one", "toy": "on other or little data"}


def verdicts(root: Path = ROOT) -> str:
    """The table of verdicts: for every word the claims that have it, by setting; below it where they come from."""
    path = root / KEPT / "verdicts.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    words = {claim: word for one in kept for claim, word in one["verdicts"].items()}
    settings = {claim: setting for one in kept for claim, setting in one["settings"].items()}
    found: dict[tuple[str, str], list[str]] = {}
    for claim in claims.load().values():
        where = words.get(claim.id, questions.UNTESTED), settings.get(claim.id) or "paper"
        found.setdefault(where, []).append(f"{claim.id}{questions.AMENDED if claim.amended else ''} {claim.short}")
    rows = []
    for word in questions.WORDS:
        cells = [";<br>".join(found.get((word, setting), [])) for setting in COLUMNS]
        rows += [f"| **{word}** | {' | '.join(cells)} |"] if any(cells) else []
    head = ["", f"| verdict | {' | '.join(COLUMNS.values())} |", f"| --- |{' --- |' * len(COLUMNS)}"]
    commits = dict.fromkeys(one["provenance"]["commit"] for one in kept)
    profiles = " and ".join(dict.fromkeys(f"`{one['profile']}`" for one in kept))
    source = f"\nFrom the notebooks as executed in the profile {profiles}, at commit {', '.join(commits)}.\n"
    return "\n".join([*head, *rows, source if kept else "", ""])


def peers(root: Path = ROOT) -> str:
    """The table of other libraries: how many times as long as ours their training step takes; its source."""
    measured = [
        one for one in performance.load(root / "results" / "performance.jsonl") if one.config["suite"] == "step"
    ]
    cases = [(kind, fields) for kind in KINDS for fields in performance.FIELDS]
    ratios = {(one.config["way"], one.config["kind"], one.config["fields"]): one.metrics for one in measured}
    cases = [case for case in cases if ("ncode", *case) in ratios]
    head = [f"{kind}, {performance.FIELDS[fields]}" for kind, fields in cases]
    lines = ["", f"| training step | {' | '.join(head)} |", "| --- |" + " ---: |" * len(head)]
    ours = [f"{1e3 * ratios['ncode', *case]['seconds']:.1f} ms" for case in cases]
    lines.append(f"| **ncode** | {' | '.join(ours)} |")
    for way in PEERS:
        cells = [_times(ratios.get((way, *case))) for case in cases]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            "The measurements behind this table; the book's page on performance has the others:",
            "",
            performance.described(measured),
            "",
        ]
    )


def _times(metrics: dict[str, float] | None) -> str:
    if not metrics:
        return "–"
    return f"{metrics['ratio']:.1f}× ({metrics['ratio_low']:.1f} to {metrics['ratio_high']:.1f})"
