"""A pool on disk: items, arrays and ledger in one directory; its state as of any round."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import os
import re
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from poolwise.chance import rng_for
from poolwise.errors import InputError, StoreError, UnknownNameError
from poolwise.store import ledger
from poolwise.store.arrays import PoolArrays
from poolwise.store.database import Database
from poolwise.store.database import explained as explained_sql
from poolwise.store.files import explained, make_directory, put_in_place, read_only
from poolwise.store.records import Batch, metrics_to_dict, now, to_json
from poolwise.store.standing import Standing
from poolwise.types import NOT_OF_INTEREST, SKIP, Annotation, IndexArray, Item, PoolState, Round, Selection

LEDGER = "ledger.sqlite"
_STREAM_ROWS = 4096


class PoolStore:
    """The items of a pool, its arrays and its ledger.

    The promise: what a method has returned is on disk and survives `kill -9` and a power cut; what
    was interrupted is wholly there or wholly absent. Pool indices, item ids and class numbers never
    change; nothing is overwritten: a correction is a later annotation. Any number of processes and
    threads may work on one pool; two queries never get the same item. A pool in a read-only place
    can be read.

    Attributes
    ----------
    path, name : the directory, and its last part
    arrays : the named arrays, row i of each describing item i
    settings : small values by name (JSON), for whoever uses the pool
    """

    def __init__(self, path: Path, database: Database) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.name = path.resolve().name
        self.arrays = PoolArrays(path / "arrays", pool=path)
        self.settings = Settings(database)
        self._database = database
        self._standing = Standing()
        self._standing_pid = os.getpid()
        with database.read() as connection:
            self._meta = {key: ledger.get_value(connection, "meta", key) for key in ("source", "seed", "declared")}

    # --- create, open, close ----------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | Path,
        items: Iterable[Item],
        *,
        classes: Sequence[str] | None = None,
        source: Mapping[str, Any],
        seed: int = 0,
    ) -> Self:
        """Make a pool directory.

        Parameters
        ----------
        path : must not exist, or be an empty directory
        items : at least one; their order gives the pool indices (`Item.index` is not read)
        classes : class names in the order of their numbers; None: classes are those that labels name
        source : what the items were listed from (kind, folder, ...); kept as it is
        seed : every random choice of the pool follows from it

        Raises
        ------
        StoreError
            If there is a pool or anything else at `path`, or it cannot be written.
        InputError
            If there are no items, an item id is empty or occurs twice, or a class name does.

        Notes
        -----
        One million items take about 3 s. Items are streamed, not held in memory.
        """
        path = Path(path)
        names = _checked_classes(classes or ())
        if not 0 <= seed < 2**64:
            raise InputError(f"seed must be between 0 and 2**64 - 1; got {seed}.")
        source_items = iter(items)
        first = next(source_items, None)
        if first is None:
            raise InputError(f"a pool needs at least one item; the source of {path.name!r} has none. Check {source!r}.")
        _check_vacant(path)
        made = not path.exists()
        make_directory(path)
        aside = path / f".{LEDGER}.{secrets.token_hex(4)}.tmp"
        try:
            with explained(path), _building(aside) as connection:
                for key, value in {"source": source, "seed": int(seed), "declared": classes is not None}.items():
                    ledger.set_value(connection, "meta", key, value)
                ledger.add_classes(connection, 0, names)
                count = ledger.insert_items(connection, 0, itertools.chain([first], source_items))
                ledger.index_item_ids(connection)
                ledger.note_append(connection, 0, count, 0)
            put_in_place(aside, path / LEDGER)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                aside.unlink(missing_ok=True)
                if made:
                    path.rmdir()
            raise
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a pool directory.

        Raises
        ------
        StoreError
            If it is no pool, or is damaged.
        PoolVersionError
            If a newer poolwise made it.
        """
        path = Path(path)
        if not (path / LEDGER).is_file():
            what = "has no ledger" if path.is_dir() else "does not exist" if not path.exists() else "is a file"
            raise StoreError(f"{str(path)!r} is no pool: it {what}. Create one with `poolwise init {path} ...`.")
        database = Database(path / LEDGER)
        with database.read() as connection:
            ledger.check_version(connection, path)
        return cls(path, database)

    def close(self) -> None:
        """Merge the log of the ledger and let go of its file; a later use opens it again."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).open, (self.path.absolute(),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    # --- items ------------------------------------------------------------------------------------------------

    @property
    def n_items(self) -> int:
        """N, the number of items."""
        with self._database.read() as connection:
            return ledger.count_items(connection)

    @property
    def source(self) -> dict[str, Any]:
        """What the items were listed from, as given to `create`."""
        return dict(self._meta["source"])

    @property
    def seed(self) -> int:
        """The seed from which the random choices of the pool follow."""
        return int(self._meta["seed"])

    @property
    def writable(self) -> bool:
        """Whether the pool can be changed; False on a read-only file system."""
        return self._database.writable

    def item(self, index: int) -> Item:
        """Read one item."""
        return self.items([index])[0]

    def items(self, indices: Sequence[int] | IndexArray | None = None) -> list[Item]:
        """Read items, in the order of `indices` (default: all; `iter_items` streams them instead).

        Raises
        ------
        InputError
            If an index is not in the pool.
        """
        if indices is None:
            return list(self.iter_items())
        with self._database.read() as connection:
            wanted = _checked_indices(indices, ledger.count_items(connection))
            return ledger.select_some_items(connection, wanted)

    def iter_items(self, start: int = 0, stop: int | None = None) -> Iterator[Item]:
        """Stream the items start, ..., stop - 1 in order; memory of a few thousand items."""
        stop = self.n_items if stop is None else min(stop, self.n_items)
        for first in range(start, stop, _STREAM_ROWS):
            with self._database.read() as connection:
                items = ledger.select_items(connection, first, min(first + _STREAM_ROWS, stop))
            yield from items

    def item_ids(self, indices: Sequence[int] | IndexArray | None = None) -> list[str]:
        """Read the user's own keys, in the order of `indices` (default: all)."""
        with self._database.read() as connection:
            wanted = None if indices is None else _checked_indices(indices, ledger.count_items(connection))
            return ledger.select_ids(connection, wanted)

    def group_ids(self) -> list[str | None]:
        """Read the group (patient, video, ...) of every item, in order; None for an item without one."""
        with self._database.read() as connection:
            return ledger.select_groups(connection)

    def index_of(self, item_ids: Iterable[str]) -> IndexArray:
        """Find pool indices by the user's own keys.

        Returns
        -------
        (n,) int64, in the order of `item_ids`.

        Raises
        ------
        UnknownNameError
            If ids are not in the pool; names the first few and says how many.
        """
        wanted = list(item_ids)
        with self._database.read() as connection:
            found = ledger.find_ids(connection, dict.fromkeys(wanted))
        unknown = [key for key in dict.fromkeys(wanted) if key not in found]
        if unknown:
            some = self.item_ids([0])[0]
            raise UnknownNameError(
                f"pool {self.name!r} has no item {', '.join(map(repr, unknown[:3]))} ({len(unknown)} of {len(wanted)} "
                f"ids are unknown); its ids look like {some!r}. Correct them, or add the items with `poolwise add`."
            )
        return np.array([found[key] for key in wanted], dtype=np.int64)

    def append_items(self, items: Iterable[Item], *, skip_existing: bool = False) -> range:
        """Add items at the end of the pool, all or none.

        Parameters
        ----------
        items : their order gives the next pool indices (`Item.index` is not read)
        skip_existing : leave out items whose id is in the pool (or came before) instead of refusing all

        Returns
        -------
        The new pool indices; empty if nothing was new.

        Raises
        ------
        InputError
            If ids are in the pool or occur twice (named), unless `skip_existing`.
        """
        with self._database.write() as connection:
            first = n_items = ledger.count_items(connection)
            repeated: list[str] = []
            source = iter(items)
            while chunk := list(itertools.islice(source, _STREAM_ROWS)):
                new, again = _split_new(connection, chunk)
                repeated += again
                if skip_existing or not repeated:
                    n_items += ledger.insert_items(connection, n_items, new)
            if repeated and not skip_existing:
                raise InputError(
                    f"{len(repeated)} items to add are already in pool {self.name!r} or occur twice, such as "
                    f"{', '.join(map(repr, repeated[:3]))}; nothing was added. Remove them, or skip them with "
                    "skip_existing=True (`poolwise add` always skips them)."
                )
            if n_items > first:
                ledger.note_append(connection, first, n_items - first, ledger.next_round(connection))
        return range(first, n_items)

    # --- classes, labels and state ----------------------------------------------------------------------------

    @property
    def classes(self) -> list[str]:
        """Class names in the order of their numbers; grows with labels unless declared at creation."""
        with self._database.read() as connection:
            return ledger.class_names(connection)

    @property
    def classes_declared(self) -> bool:
        """Whether the classes were given at creation, so that another label is an error."""
        return bool(self._meta["declared"])

    def state(self, as_of: int | None = None) -> PoolState:
        """Say which items are labeled, and how.

        Parameters
        ----------
        as_of : give the state at the start of this round, 1 <= as_of <= current round; default: now

        Returns
        -------
        PoolState; items in an open batch, and items answered "skip" or "not of interest", are
        neither labeled nor unlabeled. The last answer to an item counts.

        Notes
        -----
        The first call reads all annotations (about 1 s per million), later calls only new ones.
        """
        with self._database.read() as connection:
            if as_of is None:
                return self._follow(connection).state()
            current = ledger.next_round(connection)
            if not 1 <= as_of <= current:
                raise InputError(f"as_of must be a round between 1 and {current} (the one under way); got {as_of}.")
            past = Standing(before_round=as_of)
            past.follow(connection)
            return past.state()

    def annotate(self, annotations: Sequence[Annotation], *, allow_unasked: bool = False) -> int:
        """Append answers, all or none; once this returns they are on disk.

        The round is stamped by the ledger, and the time too where it is empty. A later answer to the
        same item is a correction.

        Parameters
        ----------
        annotations : label is a class name, SKIP or NOT_OF_INTEREST
        allow_unasked : accept answers for items that were never asked and have no answer yet

        Returns
        -------
        How many were appended.

        Raises
        ------
        UnknownNameError
            If classes were declared and a label is not among them; the nearest are suggested.
        InputError
            If an index is not in the pool, a label is no text, or an item was never asked.
        """
        annotations = list(annotations)
        for a in annotations:
            if not isinstance(a.label, str) or not a.label:
                raise InputError(f"item {a.index} has the label {a.label!r}; expected the name of a class as text.")
        if not annotations:
            return 0
        with self._database.write() as connection:
            standing = self._follow(connection)
            indices = np.array(_checked_indices([a.index for a in annotations], len(standing.answer)))
            if not allow_unasked:
                self._check_asked(connection, indices, standing)
            numbers = self._class_numbers(connection, annotations)
            ledger.insert_annotations(connection, annotations, numbers, ledger.next_round(connection))
        return len(annotations)

    def check_labels(self, annotations: Sequence[Annotation]) -> None:
        """Record nothing, and raise the UnknownNameError that `annotate` would raise."""
        self._new_classes(self.classes, annotations)

    def annotations(self) -> list[Annotation]:
        """List all answers in the order in which they came, corrections included."""
        with self._database.read() as connection:
            return ledger.select_annotations(connection)

    # --- queries ----------------------------------------------------------------------------------------------

    def ask(
        self, choose: Callable[[PoolState, int], Selection], *, seed: int | None = None, key: str | None = None
    ) -> Batch:
        """Choose a batch and record it as asked, so that nobody else gets its items.

        `choose` runs without holding a lock; if another process took one of the picks meanwhile, it
        is called again with the new state. So it must follow from its arguments alone: after a crash
        the same call then gives the same batch.

        Parameters
        ----------
        choose : from the state and a seed to a selection from `state.unlabeled`
        seed : takes the place of the pool's seed; the one `choose` gets follows from it and the number of the batch
        key : name of this request; if a batch with this key is recorded, it is returned and nothing chosen

        Returns
        -------
        The recorded batch; its selection carries the user's own ids.

        Raises
        ------
        InputError
            If `choose` returned no item, or one that was not unlabeled.
        """
        base = self.seed if seed is None else seed
        while True:
            with self._database.read() as connection:
                number = ledger.next_batch(connection)
                state = self._follow(connection).state()
                found = _by_key(connection, key)
            if found is not None:
                return found
            if not self.writable:  # say so before an expensive choice rather than after it
                raise read_only(self._database.path)
            selection = choose(state, batch_seed(base, number))
            _check_picks(selection, state)
            batch = self._record(selection, key)
            if batch is not None:
                return batch

    def batches(self, *, open_only: bool = False) -> list[Batch]:
        """List the recorded batches, oldest first; `open_only`: those that still await answers."""
        with self._database.read() as connection:
            return ledger.select_batches(connection, ledger.OPEN if open_only else "1", ())

    @property
    def n_batches(self) -> int:
        """How many batches were recorded; they are numbered 1, 2, ..."""
        with self._database.read() as connection:
            return ledger.next_batch(connection) - 1

    def batch(self, number: int) -> Batch:
        """Read one recorded batch back.

        Raises
        ------
        UnknownNameError
            If there is none of that number.
        """
        with self._database.read() as connection:
            found = ledger.select_batches(connection, "number = ?", (number,))
            last = ledger.next_batch(connection) - 1
        if not found:
            raise UnknownNameError(
                f"pool {self.name!r} has no batch {number}; "
                + (f"it has 1 to {last}." if last else f"none was asked yet. Run `poolwise query {self.path}`.")
            )
        return found[0]

    def open_batch(self) -> Batch | None:
        """Return the oldest batch that still awaits answers, or None."""
        return next(iter(self.batches(open_only=True)), None)

    def release(self, number: int) -> IndexArray:
        """Give the unanswered items of a batch back, so that they can be asked again.

        Returns
        -------
        (n,) int64, the items given back; empty if there were none, or the batch was released before.
        """
        with self._database.write() as connection:
            batch = self.batch(number)
            if batch.released:
                return np.empty(0, dtype=np.int64)
            ledger.insert_release(connection, number, ledger.next_round(connection))
        return batch.unanswered

    # --- rounds -----------------------------------------------------------------------------------------------

    @property
    def current_round(self) -> int:
        """Number of the round under way: one more than the last sealed one."""
        with self._database.read() as connection:
            return ledger.next_round(connection)

    def record_round(
        self, metrics: Mapping[str, float], *, digest: str = "", budget_left: int = 0, number: int | None = None
    ) -> Round:
        """Seal the round under way: record what the retrained model scored.

        Parameters
        ----------
        metrics : numbers by name
        digest : of the model that was scored
        budget_left : labels that may still be bought
        number : the round the caller thinks is under way; guards against sealing it twice

        Raises
        ------
        StoreError
            If another round is under way.
        """
        with self._database.write() as connection:
            current = ledger.next_round(connection)
            if number is not None and number != current:
                raise StoreError(
                    f"cannot seal round {number} of pool {self.name!r}: round {current} is under way. Another process "
                    "may have sealed it; look at `poolwise status`."
                )
            n_labeled = int((self._follow(connection).answer >= 0).sum())
            row = (current, now(), n_labeled, int(budget_left), digest, to_json(metrics_to_dict(metrics)))
            connection.execute("INSERT INTO rounds VALUES (?, ?, ?, ?, ?, ?)", row)
        return self.rounds()[current - 1]

    def rounds(self) -> list[Round]:
        """List the sealed rounds; the selection of each is the last batch that was asked in it."""
        with self._database.read() as connection:
            last = ledger.select_batches(connection, "number IN (SELECT max(number) FROM batches GROUP BY round)", ())
            selections = {batch.round: batch.selection for batch in last}
            return [
                Round(number, selections.get(number), n_labeled, budget_left, digest, metrics)
                for number, n_labeled, budget_left, digest, metrics in ledger.select_rounds(connection)
            ]

    # --- inside -----------------------------------------------------------------------------------------------

    def _follow(self, connection: sqlite3.Connection) -> Standing:
        """Bring the standing of all items up to date; the lock of the transaction guards it."""
        standing = self._standing if self._standing_pid == os.getpid() else Standing()
        self._standing, self._standing_pid = Standing(), os.getpid()  # in case we are interrupted half-way
        standing.follow(connection)
        self._standing = standing
        return standing

    def _record(self, selection: Selection, key: str | None) -> Batch | None:
        """Record picks as asked, unless somebody took one of them since the state was read."""
        with self._database.write() as connection:
            found = _by_key(connection, key)
            if found is not None:
                return found
            if not self._follow(connection).free[selection.indices].all():
                return None
            ids = tuple(ledger.select_ids(connection, selection.indices.tolist()))
            number = ledger.next_batch(connection)
            selection = dataclasses.replace(selection, item_ids=ids)
            ledger.insert_batch(connection, number, ledger.next_round(connection), key, selection)
            return ledger.select_batches(connection, "number = ?", (number,))[0]

    def _check_asked(self, connection: sqlite3.Connection, indices: IndexArray, standing: Standing) -> None:
        known = standing.ever_asked[indices] | (standing.answer[indices] != -1)
        if not known.all():
            never = indices[~known]
            name = ledger.select_ids(connection, [int(never[0])])[0]
            raise InputError(
                f"item {name!r} was never asked ({len(np.unique(never))} such items); nothing was recorded. To accept "
                "labels for such items use `poolwise import --allow-unasked` (allow_unasked=True)."
            )

    def _class_numbers(self, connection: sqlite3.Connection, annotations: Sequence[Annotation]) -> dict[str, int]:
        names = ledger.class_names(connection)
        added = sorted(self._new_classes(names, annotations), key=_natural)
        ledger.add_classes(connection, len(names), added)
        return {name: number for number, name in enumerate([*names, *added])}

    def _new_classes(self, names: Sequence[str], annotations: Sequence[Annotation]) -> set[str]:
        new = {a.label for a in annotations} - {SKIP, NOT_OF_INTEREST, *names}
        if new and self.classes_declared:
            raise _unknown_label(annotations, new, names)
        return new


