"""Run directories: what is needed to run an experiment again, and one record per sealed round.

run/
  settings.json          settings (resolved), seed, versions; written once
  rounds/000001.json     one per sealed round, written atomically
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from poolwise.errors import InputError, PoolVersionError, StoreError
from poolwise.store.files import explained, locked, make_directory, write_atomic
from poolwise.store.records import round_from_dict, round_to_dict
from poolwise.types import Round, Run, plain

FORMAT = 1
SETTINGS = "settings.json"
PACKAGES = ("poolwise", "numpy", "scipy", "scikit-learn", "torch")


class RunDirectory:
    """The settings, the seed, the versions and the sealed rounds of one run.

    The promise: a round is there as a whole or not at all, also after `kill -9`; rounds are numbered
    1, 2, ... without a gap, and a sealed one never changes. A stopped run goes on after `len(rounds())`.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        """Use `create`, `open` or `resume`."""
        self.path = path
        self.settings: dict[str, Any] = dict(record["settings"])
        self.seed = int(record["seed"])
        self.versions: dict[str, str] = dict(record["versions"])

    @classmethod
    def create(cls, path: str | Path, *, settings: Mapping[str, Any], seed: int) -> Self:
        """Start a run in a directory that holds none.

        Raises
        ------
        StoreError
            If there is a run at `path`, or it cannot be written.
        """
        path = Path(path)
        make_directory(path / "rounds")
        record = {"format": FORMAT, "settings": dict(settings), "seed": int(seed), "versions": versions()}
        with locked(path / ".lock"):
            if (path / SETTINGS).exists():
                raise StoreError(f"{str(path)!r} holds a run already; go on with it, or choose another directory.")
            write_atomic(path / SETTINGS, _json(record))
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read a run.

        Raises
        ------
        StoreError
            If there is none, or its settings are damaged; PoolVersionError if it is newer.
        """
        path = Path(path)
        if not (path / SETTINGS).is_file():
            raise StoreError(f"{str(path)!r} holds no run: {SETTINGS} is missing. Start one with `poolwise run`.")
        record = _load(path / SETTINGS)
        if record.get("format", 0) > FORMAT:
            raise PoolVersionError(
                f"run {str(path)!r} has format {record['format']}; this poolwise reads up to {FORMAT}. "
                "Upgrade with `pip install -U poolwise`."
            )
        try:
            return cls(path, record)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path / SETTINGS, error) from error

    @classmethod
    def resume(cls, path: str | Path, *, settings: Mapping[str, Any], seed: int) -> Self:
        """Go on with the run at `path`, or start it.

        Raises
        ------
        InputError
            If the run there has other settings or another seed; the first few differences are named.
        """
        path = Path(path)
        if not (path / SETTINGS).is_file():
            return cls.create(path, settings=settings, seed=seed)
        run = cls.open(path)
        wanted = {**json.loads(_json(settings)), "seed": int(seed)}
        found = {**run.settings, "seed": run.seed}
        differ = [key for key in sorted({*wanted, *found}) if wanted.get(key) != found.get(key)]
        if differ:
            facts = ", ".join(f"{key} was {found.get(key)!r}, now {wanted.get(key)!r}" for key in differ[:3])
            raise InputError(
                f"the run in {str(path)!r} was started with other settings ({facts}; {len(differ)} differ). "
                "Use the same settings, or another directory."
            )
        return run

    def seal(self, record: Round) -> None:
        """Write the record of a round; once this returns it is on disk.

        Raises
        ------
        StoreError
            If another round is due (each is sealed once), or the disk is full or read-only.
        """
        with locked(self.path / ".lock"):
            due = self.next_round()
            if record.number != due:
                raise StoreError(
                    f"cannot seal round {record.number} of run {str(self.path)!r}: round {due} is due. "
                    "Is another process working on the same run?"
                )
            write_atomic(self._round_path(due), _json({"format": FORMAT, **round_to_dict(record)}))

    def next_round(self) -> int:
        """Number of the round that is to be sealed next; 1 for a new run."""
        number = 1
        while self._round_path(number).exists():
            number += 1
        return number

    def rounds(self) -> tuple[Round, ...]:
        """Read the sealed rounds, in order."""
        return tuple(self._read(number) for number in range(1, self.next_round()))

    def run(self) -> Run:
        """Read all of it as one record."""
        return Run(self.settings, self.seed, self.versions, self.rounds())

    def _read(self, number: int) -> Round:
        path = self._round_path(number)
        try:
            return round_from_dict(_load(path))
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from error

    def _round_path(self, number: int) -> Path:
        return self.path / "rounds" / f"{number:06d}.json"


def versions() -> dict[str, str]:
    """Versions of Python, the system and the packages that results depend on; absent ones are left out."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _json(record: Mapping[str, Any]) -> bytes:
    """Write strict JSON; paths and other objects become text."""
    return json.dumps(plain(record), indent=1, ensure_ascii=False, allow_nan=False, default=str).encode()


def _load(path: Path) -> dict[str, Any]:
    with explained(path):
        text = path.read_text(encoding="utf-8")
    try:
        record = json.loads(text)
    except ValueError as error:
        raise _damaged(path, error) from error
    if not isinstance(record, dict):
        raise _damaged(path, TypeError(f"it holds a {type(record).__name__}"))
    return record


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{str(path)!r} is damaged ({error}). Remove it to run this round again, or restore a backup.")
