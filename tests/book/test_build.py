"""From an executed notebook to a published page."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ncode.reproduction.claims import claims, published
from ncode.reproduction.claims.questions import Evidence
from ncode.reproduction.publishing import elsewhere, execute, failures, markdown, publish, stage
from ncode.reproduction.publishing.display import Figure, Ours, Table, Took, Verdict
from ncode.reproduction.runs import archive

ROOT = Path(__file__).resolve().parents[2]


def shows(thing) -> nbformat.NotebookNode:
    """A cell that displayed ``thing``, after a round through JSON as in a file."""
    data = json.loads(json.dumps(thing._repr_mimebundle_(), sort_keys=True))
    return new_code_cell("show", outputs=[new_output("execute_result", data=data, execution_count=1)])


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (800).to_bytes(4, "big") + (600).to_bytes(4, "big")
FIGURE = Figure("fig-x", "What to see: $x$.", "A line: it falls.", PNG)
TABLE = Table("tab-x", "What to see: $x$.", ["model", "error"], [["NODE", "$1/3$"], ["open loop", ""]])
EVIDENCE = [
    Evidence("b", "1-d", "paper", 5, 2e-4, (1e-4, 3e-4), runs=("r1",)),
    Evidence("c", "1-d", "paper", 5, 2e-4, (1.5e-4, 3e-4), runs=("r2",)),
]
VERDICT = Verdict("N8", EVIDENCE, {"b, asked first": True, "a, asked second": False}, "cpu")
TOOK = Took(
    "05_reflection",
    "cpu",
    seconds=12.0,
    training_seconds=34.0,
    seeds=3,
    runs=["r1", "r2"],
    provenance={"device": "a processor", "threads": 1, "versions": {"torch": "2"}, "commit": "abc"},
)


def executed() -> nbformat.NotebookNode:
    return new_notebook(cells=[new_markdown_cell("# Reflection"), shows(TABLE), shows(VERDICT), shows(TOOK)])


class TestCleaning:
    def notebook(self, source='profile = "cpu"  # or another'):
        parameters = new_code_cell(source, metadata={"tags": ["parameters"], "papermill": {"status": "completed"}})
        injected = new_code_cell('# Parameters\nprofile = "smoke"\n', metadata={"tags": ["injected-parameters"]})
        return new_notebook(cells=[parameters, injected], metadata={"papermill": {"duration": 1}})

    def test_shows_what_ran_once(self):
        cleaned = execute.clean(self.notebook())
        assert [cell.source for cell in cleaned.cells] == ['profile = "smoke"  # or another']

    def test_drops_papermill_metadata(self):
        cleaned = execute.clean(self.notebook())
        assert "papermill" not in cleaned.metadata
        assert "papermill" not in cleaned.cells[0].metadata

    def test_drops_progress_bars_and_keeps_warnings(self):
        bar = new_output("stream", name="stderr", text="\r 10%|█    |\r 20%|██   |")
        warning = new_output("stream", name="stderr", text="UserWarning: mind this\n")
        notebook = new_notebook(cells=[new_code_cell("run()", outputs=[bar, warning])])
        assert execute.clean(notebook).cells[0].outputs == [warning]


class TestStaging:
    def test_collects_title_verdict_and_cost(self):
        recorded = stage.Executed("cpu")
        stage.collect(executed(), "05_reflection", recorded)
        assert recorded.titles == {"05_reflection": "Reflection"}
        assert recorded.verdicts["N8"]["verdict"] == "in part"
        assert recorded.took["05_reflection"]["seconds"] == 12.0

    def test_a_figure_becomes_a_numbered_figure_and_a_file(self):
        recorded = stage.Executed("cpu")
        notebook = new_notebook(cells=[shows(FIGURE)])
        stage.collect(notebook, "05_reflection", recorded)
        assert recorded.figures["fig-x"] == stage.Figure("05_reflection", PNG, FIGURE.caption, FIGURE.alt)
        code, text = stage.for_the_book(notebook).cells
        assert code.outputs == []
        for part in ("{figure} /book/figures/fig-x.png", ":name: fig-x", ":alt: A line: it falls.", ":width: 400px"):
            assert part in text.source
        assert text.source.endswith("\n\nWhat to see: $x$.\n::::\n")

    def test_refuses_two_verdicts_on_one_claim(self):
        recorded = stage.Executed("cpu")
        stage.collect(executed(), "05_reflection", recorded)
        with pytest.raises(ValueError, match="N8: a verdict in 05_reflection and another one in 06_annuli"):
            stage.collect(executed(), "06_annuli", recorded)

    def test_writes_markdown_in_the_place_of_what_was_shown(self):
        staged = stage.for_the_book(executed())
        kinds = [cell.cell_type for cell in staged.cells]
        # Under the title stands what came out, in short.
        assert kinds == ["markdown", "markdown", "code", "markdown", "code", "markdown", "code", "markdown"]
        assert "**In short**" in staged.cells[1].source
        assert all(cell.outputs == [] for cell in staged.cells if cell.cell_type == "code")
        nbformat.validate(staged)

    def test_keeps_other_outputs(self):
        cell = new_code_cell("plot()", outputs=[new_output("display_data", data={"image/png": "AAAA"})])
        assert stage.for_the_book(new_notebook(cells=[cell])).cells == [cell]

    def test_a_smoke_build_says_so_and_others_name_their_profile(self):
        smoke, cpu = (
            stage.configure({}, "https://host/a/b", stage.Executed(profile))["html"] for profile in ("smoke", "cpu")
        )
        assert "smoke build" in smoke["announcement"]
        assert "announcement" not in cpu
        assert "cpu" in cpu["extra_footer"]

    def test_a_recorded_build_says_on_every_page_what_it_shows(self):
        drawn = stage.Executed("recorded", took={"a": {"profile": "cpu", "kept": "runs of the **cpu** profile"}})
        html = stage.configure({}, "https://host/a/b", drawn)["html"]
        assert (
            "recorded</strong> profile. Nothing was trained: it shows runs of the cpu profile." in html["extra_footer"]
        )
        assert "announcement" not in html
        drawn.took["b"] = {"profile": "smoke"}
        assert "smoke build" in stage.configure({}, "https://host/a/b", drawn)["html"]["announcement"]

    def test_a_page_that_trained_nothing_says_so(self):
        shown = {**TOOK.content(), "kept": "runs of the **cpu** profile"}
        assert "took 12 s and trained nothing: it shows runs of the **cpu** profile." in markdown.took(shown)
        assert "took 12 s in the **cpu** profile." in markdown.took(TOOK.content())

    def test_a_page_that_asks_for_something_unknown_is_an_error(self):
        with pytest.raises(ValueError, match="weather"):
            stage.fill("{{ weather tomorrow }}", stage.Executed("cpu"))


class TestPages:
    def test_table_has_a_row_for_every_row_and_a_cell_for_every_cell(self):
        text = markdown.table(TABLE.content())
        assert ":name: tab-x" in text
        assert text.count("* - ") == 3
        assert text.count("\n  - ") == 3

    def test_verdict_keeps_the_order_of_its_checks(self):
        content = json.loads(json.dumps(VERDICT.content(), sort_keys=True))
        text = markdown.verdict(content)
        assert text.index("✓ b, asked first") < text.index("✗ a, asked second")
        assert "N8: in part, the paper's setting" in text
        assert "cpu profile, 2 runs" in text

    def test_checks_of_the_same_data_stand_under_its_name(self):
        checks = [["MNIST: a", True], ["alone", None], ["MNIST: b", False]]
        text = markdown.verdict({**VERDICT.content(), "context": checks})
        assert "- **MNIST**\n  - ✓ a\n  - ✗ b\n- ? alone" in text

    def test_every_claim_is_listed_with_its_verdict(self):
        recorded = stage.Executed("cpu")
        stage.collect(executed(), "05_reflection", recorded)
        text = markdown.claim_list(recorded, "N")
        assert "N8: in part" in text
        assert "/notebooks/05_reflection" in text
        assert text.count("{admonition} N") == 24
        assert len(re.findall(r"\{admonition\} N\d+: not tested\n", text)) == 23

    def test_published_numbers_stand_beside_ours(self):
        text = markdown.published_table(stage.Executed("cpu"), "classification")
        assert "74.1\n  - not yet" in text
        recorded = stage.Executed("cpu")
        ours = Ours("classification", {"ANODE": {"MNIST": "98.0 ± 0.1"}}, "At 14×14 pixels.")
        stage.collect(new_notebook(cells=[shows(ours)]), "10_image_classification", recorded)
        text = markdown.published_table(recorded, "classification")
        assert "98.2\n  - 98.0 ± 0.1" in text
        assert "74.1\n  - –" in text
        assert "At 14×14 pixels." in text


def test_what_a_question_calls_published_is_the_difference_of_published_numbers():
    table = published.get("classification-anode")
    asked = {question.asks: question.published for question in claims.load()["A5"].questions}
    for data in table.columns:
        said = asked[f"test accuracy on {data} at equal parameters: ANODE minus NODE is above zero"]
        assert float(said) == pytest.approx(table.value("ANODE", data) - table.value("NODE", data))


def test_published_numbers_are_numbers():
    for table in published.load().values():
        for row in table.rows:
            for column in table.columns:
                assert table.value(row, column) > 0
    with pytest.raises(ValueError, match="'nobody' is not one of"):
        published.get("classification").value("nobody", "MNIST")


def write_notebook(path: Path, *cells: str) -> Path:
    parameters = '# %% tags=["parameters"]\nprofile = "cpu"\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"# %% [markdown]\n# # {path.stem}\n\n{parameters}\n" + "".join(f"# %%\n{cell}\n\n" for cell in cells)
    )
    return path


class TestExecution:
    @pytest.fixture(autouse=True)
    def environment(self):
        with mock.patch.dict(os.environ):
            yield

    def test_runs_elsewhere_under_the_settings(self, tmp_path):
        code = 'import os\nprint(profile, *map(os.getenv, ("OMP_NUM_THREADS", "TQDM_DISABLE")), os.listdir())'
        source = write_notebook(tmp_path / "notebooks" / "01_fine.py", code)
        to = tmp_path / "smoke" / "executed" / "01_fine.ipynb"
        assert execute.execute(source, to, "smoke") is None
        assert nbformat.read(to, as_version=4).cells[-1].outputs[0].text == "smoke 1 1 []\n"
        assert list((tmp_path / "smoke" / "failed").iterdir()) == []

    def test_failure_names_notebook_cell_and_error_and_keeps_the_rest(self, tmp_path):
        source = write_notebook(
            tmp_path / "notebooks" / "02_broken.py", "print('before')", "left = 0\n1 / left", "print()"
        )
        to = tmp_path / "smoke" / "executed" / "02_broken.ipynb"
        message = execute.execute(source, to, "smoke")
        partial = tmp_path / "smoke" / "failed" / "02_broken.ipynb"
        for part in ("02_broken.py", "'left = 0'", "ZeroDivisionError: division by zero", str(partial)):
            assert part in message
        assert "before" in partial.read_text(encoding="utf-8")
        assert not to.exists()
        assert message.rstrip() in failures.summary(tmp_path / "smoke")


def test_publishing_replaces_in_one_step_and_removes_what_was_there(tmp_path):
    for number in (1, 2):
        edition = tmp_path / f"edition-{number}"
        edition.mkdir()
        (edition / "index.html").write_text(str(number))
        publish.replace(tmp_path / "html", edition)
        assert (tmp_path / "html" / "index.html").read_text() == str(number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edition-2", "html"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    # People keep their work in folders with such names.
    root = tmp_path_factory.mktemp("a b é")
    for name in ("Makefile", "Snakefile", "_config.yml", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    for name in ("book", "ncode"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    # The smallest book: the smoke book has all pages.
    (root / "book" / "intro.md").write_text("# A book\n")
    toc = {"format": "jb-book", "root": "book/intro", "chapters": [{"glob": "notebooks/*"}]}
    (root / "book" / "_toc.yml").write_text(yaml.safe_dump(toc))
    write_notebook(root / "notebooks" / "01_fine.py", "2 + 2")
    write_notebook(root / "notebooks" / "02_broken.py", "raise RuntimeError('not today')")
    return root


@pytest.mark.slow
class TestMake:
    """`make book` on a small repository, with this environment in the place of the one that it would make."""

    def make(self, root, profile="smoke", **variables):
        # The kernel starts in a folder of its own: the library has to be on an absolute path.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        command = ["make", "book", f"PROFILE={profile}", f"BIN={Path(sys.executable).parent}", "ENVIRONMENT="]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)

    def test_a_failing_notebook_stops_the_book_and_not_the_others(self, repository):
        done = self.make(repository)
        assert done.returncode != 0
        assert "02_broken.py" in done.stderr
        assert "RuntimeError: not today" in done.stderr
        assert (repository / "_build/smoke/failed/02_broken.ipynb").exists()
        assert (repository / "_build/smoke/executed/01_fine.ipynb").exists()
        assert not (repository / "_build/smoke/html").exists()

    def test_then_fixed_it_is_published_and_rebuilt_on_change_only(self, repository):
        write_notebook(repository / "notebooks" / "02_broken.py", "'mended'")
        done = self.make(repository)
        index = repository / "_build/smoke/html/index.html"
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == str(index)
        assert "02_broken" in done.stdout
        assert "01_fine" not in done.stdout
        edition = index.resolve()

        (repository / "notebooks" / "01_fine.py").touch()
        (repository / "ncode" / "models" / "flow.py").touch()
        done = self.make(repository)
        assert "Nothing has changed" in done.stdout
        assert index.resolve() == edition

        write_notebook(repository / "notebooks" / "01_fine.py", "3 + 3")
        done = self.make(repository)
        assert "executing notebooks/01_fine.py" in done.stdout
        assert "02_broken" not in done.stdout
        assert index.resolve() != edition

    def test_a_recorded_book_is_drawn_from_its_archive_and_again_from_another(self, repository, tmp_path):
        variables = {"NCODE_ARCHIVE": str(tmp_path / "runs.tar"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        archive.pack(tmp_path, "smoke", {"01_fine": {}}, tmp_path / "runs.tar")
        done = self.make(repository, "recorded", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[0] == f"Drawn from {tmp_path / 'runs.tar'}"
        assert done.stdout.splitlines()[-1] == str(repository / "_build/recorded/html/index.html")
        assert "Nothing has changed" in self.make(repository, "recorded", **variables).stdout
        archive.pack(tmp_path, "cpu", {"01_fine": {}}, tmp_path / "runs.tar")
        assert "executed notebooks/01_fine.py" in self.make(repository, "recorded", **variables).stdout

    def test_a_page_that_warns_leaves_the_old_book_in_place(self, repository):
        edition = (repository / "_build/smoke/html").resolve()
        intro = repository / "book" / "intro.md"
        intro.write_text(intro.read_text(encoding="utf-8") + "\n{numref}`nothing-of-that-name`\n", encoding="utf-8")
        done = self.make(repository)
        assert done.returncode != 0
        assert "nothing-of-that-name" in done.stderr
        assert (repository / "_build/smoke/html").resolve() == edition


def test_nested_settings_have_a_row_each():
    nested = {"seeds": 3, "sets": {"mnist": {"size": 14, "rates": [1]}, "none": {}}}
    assert markdown._flat(nested) == {"seeds": 3, "sets.mnist.size": 14, "sets.mnist.rates": [1]}


class TestExecutedElsewhere:
    def test_verdicts_that_differ_from_this_build_are_marked(self, tmp_path, monkeypatch):
        monkeypatch.setattr(markdown, "ELSEWHERE", tmp_path / "elsewhere")
        nbformat.write(executed(), tmp_path / "05_reflection.ipynb")
        elsewhere.main(["gpu", str(tmp_path / "05_reflection.ipynb")])
        recorded = stage.Executed("cpu", verdicts={"N8": {"verdict": "in part"}}, titles={"05_reflection": "x"})
        written = markdown.executed_elsewhere(recorded)
        cells = ["{doc}`/notebooks/05_reflection`", "cpu", "12", "a processor", "N8 in part"]
        assert "* - " + "\n  - ".join(cells) + "\n::::" in written
        assert "commit `abc`" in written
        recorded.verdicts["N8"]["verdict"] = "holds"
        assert "N8 in part (differs here)" in markdown.executed_elsewhere(recorded)
        elsewhere.main(["gpu", str(tmp_path / "05_reflection.ipynb")])
        assert markdown.executed_elsewhere(recorded).count("`/notebooks/05_reflection`") == 1, (
            "executed again, it is listed once"
        )

    def test_a_notebook_that_stopped_half_way_is_refused(self, tmp_path):
        nbformat.write(new_notebook(cells=executed().cells[:-1]), tmp_path / "05_reflection.ipynb")
        with pytest.raises(ValueError, match="not executed to its end"):
            elsewhere.main(["gpu", str(tmp_path / "05_reflection.ipynb")])

    def test_what_is_kept_names_notebooks_and_claims_that_there_are(self):
        kept = [one for path in markdown.ELSEWHERE.glob("*.json") for one in json.loads(path.read_text())]
        assert kept
        for one in kept:
            assert (ROOT / "notebooks" / f"{one['notebook']}.py").exists()
            assert one["verdicts"].keys() <= claims.load().keys()
