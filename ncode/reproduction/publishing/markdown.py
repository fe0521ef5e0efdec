"""What the book's pages say that comes from data: verdicts, claims, published numbers, costs, modules.

Every function returns MyST Markdown. Those in ``FILLS`` answer a line ``{{ name arguments }}`` of a page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ncode.reproduction import profiles
from ncode.reproduction.claims import claims, published
from ncode.reproduction.claims import settings as stated
from ncode.reproduction.extras import DISTRIBUTION
from ncode.reproduction.interactive.figure import markup
from ncode.reproduction.publishing import (
    api,
    cluster,
    downloads,
    front,
    gallery,
    measured,
    sync,
    verdicts,
)
from ncode.reproduction.publishing.display import Verdict, aside
from ncode.reproduction.publishing.tables import flat_text, list_table
from ncode.reproduction.runs import recordings
from ncode.reproduction.words import counted

# What notebooks said on other machines and in other profiles (written by ncode.reproduction.publishing.elsewhere).
ELSEWHERE = sync.ROOT / "book" / "elsewhere"


def numbered_figure(shown: Mapping) -> str:
    """A numbered figure from the content of a :class:`ncode.reproduction.publishing.display.Figure`."""
    options = {"name": shown["name"], "alt": flat_text(shown["alt"]), "width": f"{shown['width']}px"}
    lines = "\n".join(f":{option}: {value}" for option, value in options.items())
    written = (
        f"::::{{figure}} /{downloads.FIGURES}/{shown['name']}.png\n{lines}\n\n{flat_text(shown['caption'])}\n::::\n"
    )
    if shown.get("vectors"):
        written += f"\n{vectors(shown['name'], shown.get('source', ''))}"
    return _folded(shown, written)


def _folded(shown: Mapping, written: str) -> str:
    """``written``, on demand where what is shown has a title for that."""
    if not shown.get("folded"):
        return written
    return aside(flat_text(shown["folded"]), written)


def vectors(name: str, source: str = "") -> str:
    """The offer of the SVG of the figure called ``name``."""
    return downloads.offer(f"{name}.svg", source=source, of=f"{downloads.FIGURES}/{name}.svg")


def table(shown: Mapping) -> str:
    """A numbered table from the content of a :class:`ncode.reproduction.publishing.display.Table`."""
    source = shown.get("source", "")
    return _folded(shown, list_table(shown["name"], shown["caption"], shown["columns"], shown["rows"], source))


def verdict(shown: Mapping) -> str:
    """An admonition from the content of a :class:`ncode.reproduction.publishing.display.Verdict`, with a link to all
    claims."""
    id_ = claims.get(shown["claim"]).id
    return verdicts.admonition(shown, f"{{ref}}`All claims<claim-{id_.lower()}>`")


def took(shown: Mapping) -> str:
    """One paragraph from the content of a :class:`ncode.reproduction.publishing.display.Took`."""
    runs = len(shown["runs"])
    trained = (
        f" Its {counted(runs, 'training run')} took {shown['training_seconds']:.0f} s when they were computed "
        f"({counted(shown['seeds'], 'seed')})."
    )
    facts = _facts(shown["provenance"])
    page = f"This page took {shown['seconds']:.0f} s in the **{shown['profile']}** profile."
    if shown.get("kept"):
        page = f"This page took {shown['seconds']:.0f} s and trained nothing: it shows {shown['kept']}."
    return f"{page}{trained if runs else ''} {facts}.\n"


def _facts(provenance: Mapping) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in provenance["versions"].items())
    threads = counted(provenance["threads"], "thread")
    return f"{provenance['device']}; {threads} a notebook; {versions}; commit `{provenance['commit']}`"


def _home(executed, name: str) -> str:
    if name in executed.titles:
        return f"{{doc}}`/notebooks/{name}`"
    return "its notebook is not written yet"


def claim_list(executed, letter: str) -> str:
    """Every claim whose id begins with ``letter``, with its verdict from the executed notebooks."""
    return "\n".join(_claim(executed, claim) for claim in claims.load().values() if claim.id.startswith(letter))


def _claim(executed, claim: claims.Claim) -> str:
    shown = executed.verdicts.get(claim.id) or Verdict(claim.id, profile=executed.profile).content()
    written = verdicts.admonition(shown, _home(executed, claim.home), folded=True, said=said(claim))
    return f"(claim-{claim.id.lower()})=\n### {claim.id}: {claim.short}\n\n{written}"


def said(claim: claims.Claim) -> str:
    """The paper's own words of a claim, as quotations, and the reading taken of what they leave open."""
    quoted = "".join(f"\n> “{words}”\n" for words in claim.says)
    return quoted + (f"\n*Reading.* {claim.reading}\n" if claim.reading else "")


