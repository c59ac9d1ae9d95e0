"""Embedding a pool: item i becomes row i of an array, part by part, so that it can stop and go on."""

from __future__ import annotations

import io
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from poolwise.chance import rng_for
from poolwise.datasets.content import load_content
from poolwise.datasets.source import content_of
from poolwise.engine.door import check_settings
from poolwise.engine.mapping import map_tasks
from poolwise.errors import InputError, OptionError, UnreadableItemError
from poolwise.models.backbone import Embedder, Fittable, Fitted, default_backbone, open_backbone
from poolwise.progress import Task, task
from poolwise.store.arrays import array_name, float16_loss
from poolwise.store.files import make_directory, write_atomic
from poolwise.store.pool import PoolStore
from poolwise.types import SKIP, Annotation, Array, Item

HASHES = "content_hash"
"""Array (N, 2) int64: hash of what was read, 0 where nothing could be; equal rows are duplicates."""

UNREADABLE = "unreadable:"
"""Start of settings of the pool, one a part: pool index (as text) -> why the item could not be read."""

EMBEDDED = "embedded"
"""Setting of the pool: kind of array -> its full name, backbone and weights, as last used."""

ANNOTATOR = "poolwise"
"""Who answers SKIP for items that cannot be read, so that no query asks for them."""


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What embedding did.

    array : full name of the array, such as "embeddings@0123456789ab"
    backbone, digest, width : what made it; width is D
    n_items : rows the array has now; n_new : rows made by this call
    unreadable : pool index -> reason, for the whole pool; these rows are zero, and the items are
        answered SKIP so that no query asks for them
    duplicates : groups of two or more pool indices with equal content, sorted
    seconds : time of this call
    """

    array: str
    backbone: str
    digest: str
    width: int
    n_items: int
    n_new: int
    unreadable: Mapping[int, str]
    duplicates: tuple[tuple[int, ...], ...]
    seconds: float

    @property
    def n_duplicates(self) -> int:
        """Items that repeat an earlier one."""
        return sum(len(group) - 1 for group in self.duplicates)

    def summary(self) -> str:
        """Say it in one to three lines."""
        lines = [
            f"{self.backbone}: {self.n_new} items embedded in {self.seconds:.1f} s; "
            f"{self.array} has {self.n_items} rows of {self.width}"
        ]
        if self.unreadable:
            index, reason = next(iter(sorted(self.unreadable.items())))
            lines.append(f"unreadable, never asked: {len(self.unreadable)}, such as item {index} ({reason})")
        if self.duplicates:
            lines.append(f"duplicates of an earlier item: {self.n_duplicates}, in groups: {len(self.duplicates)}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One item ready to be embedded: prepared content and its hash, or the reason why not."""

    index: int
    prepared: Any = None
    hash: bytes = bytes(16)
    reason: str | None = None