class Settings(MutableMapping[str, Any]):
    """Small values of a pool by name, kept in its ledger as JSON; each change is durable at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getitem__(self, key: str) -> Any:
        with self._database.read() as connection:
            return ledger.get_value(connection, "settings", key)

    def __setitem__(self, key: str, value: Any) -> None:
        with self._database.write() as connection:
            ledger.set_value(connection, "settings", key, value)

    def __delitem__(self, key: str) -> None:
        with self._database.write() as connection:
            ledger.get_value(connection, "settings", key)
            connection.execute("DELETE FROM settings WHERE key = ?", (key,))

    def __iter__(self) -> Iterator[str]:
        with self._database.read() as connection:
            return iter([row[0] for row in connection.execute("SELECT key FROM settings ORDER BY key")])

    def __len__(self) -> int:
        return len(list(iter(self)))


def batch_seed(seed: int, number: int) -> int:
    """Derive the seed of a query from the seed of the pool and the number of the batch; below 2**32."""
    return int(rng_for(seed, "batch", number).integers(2**32))


def _by_key(connection: sqlite3.Connection, key: str | None) -> Batch | None:
    found = [] if key is None else ledger.select_batches(connection, "key = ?", (key,))
    return found[0] if found else None


@contextmanager
def _building(path: Path) -> Iterator[sqlite3.Connection]:
    """Build a ledger that nobody sees yet: fast, because a crash just leaves a useless file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection, explained_sql(path):
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        ledger.make_tables(connection)
        connection.execute("BEGIN")  # one transaction, else every row is one
        yield connection
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")


