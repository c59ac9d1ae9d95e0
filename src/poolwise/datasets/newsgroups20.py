"""20 newsgroups, sorted by date: 18,846 postings in 20 classes.

Source: Lang, "NewsWeeder: Learning to Filter Netnews", ICML 1995; the "bydate" version of Rennie,
http://qwone.com/~jason/20Newsgroups/. Licence: none stated (public postings). SHA-256 of the
archive: scikit-learn, sklearn/datasets/_twenty_newsgroups.py (1.5).
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from poolwise.datasets.download import cache_folder, fetch
from poolwise.datasets.source import Source
from poolwise.datasets.table_text import table_text
from poolwise.errors import DownloadError
from poolwise.registry import dataset

ADDRESS = "http://qwone.com/~jason/20Newsgroups/20news-bydate.tar.gz"
CHECKSUM = "sha256:8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610"
MAX_TEXT_BYTES = 2**20


@dataset("newsgroups20")
def newsgroups20(
    *, split: Literal["train", "test"] = "train", cache: str | Path | None = None, address: str = ADDRESS
) -> Source:
    """Open 20 newsgroups, sorted by group and number; downloads 14 MB the first time.

    The text is the subject and the body; other header lines are dropped, because they name the group.

    Parameters
    ----------
    split : 11,314 or 7,532 postings
    cache : folder to keep the files in; default see `cache_folder`
    address : where the archive is; a `file://` address works offline

    Returns
    -------
    A source of texts with labels.

    Raises
    ------
    DownloadError
        If the archive cannot be fetched or is not the one expected.
    """
    folder = cache_folder("newsgroups20", cache)
    archive = fetch(address, folder / "20news-bydate.tar.gz", CHECKSUM)
    table = folder / f"{split}.parquet"
    if not table.is_file():
        rows = read_postings(archive, f"20news-bydate-{split}")
        temporary = table.with_suffix(".writing")
        pq.write_table(pa.Table.from_pylist(rows), temporary)
        temporary.replace(table)
    return table_text(table, "text", id_column="id", label_column="group")


def read_postings(archive: Path, folder: str) -> list[dict[str, str]]:
    """Read the postings in one folder of the archive; nothing is unpacked to disk.

    Returns
    -------
    One dictionary a posting, sorted by id: "id" (group/number), "group", "text".

    Raises
    ------
    DownloadError
        If the archive is broken or holds no posting in that folder.
    """
    rows = []
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                parts = member.name.split("/")
                file = tar.extractfile(member) if len(parts) == 3 and parts[0] == folder and member.isfile() else None
                if file is not None:
                    text = subject_and_body(file.read(MAX_TEXT_BYTES).decode("latin-1"))
                    rows.append({"id": f"{parts[1]}/{parts[2]}", "group": parts[1], "text": text})
        if not rows:
            raise ValueError(f"no postings in {folder!r}")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DownloadError(f"{str(archive)!r} is not 20 newsgroups ({error}). Delete it and try again.") from error
    return sorted(rows, key=lambda row: row["id"])


def subject_and_body(posting: str) -> str:
    """Keep the subject and what follows the first blank line."""
    head, _, body = posting.replace("\r\n", "\n").partition("\n\n")
    subjects = [line[8:].strip() for line in head.split("\n") if line.lower().startswith("subject:")]
    return "\n".join([*subjects[:1], body]).strip()
