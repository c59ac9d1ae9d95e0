"""Fetching public data once, checked, into a cache folder."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

from poolwise.errors import DownloadError
from poolwise.progress import task

CHUNK_BYTES = 2**20
TIMEOUT_S = 60


def cache_folder(name: str, cache: str | Path | None = None) -> Path:
    """Return (and make) the folder where files of one data set are kept.

    Parameters
    ----------
    cache : default the environment variable POOLWISE_CACHE, else poolwise in the user's cache folder

    Raises
    ------
    DownloadError
        If it cannot be made.
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    base = Path(cache or os.environ.get("POOLWISE_CACHE") or Path(home) / "poolwise").expanduser().absolute()
    folder = base / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"cannot make the cache folder {str(folder)!r} ({error.strerror}). Set POOLWISE_CACHE to one you can write."
        ) from error
    return folder


def fetch(url: str, path: Path, checksum: str, *, max_bytes: int = 2**30) -> Path:
    """Download a file unless it is there already; it appears under its name only when it is right.

    Parameters
    ----------
    url : https, http or file address
    checksum : "sha256:..." or "md5:..." in lower case hexadecimal, as the publisher states it
    max_bytes : stop when more than this arrives

    Raises
    ------
    DownloadError
        If the address cannot be reached, or what came is not the file expected.
    """
    if path.is_file() and file_checksum(path, checksum.partition(":")[0]) == checksum:
        return path
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("https", "http", "file"):
        raise DownloadError(f"cannot download {url!r}: expected an https, http or file address, got {scheme!r}.")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            _copy(url, out, max_bytes)
        came = file_checksum(Path(temporary), checksum.partition(":")[0])
        if came != checksum:
            raise DownloadError(
                f"{url} is not the file expected: its checksum is {came}, not {checksum}. "
                f"Try again, or put the right file at {str(path)!r} yourself."
            )
        os.replace(temporary, path)  # noqa: PTH105
    except (http.client.HTTPException, OSError) as error:
        if isinstance(error, DownloadError):
            raise
        raise DownloadError(
            f"cannot download {url} ({error}). Check the connection, or put the file at {str(path)!r} yourself."
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def file_checksum(path: Path, kind: str = "sha256") -> str:
    """Return "kind:hexadecimal" of a file."""
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def _copy(url: str, out: object, max_bytes: int) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "poolwise"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
        total = int(reply.headers.get("Content-Length") or 0)
        name = url.rsplit("/", 1)[-1]
        with task(f"Download {name} (KiB)", max(total // 1024, 1)) as progress:
            done = 0
            while block := reply.read(CHUNK_BYTES):
                done += len(block)
                if done > max_bytes:
                    raise DownloadError(f"{url} sends more than {max_bytes} bytes; expected a smaller file.")
                out.write(block)  # type: ignore[attr-defined]
                progress.advance(len(block) // 1024)
    if total and done != total:
        raise DownloadError(f"{url} broke off after {done} of {total} bytes. Try again.")
