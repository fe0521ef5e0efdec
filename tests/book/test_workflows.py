"""Workflows: which Pythons are tested, and what the weekly build does."""

from pathlib import Path

import yaml

from ncode.reproduction.extras import REPOSITORY
from ncode.reproduction.publishing import archive
from ncode.reproduction.runs import kept
from ncode.reproduction.runs.archive import CHECKSUM

ROOT = Path(__file__).resolve().parents[2]


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


def test_three_pythons_are_tested():
    (job,) = workflow("ci.yml")["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert job["strategy"]["fail-fast"] is False


def test_every_week_the_newest_versions_are_tried_and_a_failure_opens_an_issue():
    weekly = workflow("weekly.yml")
    # YAML reads the key `on` as true.
    assert weekly[True]["schedule"]
    assert weekly["permissions"]["issues"] == "write"
    (job,) = weekly["jobs"].values()
    commands = [step.get("run", "") for step in job["steps"]]
    assert any("> constraints.txt" in command for command in commands), "nothing is held back"
    assert any("make test book PROFILE=smoke" in command for command in commands)
    assert any("gh issue create" in step.get("run", "") for step in job["steps"] if step.get("if") == "failure()")


def test_the_published_books_runs_lie_beside_it():
    build, _ = workflow("pages.yml")["jobs"].values()
    commands = [step.get("run", "") for step in build["steps"]]
    packed = commands.index("make archive")
    assert commands.index("make book") < packed
    at, name = archive.place(kept.PUBLISHED), kept.file_name(kept.PUBLISHED)
    html = next(step["with"]["path"] for step in build["steps"] if "upload-pages" in step.get("uses", ""))
    assert commands.index(f"cp {at} {at}{CHECKSUM} {html}/") > packed
    assert kept.published(REPOSITORY).endswith(f"/{name}")


def test_lint_checks_imports_and_types():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for tool in ("ruff check", "ruff format --check", "lint-imports", "pyright"):
        program, *arguments = tool.split()
        # Quoted: the environment's path may have a space.
        assert " ".join([f'"$(BIN)/{program}"', *arguments]) in makefile
