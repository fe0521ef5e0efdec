"""The exercises on the pages that teach: each has a solution out of sight, whose code runs and checks what it says."""

import re
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEACHING = ["02_neural_odes", "03_open_and_closed_loop", "05_reflection", "07_theorem_1"]
SOLUTION = re.compile(r":::\{admonition\} Solution\n:class: dropdown ncode-solution\n(.*?)\n:::", re.S)
CODE = re.compile(r"```python\n(.*?)```", re.S)


def solutions(name: str) -> list[str]:
    text = "\n".join(cell.source for cell in jupytext.read(ROOT / "notebooks" / f"{name}.py").cells)
    asked = text.partition("\n## Exercises\n")[2].partition("\n## ")[0]
    found = SOLUTION.findall(asked)
    assert len(found) == len(re.findall(r"^\*\*\d\. ", asked, re.M)), "a solution for each exercise"
    return found


@pytest.mark.parametrize("name", TEACHING)
def test_a_page_that_teaches_has_two_or_three_exercises(name):
    assert 2 <= len(solutions(name)) <= 3


@pytest.mark.parametrize(("name", "solution"), [(name, text) for name in TEACHING for text in solutions(name)])
def test_a_solutions_code_runs_and_checks_something(name, solution):
    (code,) = CODE.findall(solution)
    assert "assert " in code
    exec(compile(code, name, "exec"), {})
