"""Notebooks where they are opened: the first cell, and the committed files in an environment like Colab's."""

import copy
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest

from ncode.reproduction.extras import DISTRIBUTION
from ncode.reproduction.publishing import sync
from ncode.reproduction.publishing.display import Page
from ncode.reproduction.runs import experiment, folders

ROOT = Path(__file__).resolve().parents[2]
CELL = sync.FIRST_CELL.format(distribution=DISTRIBUTION, url="https://github.com/somebody/fork")

# What Colab's own package pins, and what comes with it.
PINNED = ("ipython==7.34.0", "ipykernel==6.17.1")


class TestFirstCell:
    @pytest.fixture
    def calls(self, monkeypatch):
        """What the cell asks the system to run."""
        made = []

        def run(command):
            made.append(command)
            return SimpleNamespace(returncode=made.count(command) and self.status)

        monkeypatch.setattr(subprocess, "run", run)
        return made

    status = 0

    def without_ncode(self, monkeypatch):
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ncode" else found(name))

    def test_does_nothing_where_ncode_is(self, calls):
        exec(CELL, {})
        assert calls == []

    def test_outside_colab_it_installs_nothing_and_says_what_to_do(self, monkeypatch, calls):
        self.without_ncode(monkeypatch)
        monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
        with pytest.raises(ImportError, match=r'pip install "ncode-ode\[reproduction\] @ git\+https://github.com/some'):
            exec(CELL, {})
        assert calls == []

    def test_on_colab_it_calls_this_pythons_pip_and_keeps_what_colab_rests_on(self, monkeypatch, calls):
        self.without_ncode(monkeypatch)
        monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
        exec(CELL, {})
        (command,) = calls
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        kept = [f"{name}=={importlib.metadata.version(name)}" for name in ("torch", "numpy", "ipython")]
        assert command[-3:] == kept

    def test_a_failure_is_one_clear_error(self, monkeypatch, calls):
        self.without_ncode(monkeypatch)
        monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
        monkeypatch.setattr(TestFirstCell, "status", 1)
        with pytest.raises(ImportError, match="pip could not install ncode"):
            exec(CELL, {})

    def test_is_short(self):
        assert len(CELL.strip().splitlines()) <= 16


MOUNTS = """
from pathlib import Path

def mount(path):
    Path(path, "MyDrive").mkdir(parents=True, exist_ok=True)
"""
"""Colab's module for the user's drive, without the user and without the drive."""


def colabs_drive(folder: Path) -> Path:
    """A folder for the path of imports that has such a module."""
    (folder / "google" / "colab").mkdir(parents=True)
    (folder / "google" / "colab" / "__init__.py").touch()
    (folder / "google" / "colab" / "drive.py").write_text(MOUNTS)
    return folder


