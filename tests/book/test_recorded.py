"""The profile `recorded`: pages are drawn from an archive of finished runs, and nothing is trained."""

import json
import os
import re
from pathlib import Path
from unittest import mock

import nbformat
import pytest

from ncode.reproduction.publishing import archive, build, execute, stage
from ncode.reproduction.runs import kept, store
from ncode.reproduction.runs.archive import Archive, ArchiveError

ROOT = Path(__file__).resolve().parents[2]

FORBIDDEN = """
# %%
import ncode.training
from ncode.reproduction.runs.experiment import Experiment
def refuse(*_, **__): raise AssertionError("something was trained")
Experiment._compute = ncode.training.fit = refuse

"""

SMALL = """# %% [markdown]
# # A small page

# %% tags=["parameters"]
profile = "cpu"
runs = ""

# %%
from ncode.reproduction.experiments import reflection
from ncode.reproduction.publishing.display import Page

page = Page("05_reflection", profile, runs)

# %%
few = {"iterations": 2, "points": 20, "hidden": (4,), "control_hidden": (4,)}
found = reflection.experiment.sweep(("node", "open"), 2, **few)
parameters = sum(p.numel() for p in found["open"][0].model().parameters())
print(parameters, {model: [run.metrics for run in made] for model, made in found.items()})

# %%
page.took(found["node"])
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder for builds, runs and caches of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv(kept.VARIABLE, raising=False)
    with mock.patch.dict(os.environ):
        yield tmp_path
    kept.leave()


def executed(source: Path, profile: str) -> nbformat.NotebookNode:
    to = archive.BUILDS / profile / "executed" / f"{source.stem}.ipynb"
    assert execute.execute(source, to, profile) is None
    return nbformat.read(to, as_version=4)


def drawn_again(source: Path, place: Path, monkeypatch) -> tuple[stage.Executed, stage.Executed]:
    """What a page says in the profile smoke, and of that page's archive with an empty store, where training fails."""
    trained = executed(source, "smoke")
    assert archive.main(["smoke"]) == 0
    monkeypatch.setenv(kept.VARIABLE, str(archive.place("smoke").absolute()))
    monkeypatch.setenv("NCODE_RUNS", str(place / "empty"))
    forbidding = place / "forbidding" / source.name
    forbidding.parent.mkdir()
    text = source.read_text(encoding="utf-8")
    first = text.index('# %% tags=["parameters"]')
    forbidding.write_text(text[:first] + FORBIDDEN.lstrip() + text[first:], encoding="utf-8")
    drawn = executed(forbidding, "recorded")
    assert not (place / "empty").exists()
    said = []
    for notebook in (trained, drawn):
        said.append(stage.Executed("smoke"))
        stage.collect(notebook, source.stem, said[-1])
    return said[0], said[1]


@pytest.mark.slow
def test_a_page_is_drawn_from_its_own_archive_and_trains_nothing(place, monkeypatch, capsys):
    source = place / "05_reflection.py"
    source.write_text(SMALL, encoding="utf-8")
    trained, drawn = drawn_again(source, place, monkeypatch)
    before, after = trained.took["05_reflection"], drawn.took["05_reflection"]
    assert (before["runs"], before["profile"], before["asked"]) == (after["runs"], after["profile"], after["asked"])
    assert len(before["asked"]) == 4 and sum(before["asked"].values()) == 1
    assert (before["kept"], after["kept"].split(",")[0]) == (
        "",
        "finished runs of the **smoke** profile",
    )
    # What it printed, the metrics of all runs, is the same to the last bit.
    notebooks = [archive.BUILDS / profile / "executed" / "05_reflection.ipynb" for profile in ("smoke", "recorded")]
    texts = [re.findall(r"\d+ \{'node'.*", path.read_text(encoding="utf-8")) for path in notebooks]
    assert texts[0] == texts[1] != []
    assert "Nothing is trained here" in notebooks[1].read_text(encoding="utf-8")
    told = capsys.readouterr().out
    assert re.search(r"^05_reflection +4 +1 ", told, re.M) and re.search(r"^all, each run once +4 +1 ", told, re.M)


@pytest.mark.slow
def test_the_page_on_the_reflection_says_the_same_from_its_archive(place, monkeypatch):
    trained, drawn = drawn_again(ROOT / "notebooks" / "05_reflection.py", place, monkeypatch)
    assert drawn.verdicts == trained.verdicts != {}
    assert drawn.tables == trained.tables != {}
    assert drawn.live == trained.live != {}
    assert drawn.figures.keys() == trained.figures.keys() != set()


def test_a_book_without_an_archive_is_refused_at_once_in_one_line(place, monkeypatch, capsys):
    monkeypatch.setenv(kept.VARIABLE, str(place / "nothing.tar"))
    assert build.main(["recorded"]) == 1
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    assert f"{place / 'nothing.tar'}: there is no such archive" in told.err
    assert not archive.BUILDS.exists()


def test_a_checkout_draws_from_the_archive_that_it_packed_unless_one_is_named(place, monkeypatch):
    monkeypatch.setattr(kept, "opened", lambda: Archive(kept.source(), place, {}))
    own = archive.place("cpu")
    own.parent.mkdir(parents=True)
    assert archive.here().source == kept.published(kept.REPOSITORY)
    own.touch()
    assert archive.here().source == str(own.absolute())
    monkeypatch.setenv(kept.VARIABLE, "named.tar")
    assert archive.here().source == "named.tar"


def test_what_was_not_built_is_not_packed(place, capsys):
    assert archive.main(["smoke"]) == 1
    assert capsys.readouterr().err == "notebooks: not executed to the end. Build the book first.\n"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Half a page")])
    folder = archive.BUILDS / "smoke" / "executed"
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / "01_half.ipynb")
    with pytest.raises(ArchiveError, match="01_half: not executed to the end"):
        archive.asked([folder / "01_half.ipynb"])


def test_a_run_that_is_gone_is_named(place, capsys):
    source = place / "05_reflection.py"
    source.write_text(SMALL, encoding="utf-8")
    executed(source, "smoke")
    gone = next(place.glob(f"runs/*/*/{store.RECORD}"))
    gone.unlink()
    assert archive.main(["smoke"]) == 1
    assert str(gone) in capsys.readouterr().err


def test_every_page_says_what_it_asked_for_last():
    """What a cell asks for after that would not be packed."""
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        cells = [
            cell["source"]
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code"
        ]
        assert "page.took(" in "".join(cells[-1]), path.name
