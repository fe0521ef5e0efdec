"""Archives of runs: the same bytes every time, read back bit for bit, refused when altered; nothing is trained."""

import ast
import hashlib
import http.server
import io
import json
import shutil
import tarfile
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ncode.reproduction.experiments import reflection
from ncode.reproduction.publishing.display import Page
from ncode.reproduction.runs import archive, asked, kept, provenance, store
from ncode.reproduction.runs.archive import CHECKSUM, LIST, ArchiveError, pack, read
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.files import DamagedFile, digest, digest_of
from ncode.reproduction.runs.kept import MissingRun
from ncode.reproduction.runs.sources import portable

TRAIN = "ncode.reproduction.experiments.reflection.train"


def config(seed: int = 0, model: str = "node", iterations: int = 2) -> reflection.Config:
    return reflection.Config(model=model, seed=seed, iterations=iterations, points=20, hidden=(4,), control_hidden=(4,))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of two finished runs, what a page asked for, and their archive."""
    folder = tmp_path_factory.mktemp("made")
    runs = [reflection.experiment.run(config(seed), folder / "runs") for seed in (0, 1)]
    # The first run's weights are read, and the second's are not.
    pages = {"05_reflection": {f"reflection/{run.id}": run is runs[0] for run in runs}}
    pack(folder / "runs", "smoke", pages, folder / "runs-smoke.tar")
    return folder, runs, pages


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A cache and a store of this test's own, and no archive in use after it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NCODE_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv(kept.VARIABLE, raising=False)
    yield tmp_path
    kept.leave()


@pytest.fixture
def untrained(monkeypatch):
    """Making a run fails."""

    def refuse(*_):
        raise AssertionError("a run was made")

    monkeypatch.setattr(Experiment, "_compute", refuse)


@pytest.fixture
def used(made, monkeypatch, untrained):
    """The archive, in use for a page."""
    monkeypatch.setenv(kept.VARIABLE, str(made[0] / "runs-smoke.tar"))
    return kept.use("05_reflection")


class TestPacked:
    def test_the_same_runs_are_the_same_bytes(self, made, tmp_path):
        folder, _, pages = made
        shutil.copytree(folder / "runs", tmp_path / "copied")
        backwards = {page: dict(reversed(of.items())) for page, of in pages.items()}
        pack(tmp_path / "copied", "smoke", backwards, tmp_path / "runs-smoke.tar")
        assert (tmp_path / "runs-smoke.tar").read_bytes() == (folder / "runs-smoke.tar").read_bytes()

    def test_its_checksum_lies_beside_it_as_sha256sum_writes_it(self, made):
        path = made[0] / "runs-smoke.tar"
        assert archive.sums(path).read_text() == f"{digest(path)}  runs-smoke.tar\n"

    def test_weights_that_no_page_reads_stay_out(self, made):
        folder, (first, second), _ = made
        with tarfile.open(folder / "runs-smoke.tar") as tar:
            names = tar.getnames()
        assert names[0] == LIST
        expected = {f"reflection/{run.id}/{store.RECORD}" for run in (first, second)}
        assert set(names[1:]) == expected | {f"reflection/{first.id}/{store.WEIGHTS}"}

    def test_a_run_of_other_code_is_refused(self, made, tmp_path, monkeypatch):
        folder, _, pages = made
        monkeypatch.setattr(provenance, "code_fingerprint", lambda module: "other")
        with pytest.raises(ArchiveError, match=r"was made by other code than this, and 05_reflection shows it"):
            pack(folder / "runs", "smoke", pages, tmp_path / "runs.tar")
        assert not (tmp_path / "runs.tar").exists()

    def test_a_damaged_run_is_refused(self, made, tmp_path):
        folder, (first, _), pages = made
        shutil.copytree(folder / "runs", tmp_path / "copied")
        with (tmp_path / "copied" / "reflection" / first.id / store.WEIGHTS).open("ab") as file:
            file.write(b"0")
        with pytest.raises(DamagedFile, match="is not what was kept"):
            pack(tmp_path / "copied", "smoke", pages, tmp_path / "runs.tar")


class TestInUse:
    def test_records_and_weights_come_back_bit_for_bit(self, made, used):
        run = reflection.experiment.run(config())
        assert (run.id, run.metrics, run.history, run.provenance) == (
            made[1][0].id,
            made[1][0].metrics,
            made[1][0].history,
            made[1][0].provenance,
        )
        for name in (store.RECORD, store.WEIGHTS):
            assert (run.folder / name).read_bytes() == (made[1][0].folder / name).read_bytes()
        for found, expected in zip(run.model().parameters(), made[1][0].model().parameters(), strict=True):
            assert torch.equal(found, expected)

    def test_versions_and_threads_may_be_others(self, used, monkeypatch):
        monkeypatch.setattr(provenance, "versions", lambda: {"torch": "another"})
        monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
        assert reflection.experiment.run(config()).provenance["versions"]["torch"] == torch.__version__

    def test_what_it_holds_is_not_written(self, used):
        files = [path for path in used.folder.rglob("*") if path.is_file()]
        assert len(files) == 4
        assert all(path.stat().st_mode & 0o222 == 0 for path in files)

    def test_a_run_that_it_lacks_is_one_error_and_nothing_is_trained(self, used, place):
        with pytest.raises(MissingRun) as error:
            reflection.experiment.run(config(seed=7))
        told = str(error.value)
        assert told.startswith(f"05_reflection: the archive of commit {provenance.commit()}")
        for part in ("lacks the run reflection(model='node', seed=7)", "no page had a run", 'profile = "cpu"'):
            assert part in told
        assert "\n" not in told
        assert not (place / "runs").exists()

    def test_a_run_of_other_code_is_missing_and_the_error_says_why(self, used, monkeypatch):
        monkeypatch.setattr(provenance, "portable_fingerprint", lambda module: "edited")
        with pytest.raises(MissingRun, match=r"the code that makes it, which here is that of .* differs from the arch"):
            reflection.experiment.run(config())

    def test_a_folder_of_runs_that_is_named_trains_nothing_either(self, used, made):
        with pytest.raises(MissingRun):
            reflection.experiment.run(config(seed=7), made[0] / "runs")

    def test_weights_that_stayed_out_are_one_error(self, used):
        run = reflection.experiment.run(config(seed=1))
        with pytest.raises(MissingRun, match="without its weights: no page read them"):
            run.model()

    def test_it_is_extracted_once(self, used):
        before = {path: path.stat().st_mtime_ns for path in used.folder.rglob("*")}
        assert kept.use("06_annuli").folder == used.folder
        assert {path: path.stat().st_mtime_ns for path in used.folder.rglob("*")} == before

    def test_what_was_altered_after_extraction_is_put_right(self, made, used):
        run = reflection.experiment.run(config())
        record = run.folder / store.RECORD
        record.chmod(0o644)
        record.write_text("{}")
        kept.use("05_reflection")
        assert record.read_bytes() == (made[1][0].folder / store.RECORD).read_bytes()

    def test_a_page_takes_settings_of_the_archives_profile_and_says_what_it_shows(self, used, capsys):
        page = Page("05_reflection", "recorded")
        assert page.settings == Page("05_reflection", "smoke").settings
        assert kept.in_use() is None, "the smoke page makes its own runs"
        page = Page("05_reflection", "recorded")
        took = page.took([reflection.experiment.run(config())])
        assert (took.profile, page.near("paper")) == ("smoke", "toy")
        for part in ("runs of the **smoke** profile", f"`{provenance.commit()}`", provenance.device_name()):
            assert part in took.kept
        assert "trained nothing" in took.html()


def rewritten(path: Path, to: Path, change) -> Path:
    """The archive with its members changed, its list sealed again, and no checksum beside it."""
    with tarfile.open(path) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]
    content = json.loads(members[0][1])
    content.pop("sha256")
    members = change(content, members[1:])
    text = json.dumps({**content, "sha256": digest_of(content)}).encode()
    with tarfile.open(to, "w") as tar:
        for member, data in [(tarfile.TarInfo(LIST), text), *members]:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return to


def misplaced(name: str):
    """A change that lists and holds a run at another place."""

    def change(content, members):
        (old, run), *_ = content["runs"].items()
        content["runs"] = {name: run}
        for member, _ in members:
            member.name = member.name.replace(old, name)
        return [(member, data) for member, data in members if member.name.startswith(name)]

    return change


def linked(content, members):
    members[0][0].type, members[0][0].linkname = tarfile.SYMTYPE, "/etc/passwd"
    return [(members[0][0], b""), *members[1:]]


def altered(content, members):
    return [(members[0][0], members[0][1].replace(b"0", b"1")), *members[1:]]


CHANGES = {
    "outside": (misplaced("../../outside/0123456789abcdef"), "no place of a run"),
    "absolute": (misplaced("/tmp/0123456789abcdef"), "no place of a run"),
    "dots": (misplaced("../0123456789abcdef"), "no place of a run"),
    "link": (linked, "no plain file"),
    "altered": (altered, "not what was packed"),
    "short": (lambda content, members: members[:-1], "is missing"),
    "more": (lambda content, members: [*members, members[0]], "not what was packed"),
    "format": (lambda content, members: content.update(format=99) or members, "reads 1"),
}


class TestRefused:
    @pytest.mark.parametrize("kind", CHANGES)
    def test_an_archive_that_was_made_up(self, made, tmp_path, kind):
        change, why = CHANGES[kind]
        path = rewritten(made[0] / "runs-smoke.tar", tmp_path / "runs.tar", change)
        with pytest.raises(
            ArchiveError, match=f"{path}: is truncated or altered, or no archive of runs .*{why}"
        ) as error:
            read(path, tmp_path / "archives")
        assert "\n" not in str(error.value)
        assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".lock", ".tar")] == []

    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_one_flipped_bit_anywhere(self, made, tmp_path, data):
        content = bytearray((made[0] / "runs-smoke.tar").read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path = tmp_path / "runs-smoke.tar"
        path.write_bytes(content)
        shutil.copy(archive.sums(made[0] / path.name), tmp_path)
        with pytest.raises(ArchiveError, match="is truncated or altered: its SHA-256 is"):
            read(path, tmp_path / "archives")

    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_one_flipped_bit_of_a_run_without_a_checksum_beside_it(self, made, tmp_path, data):
        path = tmp_path / "runs-smoke.tar"
        content = bytearray((made[0] / path.name).read_bytes())
        with tarfile.open(made[0] / path.name) as tar:
            member = data.draw(st.sampled_from(tar.getmembers()))
        where = member.offset_data + data.draw(st.integers(0, member.size - 1))
        content[where] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        with pytest.raises(ArchiveError, match="is truncated or altered"):
            read(path, tmp_path / "archives")

    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(share=st.floats(0, 1, exclude_max=True))
    def test_a_truncated_one(self, made, tmp_path, share):
        path = tmp_path / "runs-smoke.tar"
        with tarfile.open(made[0] / path.name) as tar:
            last = tar.getmembers()[-1]
        whole = (made[0] / path.name).read_bytes()
        path.write_bytes(whole[: int(share * (last.offset_data + last.size))])
        with pytest.raises(ArchiveError, match="is truncated or altered"):
            read(path, tmp_path / "archives")

    def test_one_that_is_not_there(self, monkeypatch, tmp_path):
        monkeypatch.setenv(kept.VARIABLE, str(tmp_path / "nothing.tar"))
        with pytest.raises(ArchiveError, match=r'nothing\.tar: there is no such archive .* Set profile = "cpu"'):
            Page("05_reflection", "recorded")


class Server(http.server.SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


class TestDownloaded:
    @pytest.fixture
    def address(self, made, tmp_path, monkeypatch):
        """Where a server on this machine has the archive; without its network it is gone."""
        folder = tmp_path / "served"
        folder.mkdir()
        for path in made[0].glob("runs-smoke.tar*"):
            shutil.copy(path, folder)
        monkeypatch.setattr(Server, "asked", [])
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)

        def serve(*arguments):
            return Server(*arguments, directory=str(folder))

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as running:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            monkeypatch.setenv(kept.VARIABLE, f"http://127.0.0.1:{running.server_port}/runs-smoke.tar")
            yield folder
            running.shutdown()

    def test_comes_once_and_is_drawn_from(self, address, made, untrained):
        for _ in range(2):
            kept.use("05_reflection")
        assert reflection.experiment.run(config()).id == made[1][0].id
        tar = "/runs-smoke.tar"
        assert Server.asked == [tar + CHECKSUM, tar, tar + CHECKSUM]

    def test_what_came_last_serves_where_there_is_no_network(self, address):
        first = kept.opened()
        (address / f"runs-smoke.tar{CHECKSUM}").unlink()
        assert kept.opened().folder == first.folder

    def test_one_that_never_came_is_an_error_in_one_line(self, address):
        (address / f"runs-smoke.tar{CHECKSUM}").unlink()
        with pytest.raises(ArchiveError, match=r"runs-smoke\.tar: cannot be had .*Set profile") as error:
            kept.opened()
        assert "\n" not in str(error.value)

    def test_an_altered_one_is_not_kept(self, address, place):
        with (address / "runs-smoke.tar").open("ab") as file:
            file.write(b"0")
        with pytest.raises(ArchiveError, match="what came has another SHA-256"):
            kept.opened()
        assert not list(place.joinpath("cache").rglob(store.RECORD))


@pytest.mark.parametrize(
    ("repository", "address"),
    [
        ("https://github.com/Somebody/fork", "https://somebody.github.io/fork/runs-cpu.tar"),
        ("https://github.com/somebody/somebody.github.io", "https://somebody.github.io/runs-cpu.tar"),
        ("https://git.example.org/somebody/fork", ""),
    ],
)
def test_the_address_follows_from_the_repositorys(repository, address):
    assert kept.published(repository) == address


def test_a_repository_elsewhere_needs_an_archive_that_is_named(monkeypatch):
    monkeypatch.setattr(kept, "REPOSITORY", "https://git.example.org/a/b")
    with pytest.raises(ArchiveError, match=r"No archive of runs is known .* NCODE_ARCHIVE"):
        kept.use("05_reflection")


EVERYTHING = '''
from __future__ import annotations
import a.b as c

@dataclass(frozen=True)
class Point(Base, metaclass=Kind):
    """A docstring."""
    x: float = 1e-3
    y: int | None = None

    async def walk(self, /, *args, k=..., **rest) -> "text":
        async with self as one, two:
            yield f"{self.x!r:>{k}} {{" f"{k=:.2f}" 'é' "\\n"
        return await (lambda *, z=0j: z if not k else -z)()

def run(n):
    global total
    try:
        with open(n) as f: total += [i := j for j in f if j][::-1][0]
    except (OSError, ValueError) as error:
        raise Failed from error
    else:
        del n[1:], n.x
    finally:
        while n < 3 <= 4 and n is not None or n in {1, *n}: break
    match n:
        case {"a": [1, *rest], **more} | Point(x=0): print(*rest, sep="")
        case str() as text if text: pass
        case None: return {**more, b"b": True}
    assert n, "no"
'''


class TestPortableCode:
    def test_is_the_same_text_under_every_python(self):
        """Found under Python 3.11, 3.12 and 3.13, and compared under whichever runs this test."""
        text = portable(ast.parse(EVERYTHING))
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f34ce5d4acbd3d1a"

    def test_empty_fields_that_another_python_adds_change_nothing(self):
        tree = ast.parse("def f(x, *, y=None):\n    return {**x, 'é': 1.5}[f'{y!r:>{x}}'] if x else None")
        before = portable(tree)
        function = tree.body[0]
        # As of Python 3.12, and as `ast.dump` of 3.13 leaves out.
        function.type_params = []
        function._fields = (*ast.FunctionDef._fields, "type_params")
        assert portable(tree) == before
        assert before.isascii()

    @pytest.mark.parametrize(
        ("one", "other"),
        [("x = None", "x = 0"), ("x = 1", "x = 1.0"), ("f(*a)", "f(a)"), ("x = []", "x = ()"), ("a.b", "a.c")],
    )
    def test_other_code_is_other_text(self, one, other):
        assert portable(ast.parse(one)) != portable(ast.parse(other))

    def test_covers_what_the_fingerprint_covers(self):
        found = provenance.portable_fingerprint(TRAIN)
        assert found == provenance.portable_fingerprint(TRAIN)
        assert found != provenance.portable_fingerprint("ncode.reproduction.experiments.annuli.train")


def test_what_a_run_asks_for_while_it_is_made_no_page_needs(monkeypatch):
    asked.begin()
    asked.note("a/1")
    with asked.quiet():
        asked.note("b/2", weights=True)
    asked.note("a/1", weights=True)
    asked.note("a/1")
    assert asked.runs() == {"a/1": True}


def test_a_page_says_what_it_asked_for():
    page = Page("05_reflection", "smoke")
    run, other = (reflection.experiment.run(config(seed)) for seed in (0, 1))
    run.model()
    assert page.took([run]).asked == {f"reflection/{run.id}": True, f"reflection/{other.id}": False}
    Page("05_reflection", "smoke")
    assert asked.runs() == {}, "another page begins anew"