class TestRunsThatAreKept:
    @pytest.fixture(autouse=True)
    def drive(self, tmp_path, monkeypatch):
        monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "usual"))
        monkeypatch.setattr(folders, "DRIVE", tmp_path / "drive")
        for name in [name for name in sys.modules if name == "google" or name.startswith("google.colab")]:
            monkeypatch.delitem(sys.modules, name)
        return tmp_path / "drive"

    def test_lie_where_the_page_says(self, tmp_path):
        Page("05_reflection", "smoke", str(tmp_path / "mine"))
        assert experiment.root() == tmp_path / "mine"
        assert (tmp_path / "mine").is_dir()

    def test_lie_where_they_always_do_where_it_says_nothing(self, tmp_path):
        Page("05_reflection", "smoke", "")
        assert experiment.root() == tmp_path / "usual"

    def test_lie_on_the_drive_which_is_mounted_for_them(self, tmp_path, drive, monkeypatch):
        monkeypatch.syspath_prepend(colabs_drive(tmp_path / "path"))
        Page("05_reflection", "smoke", str(drive / "MyDrive" / "ncode"))
        assert experiment.root() == drive / "MyDrive" / "ncode"

    def test_a_drive_that_is_mounted_is_left_alone(self, drive, monkeypatch):
        monkeypatch.setattr(os.path, "ismount", lambda path: path == drive)
        folders.keep_in(str(drive / "MyDrive"))
        assert experiment.root() == drive / "MyDrive"

    def test_elsewhere_there_is_no_such_drive(self, drive):
        with pytest.raises(ValueError, match=r"runs: .* is on the user's drive, which only Colab has"):
            Page("05_reflection", "smoke", str(drive / "MyDrive"))
        assert not drive.exists()

    def test_a_folder_that_cannot_be_had_is_named(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match=r"runs: .*file/mine' cannot keep runs"):
            Page("05_reflection", "smoke", str(tmp_path / "file" / "mine"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The package as pip builds it from the repository: all that Colab has."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def colab(tmp_path_factory) -> Path:
    """The Python of an environment like Colab's: its IPython and ipykernel, torch and numpy there before, no ncode.

    Everything but those two is lent by this environment, so that nothing large is downloaded.
    """
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    lent = folder / "lent"
    lent.mkdir()
    skip = ("ncode", "__editable__", "_ncode", "ipython", "ipykernel", "pip", "jedi", "prompt_toolkit", "traitlets")
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not path.name.lower().startswith(skip) and path.suffix != ".pth":
            (lent / path.name).symlink_to(path)
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    own = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    (own / "lent.pth").write_text(str(lent))
    subprocess.run([python, "-m", "pip", "install", "-q", *PINNED], check=True)
    return python


def versions(python: Path) -> dict[str, tuple[str, str]]:
    """By package of Colab's, its version and where it lies."""
    code = """
import importlib.metadata as m, json
print(json.dumps({n: (m.version(n), str(m.distribution(n).locate_file(""))) for n in NAMES}))
""".replace("NAMES", "['torch', 'numpy', 'ipython', 'ipykernel', 'traitlets']")
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return {name: tuple(found) for name, found in json.loads(done.stdout).items()}


# What a session is told before its page: where the drive is, which in truth is Colab's own folder.
DRIVE_IS = "import pathlib\nfrom ncode.reproduction.runs import folders\nfolders.DRIVE = pathlib.Path({!r})"
TRAINS_NOTHING = "from ncode.reproduction.runs.experiment import Experiment\ndel Experiment._compute"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["01_proposition_1", "05_reflection", "13_latent_clustering"])
def test_the_committed_notebook_runs_in_an_environment_like_colabs(name, wheel, colab, tmp_path, monkeypatch):
    before = versions(colab)
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    address = f"git+{sync.declared_url()}"
    assert address in first.source
    first.source = first.source.replace(address, wheel.as_uri())
    kernel = tmp_path / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    argv = [str(colab), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PYTHONPATH", str(colabs_drive(tmp_path / "path")))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    empty = tmp_path / "empty"
    empty.mkdir()
    drive = tmp_path / "drive"

    def session(*cells: str) -> None:
        """Open the notebook and run it, with ``cells`` before its page, keeping runs on the drive."""
        opened = copy.deepcopy(notebook)
        place = notebook.cells.index(first) + 1
        opened.cells[place:place] = [nbformat.v4.new_code_cell(cell) for cell in (DRIVE_IS.format(str(drive)), *cells)]
        nbformat.write(opened, tmp_path / "opened.ipynb")
        papermill.execute_notebook(
            tmp_path / "opened.ipynb",
            tmp_path / "executed.ipynb",
            parameters={"profile": "smoke", "runs": str(drive / "MyDrive" / "ncode")},
            kernel_name="colab",
            cwd=str(empty),
            progress_bar=False,
        )

    session()
    assert versions(colab) == before, "what Colab rests on was replaced"
    assert before["ipython"][0] == "7.34.0"
    found = subprocess.run(
        [colab, "-c", "import ncode; print(ncode.__file__)"], capture_output=True, text=True, check=True, cwd=empty
    )
    assert os.path.commonpath([found.stdout.strip(), str(colab.parents[1])]) == str(colab.parents[1])
    assert not (tmp_path / "runs").exists()
    if name == "05_reflection":
        assert list((drive / "MyDrive" / "ncode" / "reflection").glob("*/record.json"))
        session(TRAINS_NOTHING)