def _check_vacant(path: Path) -> None:
    if (path / LEDGER).exists():
        raise StoreError(
            f"{str(path)!r} is a pool already. Open it, add items with `poolwise add {path} ...`, "
            "or choose another name."
        )
    if path.exists() and not path.is_dir():
        raise StoreError(f"{str(path)!r} is a file; a pool needs a directory. Choose another name.")
    if path.is_dir() and any(not entry.name.startswith(f".{LEDGER}") for entry in path.iterdir()):
        raise StoreError(f"{str(path)!r} holds other files; a pool needs a directory of its own. Choose another name.")


def _checked_classes(names: Sequence[str]) -> list[str]:
    """Refuse class names that are empty, reserved, or there twice."""
    for name in names:
        if not isinstance(name, str) or not name or name in (SKIP, NOT_OF_INTEREST):
            raise InputError(f"{name!r} cannot be the name of a class; expected a text that is not empty.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"class {twice[0]!r} is listed {names.count(twice[0])} times; name each class once.")
    return list(names)


def _checked_indices(indices: Sequence[int] | IndexArray, n_items: int) -> list[int]:
    array = np.asarray(indices)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or len(array) == 0):
        raise InputError(f"expected a list of pool indices; got shape {array.shape} of {array.dtype}.")
    bad = array[(array < 0) | (array >= n_items)]
    if len(bad):
        raise InputError(f"pool index {bad[0]} is not in the pool; it has items 0 to {n_items - 1}.")
    return [int(i) for i in array]


