"""The book's pages that tell the whole: the front page, the status page and the report."""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path

from ncode import __version__
from ncode.reproduction.claims import claims
from ncode.reproduction.claims.evidence import minute
from ncode.reproduction.claims.questions import (
    DECLARED,
    FAILS,
    HOLDS,
    IN_PART,
    SETTINGS,
    UNDECIDED,
    UNTESTED,
    WORDS,
    Decision,
)
from ncode.reproduction.publishing import downloads, sync
from ncode.reproduction.publishing.display import Verdict
from ncode.reproduction.publishing.numbers import number
from ncode.reproduction.publishing.verdicts import PAPERS, found
from ncode.reproduction.runs import queue as planned
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import named


def sentences(executed) -> str:
    """What this book found, in a few sentences: each follows from its claim's word."""
    lines = []
    for claim in claims.load().values():
        word = executed.verdicts.get(claim.id, {}).get("verdict", UNTESTED)
        if word in claim.found:
            lines.append(f"{len(lines) + 1}. {claim.found[word]} ({{ref}}`{claim.id} <claim-{claim.id.lower()}>`)")
    return "\n".join(lines) + "\n" if lines else "Nothing has been decided in this build.\n"


def decisions(executed) -> dict[str, Decision]:
    """Every claim's decision in this build; of a claim that no notebook tests, an empty one."""
    shown = executed.verdicts
    return {id_: (Verdict.read(shown[id_]) if id_ in shown else Verdict(id_)).decision for id_ in claims.load()}


def open_questions(executed) -> str:
    """The questions that nothing answers, and those that only a setting below the paper's answers."""
    unanswered, smaller = [], []
    for id_, decision in decisions(executed).items():
        for answer in decision.counted:
            where = f"{{ref}}`{id_} <claim-{id_.lower()}>`{answer.question.part}"
            if not answer.deciding:
                unanswered.append(f"- {where}: {answer.question.asks}")
            elif answer.deciding[0].nearness != "paper":
                one = answer.deciding[0]
                smaller.append(f"- {where}: {answer.question.asks} — {SETTINGS[one.nearness]}: {one.setting}")
    parts = [("Not tested", unanswered), ("Tested below the paper's setting", smaller)]
    return "\n\n".join(f"## {head}\n\n" + ("\n".join(lines) or "Nothing.") for head, lines in parts) + "\n"


def queue(executed) -> str:
    """The planned runs that are not finished, by recording: what they decide, and the hours that they take."""
    head = ["priority", "recording", "decides", "runs left", *(f"hours, {device}" for device in planned.DEVICES)]
    entries = planned.left(planned.entries(map(named, planned.RECORDING_EXPERIMENTS)))
    columns = "".join(f'<th scope="col">{name}</th>' for name in head)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>" for row in planned.table(entries))
    table = f"<table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        "These are the planned runs that are not finished, by recording. Those of priority 1 come first. *decides* "
        "names the claims that they are about, and – says that none is asked of them alone. Hours are those of the "
        "runs that are left.\n\n"
        f'```{{raw}} html\n<div class="ncode-results" role="region" aria-label="planned runs" tabindex="0">'
        f"{table}</div>\n```\n\n"
        f"{downloads.offer('queue.csv', downloads.as_csv(head, planned.table(entries)))}\n"
        "Hours that begin with ~ rest on an estimate; ? means that nothing is known. `ncode work` takes these runs in "
        "this order.\n"
    )


SAID = {
    HOLDS: ("holds", "hold"),
    IN_PART: ("holds in part", "hold in part"),
    FAILS: ("does not hold", "do not hold"),
    UNDECIDED: ("is undecided", "are undecided"),
    UNTESTED: ("is not tested", "are not tested"),
}
"""What a sentence says of one claim, and of several, that have a word."""


def declared(executed) -> str:
    """When the questions were written down, how many of the recorded runs are older, and how many were amended."""
    names = sorted(path.stem for path in recordings.folder().glob("*.json"))
    starts = [minute(run) for name in names for run in recordings.find(name)]
    before = sum(started < DECLARED for started in starts)
    asked = [question for claim in claims.load().values() for question in claim.questions]
    amended = sum(bool(question.amended) for question in asked)
    return (
        "We computed the first verdicts on 22 November 2026, from checks that each notebook had. On 26 November, at "
        f"{DECLARED[-5:]} UTC, we replaced these by questions. By then we had seen many results: {number(before)} of "
        f"the {number(len(starts))} recorded runs are older. So a verdict says whether the runs that decide it are "
        f"older than its question. {number(amended)} of the {number(len(asked))} questions were amended or added "
        "later, and each says so; a test compares them with those that were first written down.\n"
    )


def scope(executed) -> str:
    """How many claims of each paper have which word."""
    lines = []
    for letter, name in PAPERS.items():
        words = Counter(d.word for id_, d in decisions(executed).items() if id_.startswith(letter))
        counted = ", ".join(f"{words[word]} {SAID[word][words[word] > 1]}" for word in WORDS if words[word])
        lines.append(f"- {name}: {sum(words.values())} claims; {counted}.")
    return "\n".join(lines) + "\n"


def report_results(executed) -> str:
    """Each claim in a few lines: the word, and the evidence that decides each of its questions."""
    lines = []
    for id_, decision in decisions(executed).items():
        claim = claims.get(id_)
        where = f", {SETTINGS[decision.nearness]}" if decision.nearness else ""
        lines.append(f"**{id_}, {claim.short}: {decision.word}**{where}.")
        for answer in decision.counted:
            if answer.measured:
                lines.append(f"{answer.question.part}: {found(answer)}")
        lines.append("")
    return "\n".join(lines) + "\n"


def report_costs(executed) -> str:
    """What this build took, in hours of its machine."""
    if not executed.took:
        return "No notebook of this build recorded what it took.\n"
    pages = sum(took["seconds"] for took in executed.took.values())
    training = sum(took["training_seconds"] for took in executed.took.values())
    device = next(iter(executed.took.values()))["provenance"]["device"]
    hours = number(pages / 3600), number(training / 3600)
    return (
        f"The pages of this build took {hours[0]} hours on one thread each of {device}; the trainings behind them "
        f"{hours[1]} hours when they were computed. {{doc}}`reproducing` has the recordings, with what each took.\n"
    )


def cite(executed) -> str:
    """This book and the paper, as BibTeX."""
    return (
        "```bibtex\n@misc{ncode_companion,\n  title = {Adaptive control for neural ODEs: a reproducible companion},\n"
        f"  author = {{{{The ncode authors}}}},\n  version = {{{__version__}}},\n"
        f"  url = {{{sync.repository_url()}}}\n}}\n\n"
        "@inproceedings{chalvidal2021,\n  title = {Go with the flow: Adaptive Control for Neural ODEs},\n"
        "  author = {Chalvidal, Mathieu and Ricci, Matthew and VanRullen, Rufin and Serre, Thomas},\n"
        "  booktitle = {International Conference on Learning Representations},\n  year = {2021}\n}\n```\n"
    )


def changelog(executed) -> str:
    """The list of changes, as the repository has it."""
    path = Path(sync.ROOT, "CHANGELOG.md")
    return path.read_text(encoding="utf-8") if path.exists() else "# Changes\n\nNone yet.\n"
