"""Archives: the finished runs that a book's pages are drawn from, in one file that is the same for the same runs.

An archive is a tar, not compressed. It begins with ``archive.json``: the profile, the commit, and for every run its
configuration's and its code's fingerprints, its pages, and the SHA-256 of each of its files. Those follow as they lie
in the store, ``<experiment>/<id>/record.json`` and, where a page reads them, ``weights.safetensors``. Beside the
archive lies its own SHA-256, as ``sha256sum`` writes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock

from ncode.reproduction.runs import provenance, store
from ncode.reproduction.runs.files import digest, digest_of, write_atomically

LIST = "archive.json"
CHECKSUM = ".sha256"
"""What the name of the file beside an archive ends in."""

FORMAT = 1
"""Of the list: a reader refuses one that it does not know."""

_LONGEST_LIST = 2**24
_NAME = re.compile(
    rf"[a-z_]\w*(\.\w+)*/[0-9a-f]{{16}}/({re.escape(store.RECORD)}|{re.escape(store.WEIGHTS)})", re.ASCII
)


class ArchiveError(RuntimeError):
    """An archive that is not there, or is not what was packed; one line says which file, and what to do."""


@dataclass(frozen=True)
class Archive:
    """An archive that was read.

    Attributes:
        source: where it came from, a path or an address.
        folder: where its runs lie, laid out as the store is.
        content: its list.
    """

    source: str
    folder: Path
    content: Mapping[str, Any]

    @property
    def profile(self) -> str:
        """The profile whose runs these are."""
        return self.content["profile"]

    @property
    def commit(self) -> str:
        """The commit at which it was packed."""
        return self.content["commit"]

    def described(self) -> str:
        """What its numbers are, in Markdown: of which profile, and where and when they were computed."""
        commits: dict[tuple[str, str], list[str]] = {}
        for one in self.content["made"]:
            commits.setdefault((one["device"], one["versions"]["torch"]), []).append(f"`{one['commit']}`")
        made = [f"at commit {', '.join(at)} on {device}, torch {torch}" for (device, torch), at in commits.items()]
        return f"finished runs of the **{self.profile}** profile, computed {'; and '.join(made)}"

    @cached_property
    def _places(self) -> dict[tuple[str, str], dict[str, str]]:
        """By experiment and configuration, the folder of the run that each code made."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for name, run in self.content["runs"].items():
            found.setdefault((name.split("/")[0], run["config"]), {})[run["code"]] = name
        return found

    def find(self, experiment: str, config: Mapping[str, Any], code: str) -> Path | None:
        """The folder of the run of ``config``; ``None`` where ``code`` made none."""
        name = self._places.get((experiment, digest_of(config)), {}).get(code)
        return self.folder / name if name else None

    def has_of_other_code(self, experiment: str, config: Mapping[str, Any]) -> bool:
        """Tell if there is a run of ``config``, whatever code made it."""
        return (experiment, digest_of(config)) in self._places


def pack(runs: Path, profile: str, pages: Mapping[str, Mapping[str, bool]], to: Path) -> dict[str, Any]:
    """Write the archive ``to``, with its checksum beside it; the list that it begins with.

    Args:
        runs: the folder of finished runs.
        profile: the profile of the pages.
        pages: by page the runs that it asked for, as in ``annuli/6a3c2e20aa1b9c3d``, and whether it read their weights.

    Raises:
        ArchiveError: when a page has a run of other code than this.
        DamagedFile: when a run is not what was kept.
    """
    content = _listed(runs, profile, pages)
    names = [name for run, of in content["runs"].items() for name in (f"{run}/{file}" for file in of["files"])]
    to.parent.mkdir(parents=True, exist_ok=True)

    def write(path: Path) -> None:
        with path.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            _add(tar, LIST, json.dumps(content, indent=1).encode())
            for name in names:
                _add(tar, name, (runs / name).read_bytes())

    write_atomically(to, write)
    text = f"{digest(to)}  {to.name}\n"
    write_atomically(sums(to), lambda path: path.write_text(text, encoding="utf-8"))
    return content


def sums(archive: Path) -> Path:
    """The file beside ``archive`` that holds its SHA-256."""
    return archive.with_name(archive.name + CHECKSUM)


def checksum_in(text: str) -> str:
    """The SHA-256 in the text of such a file; empty where there is none."""
    found = re.match(r"[0-9a-f]{64}\b", text)
    return found[0] if found else ""


def _listed(runs: Path, profile: str, pages: Mapping[str, Mapping[str, bool]]) -> dict[str, Any]:
    asked: dict[str, dict[str, bool]] = {}
    for page, of in pages.items():
        for name, weights in of.items():
            asked.setdefault(name, {})[page] = weights
    listed, made = {}, {}
    for name in sorted(asked):
        record = store.read(runs / name)
        listed[name] = _run(runs / name, record, asked[name])
        facts = {key: record["provenance"][key] for key in ("commit", "device", "versions")}
        made[digest_of(facts)] = facts
    content = {
        "format": FORMAT,
        "profile": profile,
        "commit": provenance.commit(),
        "made": sorted(made.values(), key=lambda one: json.dumps(one, sort_keys=True)),
        "runs": listed,
    }
    return {**content, "sha256": digest_of(content)}


