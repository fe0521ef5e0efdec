"""Verdicts as the book's pages show them: under their notebook, in two lines at its top, and on the page of results."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from ncode.reproduction.claims import claims
from ncode.reproduction.claims.questions import (
    AMENDED,
    FAILS,
    HOLDS,
    IN_PART,
    SETTINGS,
    UNDECIDED,
    UNTESTED,
    WORDS,
    Answer,
    Evidence,
    expected_by_chance,
)
from ncode.reproduction.publishing import downloads
from ncode.reproduction.publishing.display import Verdict, aside
from ncode.reproduction.publishing.forest import IN_SIGHT, MARKS, drawn, forest
from ncode.reproduction.publishing.numbers import interval, number

CLASSES = {HOLDS: "holds", IN_PART: "in-part", FAILS: "fails", UNDECIDED: "undecided", UNTESTED: "untested"}

FORESTS_IN_SIGHT = 3
"""A verdict with more forest plots shows each on demand: its sentences have the numbers that decide."""

PAPERS = {"N": "N-CODE", "A": "ANODE"}


def admonition(shown: Mapping, link: str, folded: bool = False, said: str = "") -> str:
    """A claim's verdict: its questions with their answers and forest plots, then what decides nothing.

    Args:
        link: where to read on.
        folded: show the title alone until the reader opens it.
        said: the paper's own words, where they are to stand in it.
    """
    verdict, claim = Verdict.read(shown), claims.get(shown["claim"])
    body = [f"{claim.text} *({claim.where})*"]
    asked = [answer for answer in verdict.decision.answers if answer.evidence]
    many = sum(bool(drawn(answer)) for answer in asked) > FORESTS_IN_SIGHT
    source = shown.get("source") or f"notebooks/{claim.home}.py"
    for answer in asked:
        body.append(f"**{_part(verdict, answer)}{answer.word}.** {_sentence(answer)}")
        body += _amended(answer, verdict)
        if drawn(answer):
            body.append(_plot(answer, downloads.forest(claim.id, answer, source), shut=many))
    body += _untested(verdict)
    if context := _context(verdict):
        body.append(context)
    body += [part for part in (verdict.note, said, f"*{evidence(verdict)}* · {link}") if part]
    inside = "\n\n".join(body)
    where = f", {SETTINGS[verdict.nearness]}" if verdict.nearness else ""
    # On the page of results, where it is folded, its heading is the label.
    options = " dropdown" if folded else f"\n:name: {anchor(claim.id)}"
    return (
        f":::::{{admonition}} {claim.id}: {verdict.verdict}{where}\n"
        f":class: ncode-verdict ncode-{CLASSES[verdict.verdict]}{options}\n\n{inside}\n:::::\n"
    )


def _plot(answer: Answer, offer: str, shut: bool) -> str:
    """The forest plot of an answer; behind a switch its other rows and its numbers, or all of it where it is shut."""
    count = len(drawn(answer))
    rest = f"All {count} rows, and the numbers" if count > IN_SIGHT else "The numbers"
    folds = ' class="ncode-more"' if count > IN_SIGHT else ' class="ncode-numbers"'
    head = "<details><summary>Every setting, with its interval</summary>" if shut else ""
    opened = f'<div class="ncode-plot">{head}{forest(answer)}<details{folds}><summary>{rest}</summary>'
    closed = f"</details>{'</details>' if shut else ''}</div>"
    return f"```{{raw}} html\n{opened}\n```\n\n{offer}\n```{{raw}} html\n{closed}\n```"


def _untested(verdict: Verdict) -> list[str]:
    """What was asked and never run, in one paragraph."""
    left = [answer for answer in verdict.decision.answers if not answer.evidence]
    if not left:
        return []
    parts = ", ".join(answer.question.part for answer in left)
    head = f"{parts}: " if len(verdict.decision.answers) > 1 else ""
    asked = "; ".join(_asked(answer) for answer in left)
    changed = [text for answer in left for text in _amended(answer, verdict)]
    return [f"**{head}{UNTESTED}.** Asked: {asked}.", *changed]


def _asked(answer: Answer) -> str:
    by_construction = answer.question.by_construction
    return answer.question.asks + (f" (it counts for nothing: {by_construction})" if by_construction else "")


def _amended(answer: Answer, verdict: Verdict) -> list[str]:
    """When and why the question changed, and what was asked first, behind a switch: it is long, and decides nothing."""
    question = answer.question
    if not question.amended:
        return []
    first = next((old.asks for old in claims.declared()[verdict.claim] if old.part == question.part), "nothing")
    asked = "" if first == question.asks else f" First asked: {first}."
    why = question.amended.partition(": ")[2]
    head = f"{_part(verdict, answer)}The question was amended on {question.since[:10]}"
    return [aside(head, f"{why[0].upper()}{why[1:]}.{asked}")]


def _part(verdict: Verdict, answer: Answer) -> str:
    return f"{answer.question.part}: " if len(verdict.decision.answers) > 1 else ""


def _sentence(answer: Answer) -> str:
    """What was asked, and the evidence that decides, in one or two sentences."""
    asked = f"Asked: {answer.question.asks}."
    if answer.question.by_construction:
        asked += f" It counts for nothing: {answer.question.by_construction}."
    return f"{asked} {found(answer)}"


def found(answer: Answer) -> str:
    """The deciding evidence in one sentence; measured cases stand in the forest plot, exact ones in the sentence."""
    if not answer.deciding:
        return "No run decides it: what stands below was declared as context."
    one = answer.deciding[0]
    seeds = f", {one.seeds} seed{'' if one.seeds == 1 else 's'}" if one.seeds else ""
    where = f"{one.setting}, {SETTINGS[one.nearness]}{seeds}"
    if one.interval is None:
        return f"Found: {_cases(answer)}{where}.{_older(answer)}"
    few = one.seeds < answer.question.seeds
    short = f" Fewer seeds than the {answer.question.seeds} that it asks for decide nothing." if few else ""
    return f"Found: {_brief(answer)} ({answer.question.measure}); {where}.{short}{_older(answer)}"


def _older(answer: Answer) -> str:
    which = {"all": "These runs", "some": "Some of these runs", "": ""}[answer.older]
    return f" {which} are older than the question{' as it stands' if answer.question.amended else ''}." if which else ""


def _cases(answer: Answer) -> str:
    """Of an exact question about several cases: which ones it is true of, and which not."""
    said = []
    for head, held in (("true of", True), ("not true of", False)):
        of = [one.of for one in answer.deciding if one.of and one.exact is held]
        said += [f"{head} {', '.join(of)}; "] if of else []
    return "".join(said)


def _numbers(answer: Answer) -> str:
    return "; ".join((f"{one.of} " if one.of else "") + _estimate(one) for one in answer.measured)


def _brief(answer: Answer) -> str:
    """The numbers of one or two cases; of more, the range of their estimates."""
    if len(answer.measured) <= 2:
        return _numbers(answer)
    estimates = [_middle(one) for one in answer.measured]
    return f"{len(estimates)} cases, from {number(min(estimates), 3)} to {number(max(estimates), 3)}"


def _estimate(one: Evidence) -> str:
    bounds = one.total or one.interval
    # A run that never gets there takes infinitely long, and has no interval.
    return f"{number(_middle(one), 3)} {interval(bounds)}" if all(map(math.isfinite, bounds)) else number(_middle(one))


def _middle(one: Evidence) -> float:
    return sum(one.interval) / 2 if one.estimate is None else one.estimate


def _context(verdict: Verdict) -> str:
    lines = []
    for head, of in grouped(list(verdict.context.items())):
        lines += [f"- **{head}**"] if head else []
        lines += [f"{'  ' if head else ''}- {MARKS[held]} {name}" for name, held in of]
    if not lines:
        return ""
    return aside("Context, which decides nothing", "\n".join(lines))


def grouped(checks: Iterable[Sequence]) -> list[tuple[str, list[tuple[str, bool | None]]]]:
    """Checks under what several of them begin with, up to a colon; a check that shares it with none stands alone.

    A group stands where its first check does; of a check alone the first part is empty.
    """
    groups: dict[str, list[tuple[str, bool | None]]] = {}
    for name, held in checks:
        groups.setdefault(name.partition(": ")[0], []).append((name, held))
    return [
        (head, [(name.removeprefix(f"{head}: "), held) for name, held in of]) if len(of) > 1 else ("", of)
        for head, of in groups.items()
    ]


def evidence(verdict: Verdict) -> str:
    """What a verdict rests on: profile, seeds, runs."""
    if not verdict.evidence:
        return "nothing ran"
    runs = {id_ for one in verdict.evidence for id_ in one.runs} | set(verdict.runs)
    kept = f", {len(runs)} run{'' if len(runs) == 1 else 's'}" if runs else ", no randomness involved"
    return f"{verdict.profile} profile{kept}"


def in_short(verdicts: list[Mapping]) -> str:
    """The answers for the top of a notebook: what was asked, what came out, how sure."""
    lines = []
    for shown in verdicts:
        verdict, claim = Verdict.read(shown), claims.get(shown["claim"])
        where = f" ({SETTINGS[verdict.nearness]})" if verdict.nearness else ""
        more = [_answered(answer) for answer in verdict.decision.counted if answer.deciding]
        left = len(verdict.decision.counted) - len(more)
        alone = f": {more[0]}" if len(more) == 1 and not left else ""
        lines.append(f"- {{ref}}`{claim.id} <{anchor(claim.id)}>` {claim.short}: **{verdict.verdict}**{where}{alone}")
        if not alone:
            lines += [f"  - {line}" for line in more]
            lines += [f"  - not tested: {left} of {len(verdict.decision.counted)} questions"] if more and left else []
    return "::::{div} ncode-short\n**In short**\n\n" + "\n".join(lines) + "\n::::\n"


def anchor(claim: str) -> str:
    """The label of the verdict on a claim, on the page of its notebook."""
    return f"verdict-{claim.lower()}"


def _answered(answer: Answer) -> str:
    measured = f" – {_brief(answer)}" if answer.measured else ""
    return f"*{answer.word}*: {answer.question.asks}{measured}"


def results_table(executed) -> str:
    """Every claim on one screen, filterable by verdict and paper: claim, the paper's number, ours, verdict, link."""
    rows, numbers = [], []
    for claim in claims.load().values():
        shown = executed.verdicts.get(claim.id)
        verdict = Verdict.read(shown) if shown else Verdict(claim.id)
        for answer in verdict.decision.answers:
            numbers += [[claim.id, verdict.verdict, *row] for row in downloads.forest_rows(answer)]
        rows.append(_result(claim, verdict))
    filters = _filter("verdict", WORDS) + _filter("paper", PAPERS.values())
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("claim", "in short", "verdict", "setting", "the paper", "ours")
    )
    return (
        f'```{{raw}} html\n<div class="ncode-results" role="region" aria-label="all claims" tabindex="0">'
        f"{filters}<table data-claims><thead><tr>{head}</tr></thead>"
        f'<tbody>{"".join(rows)}</tbody></table></div><script src="../_static/results.js" defer></script>\n```\n\n'
        + downloads.offer("claims.csv", downloads.as_csv(["claim", "verdict", *downloads.FOREST_COLUMNS], numbers))
    )


