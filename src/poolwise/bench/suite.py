"""Suites: what a benchmark runs, as a TOML file and as frozen records.

name = "images"
seeds = 10
baseline = "random"
strategies = ["random", "margin", {name = "typiclust", options = {n_neighbors = 10}}]

[learner]
class_weight = "none"

[[datasets]]
task = "fashion_mnist:pool=10000"
initial = {random = 100}        # or {strategy = 100}: the strategy starts cold
batch_size = 100
rounds = 9
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import poolwise.strategies  # noqa: F401  (fills the registry)
from poolwise.bench.tasks import parse_task
from poolwise.errors import InputError, OptionError, UnknownNameError
from poolwise.registry import STRATEGIES, check_options
from poolwise.train.linear_probe import ProbeSettings


@dataclass(frozen=True, slots=True)
class StrategyUse:
    """A strategy with its options, and what it is called in tables."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            inner = ", ".join(f"{key}={value}" for key, value in self.options.items())
            object.__setattr__(self, "label", f"{self.name}({inner})" if inner else self.name)


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """A task and how its pool is labeled.

    task : as `load_task` takes it
    initial : labels of round 0
    start : "random" draws them at random, the same for all strategies; "strategy" lets each strategy choose them
        without a model where it can
    batch_size : labels bought in each round
    rounds : queries after round 0
    label : what it is called in tables; default the task
    """

    task: str
    initial: int
    batch_size: int
    rounds: int
    start: Literal["random", "strategy"] = "random"
    label: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.task)


@dataclass(frozen=True, slots=True)
class Suite:
    """Everything a benchmark runs: datasets x strategies x seeds."""

    name: str
    datasets: tuple[DatasetUse, ...]
    strategies: tuple[StrategyUse, ...]
    seeds: tuple[int, ...]
    baseline: str = "random"
    learner: ProbeSettings = field(default_factory=ProbeSettings)

    @property
    def n_cells(self) -> int:
        """Number of runs."""
        return len(self.datasets) * len(self.strategies) * len(self.seeds)


def load_suite(path: str | Path) -> Suite:
    """Read a suite from a TOML file.

    Raises
    ------
    InputError
        If the file is missing or not TOML.
    OptionError, UnknownNameError
        If something in it is wrong; the key is named, with the nearest valid one.
    """
    file = Path(path)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"no suite file {str(path)!r}; expected a TOML file such as benchmarks/suites/images.toml."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"suite {str(path)!r} cannot be read: {error}. Check that it is a TOML file.") from error
    return make_suite({"name": file.stem, **data}, where=f"suite {file.name!r}")


def make_suite(data: Mapping[str, Any], where: str = "suite") -> Suite:
    """Build a suite from a dictionary with the keys of the TOML file; errors as `load_suite`."""
    keys = _keys(data, ("name", "seeds", "baseline", "strategies", "learner", "datasets"), where)
    for needed in ("strategies", "datasets"):
        if not isinstance(keys.get(needed), list | tuple) or not keys[needed]:
            raise OptionError(f"{where}: {needed!r} must be a list with at least one entry; got {keys.get(needed)!r}.")
    strategies = tuple(_strategy(entry, f"{where}: strategies[{i}]") for i, entry in enumerate(keys["strategies"]))
    datasets = tuple(_dataset(entry, f"{where}: datasets[{i}]") for i, entry in enumerate(keys["datasets"]))
    for kind, labels in (("strategies", [s.label for s in strategies]), ("datasets", [d.label for d in datasets])):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise OptionError(f"{where}: {kind} lists {twice[0]!r} twice; remove one, or give one another label.")
    baseline = str(keys.get("baseline", "random"))
    if baseline not in [s.label for s in strategies]:
        raise OptionError(
            f"{where}: baseline {baseline!r} is not among the strategies "
            f"({', '.join(s.label for s in strategies)}); add it, or name another baseline."
        )
    return Suite(
        name=str(keys.get("name", "suite")),
        datasets=datasets,
        strategies=strategies,
        seeds=_seeds(keys.get("seeds", 5), where),
        baseline=baseline,
        learner=_learner(keys.get("learner", {}), f"{where}: learner"),
    )


def _keys(data: Any, known: tuple[str, ...], where: str) -> dict[str, Any]:
    """Refuse what is no table, and unknown keys with the nearest valid one."""
    if not isinstance(data, Mapping):
        raise OptionError(f"{where} must be a table with the keys {', '.join(known)}; got {data!r}.")
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise OptionError(f"{where}: unknown key {key!r}; {hint}Known: {', '.join(known)}.")
    return dict(data)


def _count(value: Any, key: str, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{where}: {key!r} must be a whole number of at least {least}; got {value!r}.")
    return value


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    if isinstance(value, list | tuple):
        seeds = tuple(_count(seed, "seeds", where, 0) for seed in value)
        if seeds and len(set(seeds)) == len(seeds):
            return seeds
        raise OptionError(f"{where}: 'seeds' must be a number or a list of different numbers; got {value!r}.")
    return tuple(range(_count(value, "seeds", where, 1)))


def _strategy(entry: Any, where: str) -> StrategyUse:
    keys = _keys({"name": entry} if isinstance(entry, str) else entry, ("name", "options", "label"), where)
    if "name" not in keys:
        raise OptionError(f"{where}: a strategy needs a 'name'; got {entry!r}.")
    try:
        spec = STRATEGIES[str(keys["name"])]
        options = check_options(spec, dict(keys.get("options", {})))
    except UnknownNameError as error:
        raise UnknownNameError(f"{where}: {error}") from None
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return StrategyUse(spec.name, options, str(keys.get("label", "")))


def _dataset(entry: Any, where: str) -> DatasetUse:
    keys = _keys(entry, ("task", "initial", "batch_size", "rounds", "label"), where)
    for needed in ("task", "batch_size", "rounds"):
        if needed not in keys:
            raise OptionError(f"{where}: {needed!r} is missing; a dataset needs task, batch_size and rounds.")
    task = str(keys["task"])
    try:
        parse_task(task)
    except UnknownNameError as error:
        raise UnknownNameError(f"{where}: {error}") from None
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    batch_size = _count(keys["batch_size"], "batch_size", where, 1)
    start, initial = _initial(keys.get("initial", batch_size), where)
    rounds = _count(keys["rounds"], "rounds", where, 0)
    return DatasetUse(task, initial, batch_size, rounds, start, str(keys.get("label", "")))


def _initial(value: Any, where: str) -> tuple[Literal["random", "strategy"], int]:
    if not isinstance(value, Mapping):
        return "random", _count(value, "initial", where, 1)
    keys = _keys(value, ("random", "strategy"), f"{where}: initial")
    if len(keys) != 1:
        raise OptionError(f"{where}: 'initial' must be {{random = n}} or {{strategy = n}}; got {value!r}.")
    start: Literal["random", "strategy"] = "random" if "random" in keys else "strategy"
    return start, _count(keys[start], f"initial.{start}", where, 1)


def _learner(value: Any, where: str) -> ProbeSettings:
    keys = _keys(value, ("strength", "class_weight", "folds", "calibrate"), where)
    if not isinstance(keys.get("calibrate", True), bool):
        raise OptionError(f"{where}: 'calibrate' must be true or false; got {keys['calibrate']!r}.")
    if isinstance(keys.get("strength"), str | bool):
        raise OptionError(f"{where}: 'strength' must be a number; got {keys['strength']!r}. Leave it out to choose it.")
    try:
        return ProbeSettings(**keys)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
