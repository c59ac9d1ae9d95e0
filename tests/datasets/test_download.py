"""Downloads over a real connection to this machine: checked, whole or absent, and only once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from poolwise.datasets.download import cache_folder, fetch
from poolwise.errors import DownloadError
from poolwise.progress import listening


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and remembers what was asked; `short` files break off."""

    asked: list[str] = []  # noqa: RUF012

    def log_message(self, *args: object) -> None:
        self.asked.append(self.path)

    def do_GET(self) -> None:
        if self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
        else:
            super().do_GET()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "served"
    folder.mkdir()
    Quiet.asked = []
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", folder
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_file_arrives_once_with_progress(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    data = bytes(range(256)) * 12_000  # 3 MB
    (folder / "x.bin").write_bytes(data)
    seen: list[tuple[str, int, int]] = []
    with listening(lambda *news: seen.append(news)):
        path = fetch(f"{address}/x.bin", tmp_path / "x.bin", sha256(data))
    assert path.read_bytes() == data
    assert seen[-1] == ("Download x.bin (KiB)", 3000, 3000)
    fetch(f"{address}/x.bin", tmp_path / "x.bin", "md5:" + hashlib.md5(data).hexdigest())
    assert len(Quiet.asked) == 1, "the second call finds it in the cache"


def test_a_wrong_or_short_or_huge_file_never_appears(server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    (folder / "x.bin").write_bytes(b"something else")
    cache = tmp_path / "cache"
    cache.mkdir()
    target = cache / "x.bin"
    with pytest.raises(DownloadError, match=r"is not the file expected: its checksum is sha256:.*put the right file"):
        fetch(f"{address}/x.bin", target, sha256(b"expected"))
    with pytest.raises(DownloadError, match=r"broke off after 10 of 1000|cannot download"):
        fetch(f"{address}/short", target, sha256(b""))
    with pytest.raises(DownloadError, match="sends more than 5 bytes"):
        fetch(f"{address}/x.bin", target, sha256(b""), max_bytes=5)
    with pytest.raises(DownloadError, match=r"cannot download .*404.*Check the connection"):
        fetch(f"{address}/nowhere", target, sha256(b""))
    assert list(cache.iterdir()) == [], "nothing half-written stays behind"


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"good")
    (tmp_path / "kept").write_bytes(b"bad")
    fetch((tmp_path / "source").as_uri(), tmp_path / "kept", sha256(b"good"))
    assert (tmp_path / "kept").read_bytes() == b"good"


def test_other_addresses_and_no_connection_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="expected an https, http or file address, got 'ftp'"):
        fetch("ftp://example.org/x", tmp_path / "x", sha256(b""))
    with pytest.raises(DownloadError, match=r"cannot download http://127\.0\.0\.1:9/x"):
        fetch("http://127.0.0.1:9/x", tmp_path / "x", sha256(b""))


def test_the_cache_folder_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POOLWISE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("a") == tmp_path / "xdg" / "poolwise" / "a"
    monkeypatch.setenv("POOLWISE_CACHE", str(tmp_path / "env"))
    assert cache_folder("a") == tmp_path / "env" / "a"
    assert cache_folder("a", tmp_path / "given") == tmp_path / "given" / "a"
    assert (tmp_path / "given" / "a").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DownloadError, match="Set POOLWISE_CACHE to one you can write"):
        cache_folder("a", tmp_path / "file")