def _filter(name: str, words) -> str:
    options = "".join(f"<option>{html.escape(word)}</option>" for word in words)
    return f'<label>{name} <select data-filter="{name}"><option value="">all</option>{options}</select></label> '


def _result(claim: claims.Claim, verdict: Verdict) -> str:
    published = dict.fromkeys(a.question.published for a in verdict.decision.counted if a.question.published)
    word = verdict.verdict
    return (
        f'<tr data-verdict="{word}" data-paper="{PAPERS[claim.id[0]]}"><th scope="row">'
        f'<a href="#claim-{claim.id.lower()}">{claim.id}</a>{AMENDED if claim.amended else ""}</th>'
        f"<td>{html.escape(claim.short)}</td>"
        f'<td><span class="ncode-word ncode-{CLASSES[word]}">{word}</span></td><td>{verdict.nearness or "–"}</td>'
        f"<td>{html.escape(_with_minus(next(iter(published), 'no number')))}</td><td>{ours(verdict)}</td></tr>"
    )


def _with_minus(text: str) -> str:
    """A number as the paper printed it, with a minus sign for a hyphen."""
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") else text


def ours(verdict: Verdict) -> str:
    """What this book has beside the paper's number, as HTML.

    The first measured question's numbers, with a sign where there are more, and of a claim that does not hold the first
    that fails; of a claim without any, how many of its proofs and exact checks came out true.
    """
    decision = verdict.decision
    measured = [answer for answer in decision.counted if answer.measured]
    measured.sort(key=lambda answer: decision.word == FAILS and answer.word != FAILS)
    if not measured:
        exact = [answer for answer in verdict.decision.counted if answer.deciding]
        held = sum(answer.word == HOLDS for answer in exact)
        return f"{held} of {len(exact)} exact check{'' if len(exact) == 1 else 's'}" if exact else "not run"
    first = next(iter(drawn(measured[0])), measured[0].measured[0])
    numbers = f"{html.escape(_part(verdict, measured[0]))}{_estimate(first)}"
    return numbers + (" …" if len(measured) > 1 or len(measured[0].measured) > 1 else "")


