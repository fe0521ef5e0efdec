"""Downloads against a server on this machine: resumed, verified, and never half taken for whole."""

import errno
import http.server
import threading

import pytest

from ncode.reproduction.data import downloads
from ncode.reproduction.data.downloads import DataError, checksum, fetch

CONTENT = bytes(range(256)) * 2000


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; the class attributes say how well."""

    resumes = True
    breaks_at: int | None = None
    status = 200
    content = CONTENT
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        if self.status != 200:
            self.send_error(self.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.resumes else 0
        if start >= len(self.content):
            self.send_error(416)
            return
        body = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.breaks_at is None else body[: self.breaks_at])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("resumes", "breaks_at", "status", "content"):
        monkeypatch.setattr(Server, name, getattr(Server, name))
    monkeypatch.setattr(Server, "asked", [])
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/file.bin"
        running.shutdown()


def get(url, folder):
    return fetch(url, folder / "file.bin", checksum(CONTENT))


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_is_downloaded_once(server, tmp_path):
    assert get(server, tmp_path).read_bytes() == CONTENT
    get(server, tmp_path)
    assert Server.asked == [None]
    assert names(tmp_path) == ["file.bin"]


def test_an_interrupted_download_goes_on(server, tmp_path):
    Server.breaks_at = 100_000
    with pytest.raises(DataError, match=r"file\.bin: could not be downloaded.*try again"):
        get(server, tmp_path)
    assert names(tmp_path) == ["file.bin.part"]
    Server.breaks_at = None
    assert get(server, tmp_path).read_bytes() == CONTENT
    have = int(Server.asked[1].removeprefix("bytes=").rstrip("-"))
    assert 0 < have <= 100_000
    assert names(tmp_path) == ["file.bin"]


def test_a_server_that_cannot_resume_sends_everything(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    Server.resumes = False
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_rest_of_another_file_is_thrown_away(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"y" * (len(CONTENT) + 5))
    assert get(server, tmp_path).read_bytes() == CONTENT
    (tmp_path / "file.bin").unlink()
    (tmp_path / "file.bin.part").write_bytes(b"y" * 1000)
    with pytest.raises(DataError, match="wrong checksum"):
        get(server, tmp_path)
    assert names(tmp_path) == []
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_wrong_content_is_discarded(server, tmp_path):
    Server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DataError, match=r"file\.bin.*wrong checksum and was discarded"):
        get(server, tmp_path)
    assert names(tmp_path) == []


def test_a_missing_page_names_file_and_address(server, tmp_path):
    Server.status = 404
    with pytest.raises(DataError, match=r"file\.bin.*404") as caught:
        get(server, tmp_path)
    assert server in str(caught.value)
    assert names(tmp_path) == []


def test_a_full_disk_says_so(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(downloads, "_receive", full)
        with pytest.raises(DataError, match=r"file\.bin: the disk is full.*NCODE_DATA"):
            get(server, tmp_path)
    assert "file.bin" not in names(tmp_path)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_other_disk_errors_are_not_dressed_up(server, tmp_path, monkeypatch):
    def broken(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(downloads, "_receive", broken)
    with pytest.raises(PermissionError):
        get(server, tmp_path)


def test_two_who_want_one_file_at_once_both_get_it(server, tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(get(server, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "file.bin"] * 4
    assert found[0].read_bytes() == CONTENT
    assert Server.asked == [None]
