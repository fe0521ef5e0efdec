"""Workflows: which Pythons are tested, and what the weekly build does."""

from pathlib import Path

import yaml

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


def test_lint_checks_imports_and_types():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for tool in ("ruff check", "ruff format --check", "lint-imports", "pyright"):
        program, *arguments = tool.split()
        # Quoted: the environment's path may have a space.
        assert " ".join([f'"$(BIN)/{program}"', *arguments]) in makefile