def by_chance(executed) -> str:
    """How many of the questions would hold by chance alone, in one sentence."""
    decisions = {id_: Verdict.read(shown).decision for id_, shown in executed.verdicts.items()}
    expected = expected_by_chance(decisions)
    asked = sum(bool(answer.measured) for decision in decisions.values() for answer in decision.counted)
    return (
        f"Intervals are not corrected for their number: of the {asked} questions that an interval answers, "
        f"{number(expected)} would hold by chance if there were no differences at all.\n"
    )


def picture(executed) -> str:
    """All verdicts in one picture: a square for each claim, by paper."""
    rows = []
    for letter, name in PAPERS.items():
        squares = "".join(_square(executed, claim) for claim in claims.load().values() if claim.id.startswith(letter))
        rows.append(f'<div class="ncode-squares"><span>{name}</span>{squares}</div>')
    legend = "".join(f'<span class="ncode-word ncode-{CLASSES[word]}">{word}</span> ' for word in WORDS)
    return f'```{{raw}} html\n<div class="ncode-picture">{"".join(rows)}<p>{legend}</p></div>\n```\n'


def _square(executed, claim: claims.Claim) -> str:
    shown = executed.verdicts.get(claim.id)
    word = shown["verdict"] if shown else UNTESTED
    title = html.escape(f"{claim.id}, {claim.short}: {word}")
    return (
        f'<a class="ncode-{CLASSES[word]}" href="results.html#claim-{claim.id.lower()}" title="{title}">{claim.id}</a>'
    )
