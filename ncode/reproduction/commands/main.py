"""The command line ``ncode``: look at what was run and recorded, check it, run more, and see what is installed.

Each command is a few lines over a function of the library; what takes long to import is imported where it is needed.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ncode.reproduction.commands import found, health
from ncode.reproduction.words import counted

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Adaptive control for neural ODEs: the papers' experiments from the command line.

An **experiment** is one study of the papers, such as `annuli`. A **run** is one training of it, kept under its id in
the folder that `ncode doctor` names. A **recording** is a set of runs that took longer than a notebook should; it
travels with the package.

Start with `ncode doctor`, then `ncode list`, then `ncode show orbits_mnist`.""",
)

Name = Annotated[
    str,
    typer.Argument(
        help="A recording's name, or a run's id or its beginning.",
        metavar="NAME",
        autocompletion=lambda incomplete: [row[0] for row in found.recordings() if row[0].startswith(incomplete)],
    ),
]


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="What to list: experiments, recordings or runs.")] = "recordings",
    like: Annotated[str, typer.Option("--like", help="Only names that contain this.")] = "",
) -> None:
    """List experiments, recordings, or the finished runs on this machine.

    Examples: `ncode list`, `ncode list experiments`, `ncode list runs --like annuli`
    """
    kinds = {"experiments": found.experiments, "recordings": found.recordings, "runs": found.runs}
    if what not in kinds:
        raise typer.BadParameter(f"{what!r} is not one of {', '.join(kinds)}", param_hint="WHAT")
    for line in found.table([row for row in kinds[what]() if like in row[0]], what):
        typer.echo(line)


@app.command()
def show(name: Name) -> None:
    """Show what a recording or a run is: its settings, what came out, and where it was computed.

    Examples: `ncode show orbits_mnist`, `ncode show 6a3c2e20`
    """
    for line in found.description(_taken(name)):
        typer.echo(line)


@app.command()
def compare(first: Name, second: Name) -> None:
    """Set two recordings, or two runs, side by side: settings that differ, and every metric that both have.

    Example: `ncode compare latent_clustering_mnist latent_clustering_cifar10`
    """
    for line in found.comparison(first, _taken(first), second, _taken(second)):
        typer.echo(line)


@app.command()
def verify(
    recompute: Annotated[
        int, typer.Option("--recompute", metavar="N", help="Compute N random runs' metrics again from their weights.")
    ] = 0,
) -> None:
    """Check that every record is what was computed: checksums of contents and weights, ids, and recordings.

    It says what is wrong, names the file, and fails when anything is. Example: `ncode verify --recompute 3`
    """
    from ncode.reproduction.runs import verify as checks

    problems = checks.problems(recompute)
    for problem in problems:
        typer.echo(problem)
    typer.echo(counted(len(problems), "problem") if problems else "Everything is what was computed.")
    raise typer.Exit(bool(problems))


@app.command()
def run(
    experiment: Annotated[str, typer.Argument(help="An experiment: see `ncode list experiments`.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Fields of its configuration: seed=1 model=node.", metavar="FIELD=VALUE")
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="Where the other settings come from.")] = "cpu",
) -> None:
    """Make one run of an experiment, or find it finished.

    Whatever is not named is as in the profile, and the seed is 0. A run that was interrupted goes on where it stopped.

    Examples: `ncode run reflection model=node`, `ncode run annuli model=node iterations=100 --profile smoke`
    """
    try:
        made = found.make(experiment, profile, settings or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    for line in found.description([made]):
        typer.echo(line)


@app.command()
def queue(
    by: Annotated[str, typer.Option("--by", help="What a row is: recording or claim.")] = "recording",
    write: Annotated[str, typer.Option("--write", metavar="FILE", help="Write it for workflow/queue.smk.")] = "",
    device: Annotated[str, typer.Option("--device", help="Of the jobs that are written: cpu or cuda.")] = "cuda",
    only: Annotated[list[str] | None, typer.Option("--only", help="Write this recording alone; repeatable.")] = None,
    first: Annotated[int | None, typer.Option("--first", help="Write only the first N runs of a recording.")] = None,
    finished: Annotated[bool, typer.Option("--finished", help="Write finished runs, too.")] = False,
) -> None:
    """Show every planned run: how many are left, the hours that they take by device, and the claims that they decide.

    A `~` says that some of the hours are estimated; a `?` that nothing is known. With `--write`, it becomes the
    configuration of the workflow that makes every run a job of a cluster.

    Examples: `ncode queue`, `ncode queue --by claim`, `ncode queue --write _build/queue.json --device cuda`
    """
    from ncode.reproduction.runs import cli

    if by not in ("recording", "claim"):
        raise typer.BadParameter(f"{by!r} is neither recording nor claim", param_hint="--by")
    written = ["--write", write, "--device", device, *_each("--only", only)] if write else []
    written += ["--first", str(first)] if write and first is not None else []
    cli.main(["queue", "--by", by, *written, *(["--finished"] if write and finished else [])])


@app.command()
def collect(
    only: Annotated[list[str] | None, typer.Option("--only", help="This recording alone; may be repeated.")] = None,
) -> None:
    """Put the finished runs that lie here into their recordings: a cluster's jobs leave them in the folder of runs.

    Example: `ncode collect --only annuli_steering`
    """
    from ncode.reproduction.runs import cli

    cli.main(["collect", *_each("--only", only)])


@app.command()
def work(
    minutes: Annotated[float, typer.Option("--minutes", help="How long to work.")],
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    jobs: Annotated[int, typer.Option("--jobs", help="Runs side by side.")] = 1,
    only: Annotated[list[str] | None, typer.Option("--only", help="This recording alone; may be repeated.")] = None,
    keep: Annotated[
        str, typer.Option("--keep", metavar="FOLDER", help="Go on from the copies there, and keep copies there.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would start, and what it reaches.")] = False,
) -> None:
    """Make planned runs, the most valuable first, until the time is used.

    What still runs then is stopped and goes on next time, in the same bits. Recordings are written after every run.
    On a machine that may be taken away, `--keep` copies checkpoints every minute, and finished runs at once, into a
    folder elsewhere; the same option goes on from there.

    Examples: `ncode work --minutes 12 --device cuda --jobs 14 --keep /elsewhere`, `ncode work --minutes 12 --dry-run`
    """
    from ncode.reproduction.runs import cli

    told = ["--minutes", str(minutes), "--device", device, "--jobs", str(jobs), *_each("--only", only)]
    cli.main(["work", *told, *_each("--keep", [keep] if keep else []), *(["--dry-run"] if dry_run else [])])


@app.command()
def doctor() -> None:
    """Say what is installed, which devices there are, and where runs and data lie; fail when something is wrong.

    Put what it prints into a report of a problem.
    """
    facts = health.facts()
    width = max(len(fact.name) for fact in facts)
    for fact in facts:
        typer.echo(f"{'ok' if fact.fine else 'NO':2}  {fact.name:{width}}  {fact.value}")
    raise typer.Exit(not all(fact.fine for fact in facts if fact.needed))


def _each(option: str, values: list[str] | None) -> list[str]:
    return [word for value in values or [] for word in (option, value)]


def _taken(name: str) -> list[dict]:
    try:
        return found.named(name)
    except LookupError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None


def main() -> None:
    """Do what the command line asks for."""
    app(prog_name="ncode")


if __name__ == "__main__":
    main()