def embed_pool(
    pool: PoolStore,
    backbone: str | None = None,
    *,
    array: str = "embeddings",
    weights: str | Path | None = None,
    device: str = "auto",
    rows_per_part: int = 4096,
    batch_size: int = 64,
    n_workers: int | None = None,
    seed: int | None = None,
    repair: bool = False,
    engine: str = "local",
    workers: int = 1,
    address: str | None = None,
) -> EmbedReport:
    """Embed the items of a pool that have no row yet.

    Each finished part is on disk at once; a call after a crash goes on with the next part, and a call
    after items were appended embeds only those, with the transform learned before.

    Parameters
    ----------
    backbone : see `open_backbone`; default what embedded this pool before, else "pixels" for images
        and "tfidf" for texts
    array : kind of the array; the digest of the model is added to its name
    weights, device : see `open_backbone`
    rows_per_part : rows of one part, the unit of work that a crash can lose
    batch_size : items of one forward pass
    n_workers : threads that read and decode; default the number of processors, at most 16
    seed : of the sample that pixels and tfidf learn from; default the seed of the pool
    repair : first drop parts that are damaged, so that they are made again
    engine, workers, address : who embeds the parts, as for `engine.map`: "local" (threads), "processes" or "ray", which
        must see the pool and its items at the same path. Parts are written here, in order; a worker that is killed
        is replaced

    Returns
    -------
    What was done, with unreadable items and duplicates of the whole pool.

    Raises
    ------
    InputError
        If the items have no content, their folder or file is gone, or a whole part cannot be read.
    OptionError, UnknownNameError, MissingExtraError, DownloadError
        As `open_backbone`.
    EngineError
        If workers are lost again and again; finished parts stay.

    Notes
    -----
    Memory: two batches of prepared items and one part of vectors, for each worker. An item that cannot be read gets
    a row of zeros, an entry in the pool's settings (see `unreadable_items`), and the answer SKIP.
    """
    begun = time.perf_counter()
    for option, value in (("rows_per_part", rows_per_part), ("batch_size", batch_size)):
        if value < 1:
            raise OptionError(f"{option} must be at least 1; got {value}.")
    check_settings(engine, workers, address)
    settings = pool.source
    content = content_of(settings)
    if content == "none":
        raise InputError(
            f"pool {pool.name!r} was made from embeddings; there is nothing to embed. Query it directly; "
            "if its arrays are damaged, make it again from the file they came from."
        )
    _check_place(settings, pool)
    n_workers = n_workers or max(1, min(16, os.cpu_count() or 1) // workers)
    before = pool.settings.get(EMBEDDED, {}).get(array, {})
    if backbone is None and before:
        backbone, weights = before["backbone"], weights or before["weights"]
    backbone = backbone or default_backbone(content)
    opened = open_backbone(backbone, content=content, weights=weights, device=device)
    with ThreadPoolExecutor(n_workers) as readers:
        seed = pool.seed if seed is None else seed
        embedder = _fitted(opened, pool, settings, readers, seed) if isinstance(opened, Fittable) else opened
        name = array_name(array, embedder.digest)
        if repair:
            for damaged in (name, HASHES):
                if damaged in pool.arrays:
                    pool.arrays.drop_corrupt(damaged)
        n_items = pool.n_items
        missing = pool.arrays.missing_rows(name, n_items)
        n_new = sum(len(rows) for rows in missing)
        with task(f"embed {pool.name}", n_new) as work:
            parts = list(_parts(missing, rows_per_part))
            if (engine, workers) == ("local", 1):
                for part in parts:
                    loaded = _load(pool.iter_items(part.start, part.stop), settings, embedder, readers, batch_size)
                    _write_part(pool, name, part, embedder, _embedded(part, embedder, loaded, batch_size, work))
            else:
                place = Place(
                    str(pool.path.absolute()), backbone, _text(weights), device, embedder.digest, batch_size, n_workers
                )
                jobs = [(place, part.start, part.stop) for part in parts]
                answers = map_tasks(embed_part, jobs, engine=engine, workers=workers, address=address)
                for number, done_part in in_order(answers):
                    _write_part(pool, name, parts[number], embedder, done_part)
                    work.advance(len(parts[number]))
    done = {"array": name, "backbone": backbone, "weights": _text(weights)}
    if done != before:
        pool.settings[EMBEDDED] = dict(pool.settings.get(EMBEDDED, {})) | {array: done}
    return EmbedReport(
        array=name,
        backbone=embedder.name,
        digest=embedder.digest,
        width=embedder.width,
        n_items=n_items,
        n_new=n_new,
        unreadable=unreadable_items(pool),
        duplicates=duplicate_groups(pool),
        seconds=time.perf_counter() - begun,
    )


def unreadable_items(pool: PoolStore) -> dict[int, str]:
    """Return pool index -> reason of the items that could not be read so far."""
    found = [pool.settings[key] for key in pool.settings if key.startswith(UNREADABLE)]
    return dict(sorted((int(index), str(reason)) for reasons in found for index, reason in reasons.items()))


def duplicate_groups(pool: PoolStore) -> tuple[tuple[int, ...], ...]:
    """Group the embedded items with equal content; each group and the groups are sorted by pool index.

    Notes
    -----
    Time O(N log N), memory 40 bytes an item.
    """
    if HASHES not in pool.arrays:
        return ()
    hashes = np.asarray(pool.arrays.read(HASHES)[slice(0, None)])  # (n, 2)
    readable = np.flatnonzero(hashes.any(axis=1))
    order = readable[np.lexsort((readable, hashes[readable, 1], hashes[readable, 0]))]
    new_group = np.ones(len(order), dtype=bool)
    new_group[1:] = (hashes[order[1:]] != hashes[order[:-1]]).any(axis=1)
    groups = np.split(order, np.flatnonzero(new_group)[1:])
    return tuple(sorted(tuple(group.tolist()) for group in groups if len(group) > 1))


def _check_place(settings: Mapping[str, Any], pool: PoolStore) -> None:
    """Refuse to call every item unreadable when a disk is not mounted or a folder was moved."""
    folder, file = settings.get("folder"), settings.get("file")
    rows = settings.get("kind") == "image_rows"
    if (folder is not None and not Path(folder).is_dir()) or (rows and not Path(str(file)).is_file()):
        raise InputError(
            f"the items of pool {pool.name!r} were at {str(file if rows else folder)!r}, which is not there. "
            "Move it back, or mount the disk, and run `poolwise embed` again."
        )


def _parts(missing: Sequence[range], rows_per_part: int) -> Iterator[range]:
    """Cut row ranges at multiples of `rows_per_part`."""
    for rows in missing:
        start = rows.start
        while start < rows.stop:
            stop = min(rows.stop, (start // rows_per_part + 1) * rows_per_part)
            yield range(start, stop)
            start = stop


def _load_one(item: Item, settings: Mapping[str, Any], embedder: Embedder) -> Loaded:
    try:
        content, content_hash = load_content(item, settings, at_least=embedder.at_least)
    except UnreadableItemError as error:
        return Loaded(item.index, reason=str(error))
    return Loaded(item.index, embedder.prepare(content), content_hash)


def _load(
    items: Iterator[Item], settings: Mapping[str, Any], embedder: Embedder, workers: ThreadPoolExecutor, batch_size: int
) -> Iterator[Loaded]:
    """Load items in order, at most two batches ahead of whoever takes them."""
    waiting: deque[Future[Loaded]] = deque()
    for item in items:
        waiting.append(workers.submit(_load_one, item, settings, embedder))
        if len(waiting) >= 2 * batch_size:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@dataclass(frozen=True, slots=True)
class EmbeddedPart:
    """Rows of one part: vectors (n, D) float32, hashes (n, 2) int64, and why items could not be read."""

    vectors: Array
    hashes: Array
    reasons: dict[int, str]


def _embedded(
    part: range, embedder: Embedder, loaded: Iterator[Loaded], batch_size: int, work: Task | None
) -> EmbeddedPart:
    """Embed the rows of one part."""
    vectors = np.zeros((len(part), embedder.width), dtype=np.float32)
    hashes = np.zeros((len(part), 2), dtype=np.int64)
    reasons: dict[int, str] = {}
    while batch := list(islice(loaded, batch_size)):
        readable = [one for one in batch if one.reason is None]
        if readable:
            pos = np.array([one.index for one in readable]) - part.start
            vectors[pos] = embedder.embed([one.prepared for one in readable])
            hashes[pos] = np.frombuffer(b"".join(one.hash for one in readable), dtype="<i8").reshape(-1, 2)
        reasons.update({one.index: one.reason for one in batch if one.reason is not None})
        if work is not None:
            work.advance(len(batch))
    return EmbeddedPart(vectors, hashes, reasons)


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker needs to embed parts of a pool: where the pool is, and the backbone as `embed_pool` opened it.

    digest : of the embedder; a worker that comes to another one would make rows that do not fit
    n_readers : threads that read and decode
    """

    pool: str
    backbone: str
    weights: str | None
    device: str
    digest: str
    batch_size: int
    n_readers: int


def embed_part(job: tuple[Place, int, int]) -> EmbeddedPart:
    """Embed the items `start` to `stop` - 1 of a pool; what `engine.map` runs in a worker."""
    place, start, stop = job
    with PoolStore.open(place.pool) as pool, ThreadPoolExecutor(place.n_readers) as readers:
        embedder = _opened(place, pool)
        loaded = _load(pool.iter_items(start, stop), pool.source, embedder, readers, place.batch_size)
        return _embedded(range(start, stop), embedder, loaded, place.batch_size, None)


_EMBEDDERS: dict[Place, Embedder] = {}
"""What this process has opened before: a worker embeds many parts with one model."""


def _opened(place: Place, pool: PoolStore) -> Embedder:
    embedder = _EMBEDDERS.get(place)
    if embedder is None:
        content: Any = content_of(pool.source)
        opened = open_backbone(place.backbone, content=content, weights=place.weights, device=place.device)
        if isinstance(opened, Fittable):
            opened = opened.restored(_read_parameters(_parameter_file(pool, cast(Embedder, opened).name)))
        if opened.digest != place.digest:
            raise InputError(
                f"a worker opened {place.backbone!r} with digest {opened.digest}; expected {place.digest}. Give all "
                "machines the same weights and versions, or embed with one worker."
            )
        _EMBEDDERS.clear()
        _EMBEDDERS[place] = embedder = opened
    return embedder


def in_order(answers: Iterator[tuple[int, EmbeddedPart]]) -> Iterator[tuple[int, EmbeddedPart]]:
    """Yield (position, answer) from position 0 on, whatever the order in which answers come."""
    waiting: dict[int, EmbeddedPart] = {}
    wanted = 0
    for position, answer in answers:
        waiting[position] = answer
        while wanted in waiting:
            yield wanted, waiting.pop(wanted)
            wanted += 1


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _write_part(pool: PoolStore, name: str, part: range, embedder: Embedder, done: EmbeddedPart) -> None:
    """Write the rows of one part: first what is unreadable, then hashes, then vectors."""
    _note_unreadable(pool, part, done.reasons)
    for rows in pool.arrays.missing_rows(HASHES, part.stop):
        inside = range(max(rows.start, part.start), rows.stop)
        if len(inside):
            hashes = done.hashes[inside.start - part.start : inside.stop - part.start]
            pool.arrays.write_part(HASHES, inside.start, hashes)
    first = name not in pool.arrays
    dtype = np.float32 if first and float16_loss(done.vectors) is not None else None
    producer = {"backbone": embedder.name, "digest": embedder.digest, "width": embedder.width}
    pool.arrays.write_part(name, part.start, done.vectors, dtype=dtype, producer=producer)


def _note_unreadable(pool: PoolStore, part: range, reasons: Mapping[int, str]) -> None:
    """Remember the reasons, and answer SKIP for items that have no answer yet.

    Raises
    ------
    InputError
        If not one of 20 or more items of a part can be read: then it is the place that is wrong.
    """
    if len(reasons) == len(part) >= 20:
        index, reason = next(iter(reasons.items()))
        raise InputError(
            f"none of the items {part.start} to {part.stop - 1} of pool {pool.name!r} can be read; "
            f"item {index}: {reason}. Check that the files are there, then run `poolwise embed` again."
        )
    for key in [key for key in pool.settings if key.startswith(UNREADABLE)]:  # forget what can be read by now
        before = pool.settings[key]
        still = {index: reason for index, reason in before.items() if int(index) not in part}
        if still != before:
            pool.settings[key] = still
    if not reasons:
        return
    key = f"{UNREADABLE}{part.start}"
    pool.settings[key] = dict(pool.settings.get(key, {})) | {str(index): reason for index, reason in reasons.items()}
    unlabeled = set(pool.state().unlabeled.tolist())
    answers = [
        Annotation(index, SKIP, annotator=ANNOTATOR, source="unreadable") for index in reasons if index in unlabeled
    ]
    if answers:
        pool.annotate(answers, allow_unasked=True)


def _fitted(
    opened: Fittable, pool: PoolStore, settings: Mapping[str, Any], workers: ThreadPoolExecutor, seed: int
) -> Embedder:
    """Restore the parameters kept with the pool, or learn them from a sample and keep them."""
    unfitted = cast(Embedder, opened)
    path = _parameter_file(pool, unfitted.name)
    if path.is_file():
        return opened.restored(_read_parameters(path))
    rng = rng_for(seed, "embed", 0)
    n_items = pool.n_items
    sample = np.sort(rng.permutation(n_items)[: opened.fit_rows])
    prepared, reason = [], ""
    with task(f"learn {unfitted.name}", len(sample)) as work:
        for one in _load(iter(pool.items(sample)), settings, unfitted, workers, 64):
            work.advance()
            if one.reason is None:
                prepared.append(one.prepared)
            reason = reason or f"item {one.index}: {one.reason}" * (one.reason is not None)
    if not prepared:
        raise InputError(f"none of {len(sample)} items of pool {pool.name!r} can be read; {reason}. Check the files.")
    embedder = opened.fit(prepared, rng)
    make_directory(path.parent)
    _write_parameters(path, cast(Fitted, embedder).parameters)
    return embedder


def _parameter_file(pool: PoolStore, backbone: str) -> Path:
    return pool.path / "models" / f"{backbone.replace(':', '-')}.npz"


def _read_parameters(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # zipfile, zlib and NumPy each raise their own
        raise InputError(f"{str(path)!r} is damaged ({error}). Delete it to learn the transform again.") from error


def _write_parameters(path: Path, parameters: Mapping[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **parameters)
    write_atomic(path, buffer.getvalue())