def published_table(executed, name: str) -> str:
    """The published table ``name`` of ``published.toml``, with a column for ours beside each of the paper's."""
    one, ours = published.get(name), executed.ours.get(name)
    measured = ours["rows"] if ours else {}
    missing = "–" if ours else "not yet"
    columns = [one.rows_are]
    for column in one.columns:
        columns += [f"{column}, published", "ours"] if one.ours else [column]
    rows = []
    for label, values in one.rows.items():
        row = [label]
        for column, value in zip(one.columns, values, strict=True):
            row += [value, measured.get(label, {}).get(column, missing)] if one.ours else [value]
        rows.append(row)
    caption = f"{one.caption} Source: {one.source}."
    if ours:
        caption += f" Ours, from {_home(executed, ours['notebook'])}: {ours['setting']} –: not tested here."
    return list_table(f"tab-published-{name}", caption, columns, rows)


def ours(shown: Mapping) -> str:
    """One sentence in the place of a :class:`ncode.reproduction.publishing.display.Ours`: the page on results has the
    numbers."""
    return f"{{ref}}`The page on results<tab-published-{shown['table']}>` sets these numbers beside the paper's.\n"


def costs(executed) -> str:
    """What every notebook took: seconds, seeds, runs."""
    if not executed.took:
        return "No notebook of this build recorded what it took.\n"
    rows = [
        [
            _home(executed, name),
            f"{took['seconds']:.0f}",
            f"{took['training_seconds']:.0f}",
            str(took["seeds"]),
            str(len(took["runs"])),
        ]
        for name, took in executed.took.items()
    ]
    every = {run for took in executed.took.values() for run in took["runs"]}
    rows.append(["all", str(round(sum(float(row[1]) for row in rows))), "", "", str(len(every))])
    caption = (
        f"What each notebook took in the {executed.profile} profile. Finished training runs are kept, so a "
        "page takes little when its runs were there already; the column of training runs says what they took when new. "
        "Some runs serve more than one page."
    )
    return list_table("tab-costs", caption, ["notebook", "page, s", "training runs, s", "seeds", "runs"], rows)


def executed_elsewhere(executed) -> str:
    """What notebooks took on other machines and in other profiles, and whether their verdicts were this build's."""
    files = sorted(ELSEWHERE.glob("*.json"))
    kept = [one for path in files for one in json.loads(path.read_text(encoding="utf-8"))]
    rows = []
    for one in sorted(kept, key=lambda one: (one["profile"], one["notebook"])):
        words = [
            f"{claim} {word}" + ("" if word == executed.verdicts.get(claim, {}).get("verdict") else " (differs here)")
            for claim, word in one["verdicts"].items()
        ]
        # The smoke profile's numbers say nothing.
        told = "–" if one["profile"] == "smoke" else ", ".join(words) or "none asked"
        rows.append(
            [
                _home(executed, one["notebook"]),
                one["profile"],
                f"{one['seconds']:.0f}",
                one["provenance"]["device"],
                told,
            ]
        )
    commits = ", ".join(sorted({f"`{one['provenance']['commit']}`" for one in kept}))
    versions = "; ".join(
        sorted({", ".join(f"{k} {v}" for k, v in one["provenance"]["versions"].items()) for one in kept})
    )
    caption = (
        f"Notebooks that were executed on other machines ({versions}; commit {commits}). *Differs here* marks a "
        "verdict that this build does not share. Several notebooks ran side by side."
    )
    return list_table("tab-elsewhere", caption, ["notebook", "profile", "page, s", "device", "verdicts"], rows)


def machine(executed) -> str:
    """On what the notebooks ran: device, threads, commit, versions."""
    seen: dict[str, list[str]] = {}
    for name, shown in executed.took.items():
        seen.setdefault(_facts(shown["provenance"]), []).append(name.split("_", 1)[0])
    return "\n".join(f"- notebooks {', '.join(names)}: {facts}" for facts, names in seen.items()) + "\n"