def _split_new(connection: sqlite3.Connection, chunk: Sequence[Item]) -> tuple[list[Item], list[str]]:
    """Tell new items from those whose id is in the pool, or came before in the chunk."""
    known = set(ledger.find_ids(connection, [item.item_id for item in chunk]))
    new, repeated = [], []
    for item in chunk:
        if item.item_id in known:
            repeated.append(item.item_id)
        else:
            new.append(item)
            known.add(item.item_id)
    return new, repeated


def _check_picks(selection: Selection, state: PoolState) -> None:
    picks = selection.indices
    if not len(picks):
        raise InputError("the batch has no item; ask for at least one.")
    if len(np.unique(picks)) != len(picks):
        raise InputError("the batch holds an item twice; each item can be asked once.")
    taken = picks[~np.isin(picks, state.unlabeled)]
    if len(taken):
        raise InputError(
            f"the batch holds item {taken[0]}, which cannot be asked ({len(taken)} such items): it is labeled, skipped "
            "or asked already, or not in the pool. Choose from state.unlabeled."
        )


def _unknown_label(annotations: Sequence[Annotation], new: set[str], names: Sequence[str]) -> UnknownNameError:
    label = next(a.label for a in annotations if a.label in new)
    n_wrong = sum(a.label in new for a in annotations)
    near = difflib.get_close_matches(label, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    shown = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    return UnknownNameError(
        f"no class named {label!r} ({n_wrong} of {len(annotations)} labels name no class; nothing was recorded); "
        f"{hint}Classes: {shown}."
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts "2" before "10"."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