def _run(folder: Path, record: Mapping[str, Any], pages: Mapping[str, bool]) -> dict[str, Any]:
    from ncode.reproduction.runs.experiment import named

    module = named(record["experiment"]).train.__module__
    if record["provenance"]["code"] != provenance.code_fingerprint(module):
        raise ArchiveError(
            f"{folder}: was made by other code than this, and {', '.join(pages)} shows it. Build the book again first."
        )
    files = [store.RECORD]
    if any(pages.values()):
        store.tensors(folder, record["weights"])
        files.append(store.WEIGHTS)
    return {
        "config": digest_of(record["config"]),
        "code": provenance.portable_fingerprint(module),
        "pages": sorted(pages),
        "files": {file: digest(folder / file) for file in files},
    }


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # Its time, owner and mode are those of nobody: the same runs give the same bytes.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def read(path: Path, cache: Path, expected: str = "", source: str = "") -> Archive:
    """The archive at ``path``, whose files are put below ``cache`` once and compared with their checksums every time.

    Args:
        expected: its SHA-256; where none is given, what the file beside it says, if there is one.
        source: where it came from, if not from there.

    Raises:
        ArchiveError: when it is not there, or is not what was packed.
    """
    if not path.is_file():
        raise ArchiveError(f"{path}: there is no such archive of runs.")
    found = digest(path)
    if not expected and sums(path).is_file():
        expected = checksum_in(sums(path).read_text(encoding="utf-8", errors="replace"))
    if expected and found != expected:
        raise ArchiveError(f"{path}: is truncated or altered: its SHA-256 is {found}, not {expected}. Get it anew.")
    return extracted(cache, found, source or str(path)) or _extract(path, cache, found, source or str(path))


def extracted(cache: Path, checksum: str, source: str) -> Archive | None:
    """The archive of that SHA-256 as it was put below ``cache``; ``None`` unless all of it is there, unaltered."""
    folder = _folder(cache, checksum)
    try:
        content = _sealed((folder / LIST).read_bytes())
        sound = all(digest(folder / name) == sha for name, sha in _files(content).items())
    except (OSError, ValueError):
        return None
    return Archive(source, folder, content) if sound else None


def _folder(cache: Path, checksum: str) -> Path:
    return cache / checksum[:16]


def _extract(path: Path, cache: Path, checksum: str, source: str) -> Archive:
    folder = _folder(cache, checksum)
    cache.mkdir(parents=True, exist_ok=True)
    # Notebooks run side by side: the second waits for the first, and finds its files.
    with FileLock(cache / f".{folder.name}.lock"):
        if there := extracted(cache, checksum, source):
            return there
        temporary = Path(tempfile.mkdtemp(dir=cache, prefix=f".{folder.name}-"))
        try:
            content = _unpack(path, temporary)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Archive(source, folder, content)


def _unpack(path: Path, to: Path) -> Mapping[str, Any]:
    """Write what ``path`` holds below ``to``; its list."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            members = _members(tar, path.stat().st_size)
            first, text = next(members, ("", b""))
            if first != LIST:
                raise ValueError(f"does not begin with {LIST}")
            content = _sealed(text)
            _write(to / LIST, text)
            left = _files(content)
            for name, data in members:
                if left.pop(name, None) != hashlib.sha256(data).hexdigest():
                    raise ValueError(f"{name!r} is not what was packed")
                _write(to / name, data)
            if left:
                raise ValueError(f"{min(left)} is missing")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, EOFError, tarfile.TarError) as error:
        raise ArchiveError(f"{path}: is truncated or altered, or no archive of runs ({error}). Get it anew.") from error
    return content


def _members(tar: tarfile.TarFile, largest: int) -> Iterator[tuple[str, bytes]]:
    """The names and contents of plain files; nothing else is allowed, and no file larger than the archive."""
    for member in tar:
        if member.type != tarfile.REGTYPE or member.sparse is not None or member.pax_headers:
            raise ValueError(f"{member.name!r} is no plain file")
        if member.size > (_LONGEST_LIST if member.name == LIST else largest):
            raise ValueError(f"{member.name!r} is too large")
        content = tar.extractfile(member)
        yield member.name, content.read() if content else b""


def _sealed(text: bytes) -> dict[str, Any]:
    """The list in ``text``.

    Raises:
        ValueError: when it is none, or not what was packed.
    """
    content = json.loads(text)
    if not isinstance(content, dict) or not isinstance(content.get("runs"), dict):
        raise ValueError(f"{LIST} is no list of runs")
    if content.get("format") != FORMAT:
        raise ValueError(f"{LIST} has the format {content.get('format')!r}, and this version of ncode reads {FORMAT}")
    if content.pop("sha256", None) != digest_of(content):
        raise ValueError(f"{LIST} is not what was written")
    for name in _files(content):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no place of a run")
    return content


def _files(content: Mapping[str, Any]) -> dict[str, str]:
    """Of every file its place below the folder, and its SHA-256."""
    return {f"{name}/{file}": sha for name, run in content["runs"].items() for file, sha in run["files"].items()}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