def settings(executed) -> str:
    """What ``profiles.toml`` gives each notebook in each profile."""
    parts = []
    for name in executed.titles:
        section = name.split("_", 1)[1]
        tables = {profile: profiles.load(section, profile) for profile in profiles.NAMES}
        columns = {profile: _flat(table.options | table.settings) for profile, table in tables.items()}
        keys = sorted({key for column in columns.values() for key in column})
        if keys:
            rows = [[f"`{key}`", *(f"`{column.get(key, '—')}`" for column in columns.values())] for key in keys]
            caption = f"Settings of {executed.titles[name]}."
            parts.append(list_table(f"tab-settings-{section.replace('_', '-')}", caption, ["setting", *columns], rows))
    return (
        "\n".join(parts) or "No notebook of this build has settings of its own: it costs the same in every profile.\n"
    )


def _flat(settings: Mapping, above: str = "") -> dict:
    """Nested settings as one table's rows: ``sets.mnist.size``."""
    found = {}
    for name, value in settings.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return found


def figure(executed, name: str) -> str:
    """A figure of one of the notebooks, shown on another page with a link to where it is made."""
    if name not in executed.figures:
        raise ValueError(f"figure: no executed notebook has one called {name!r}")
    shown = executed.figures[name]
    caption = f"{flat_text(shown.caption)} From {{doc}}`/notebooks/{shown.notebook}`."
    return f"::::{{figure}} /{downloads.FIGURES}/{name}.png\n:alt: {flat_text(shown.alt)}\n\n{caption}\n::::\n"


def recordings_described(executed) -> str:
    """What every recording in ``results/`` consists of."""
    return "\n".join(recordings.describe(path.stem) for path in sorted(recordings.folder().glob("*.json"))) + "\n"


def live(shown: Mapping) -> str:
    """A live figure: its markup, and the script that all live figures share."""
    script = '<script src="../_static/interactive.js" defer></script>'
    offered = downloads.offer(f"{shown['name']}.json", shown["data"], source=shown.get("source", ""))
    return f"```{{raw}} html\n{markup(shown)}{script}\n```\n\n{offered}"


def live_figure(executed, name: str) -> str:
    """The live figure called ``name``, for a page that is no notebook.

    Raises:
        ValueError: when no notebook of this build made it.
    """
    if name not in executed.live:
        raise ValueError(f"{name}: no notebook of this build made such a live figure")
    shown = executed.live[name]
    return f"{live(shown)}\nFrom {{doc}}`/notebooks/{shown['notebook']}`.\n"


def notebooks(executed) -> str:
    """The notebooks of this build, each with its link to Colab."""
    url = sync.repository_url()
    return (
        "\n".join(f"- {{doc}}`/notebooks/{name}` ([on Colab]({sync.colab_url(name, url)}))" for name in executed.titles)
        + "\n"
    )


def repository(executed) -> str:
    """The commands that fetch and build the book."""
    return f"```sh\ngit clone {sync.repository_url()}\ncd ncode\nmake book\n```\n"


def install(executed) -> str:
    """The command that installs the library alone."""
    return f'```sh\npip install "{DISTRIBUTION} @ git+{sync.repository_url()}"\n```\n'


def stated_settings(executed) -> str:
    """Every experiment whose settings a paper states: a table beside ours, and what is left open."""
    parts = []
    for experiment in stated.load().values():
        name = experiment.id.replace("_", "-")
        caption = f"{experiment.title}: what is stated ({experiment.source}), and ours."
        rows = stated.comparison(experiment)
        table = list_table(f"tab-stated-{name}", caption, stated.SCALE_COLUMNS, rows)
        readings = "\n".join(f"- {reading}" for reading in experiment.open)
        page = f"Page: {_home(executed, experiment.page)}.\n"
        parts.append("\n".join(part for part in (f"## {experiment.title}\n", page, table, readings, "") if part))
    return "\n".join(parts)


FILLS = {
    "claims": claim_list,
    "results": verdicts.results_table,
    "sentences": front.sentences,
    "open_questions": front.open_questions,
    "queue": front.queue,
    "queue_costs": cluster.costs,
    "scope": front.scope,
    "report_results": front.report_results,
    "report_costs": front.report_costs,
    "cite": front.cite,
    "changelog": front.changelog,
    "declared": front.declared,
    "by_chance": verdicts.by_chance,
    "picture": verdicts.picture,
    "published": published_table,
    "costs": costs,
    "elsewhere": executed_elsewhere,
    "stated": stated_settings,
    "machine": machine,
    "settings": settings,
    "figure": figure,
    "live": live_figure,
    "notebooks": notebooks,
    "recordings": recordings_described,
    "measured": measured.fill,
    "repository": repository,
    "install": install,
    "modules": api.index,
    "gallery": gallery.page,
}
