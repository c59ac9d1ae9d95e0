"""Suites: what a benchmark runs, as a TOML file and as frozen records.

name = "images"
about = "Pictures as pixels."    # one line for `poolwise bench list`
minutes = 5                     # how long it takes on two cores, as measured
seeds = 10
baseline = "random"
modules = ["my_strategies"]     # imported first: Python modules that register strategies or tasks
strategies = ["random", {name = "typiclust", options = {n_neighbors = 10}}, {name = "margin", ood = "answers"}]

[learner]
name = "linear-probe"           # or svm-rbf, random-forest, knn, logistic; the rest is for the probe only
class_weight = "none"

[[datasets]]
task = "fashion_mnist:pool=10000"
initial = {random = 100}        # or {strategy = 100}: the strategy starts cold
batch_size = 100
rounds = 9
resample = 0.8                  # each seed draws this share of the pool
long_tail = 0.05                # classes of the pool thinned out to 1 : 0.05
foreign = 0.3                   # share of classes answered "not of interest"
noise = 0.2                     # share of wrong answers
learner = {name = "svm-rbf"}    # for this data set, in place of the suite's

The suites in the folder `suites` beside this file are found by their name alone.
"""

from __future__ import annotations

import difflib
import importlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import poolwise.ood
import poolwise.strategies  # noqa: F401  (fills the registry)
from poolwise.bench.tasks import parse_task
from poolwise.errors import InputError, OptionError, UnknownNameError
from poolwise.registry import DETECTORS, STRATEGIES, check_options
from poolwise.train.learners import NamedLearner
from poolwise.train.linear_probe import ProbeSettings

BUNDLED = Path(__file__).parent / "suites"
"""Suites that are run by name."""
NEEDS_HEAD = {"head_weight", "head_bias"}


@dataclass(frozen=True, slots=True)
class StrategyUse:
    """A strategy with its options, and what it is called in tables.

    ood : the detector behind whose gate it chooses, fitted in each round on the answers so far, as in
        `pw.select(ood=...)`; a strategy that takes `ood_scores` gets them instead. None does without.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    ood: str | None = None

    def __post_init__(self) -> None:
        if not self.label:
            settings = dict(self.options) | ({} if self.ood is None else {"ood": self.ood})
            inner = ", ".join(f"{key}={value}" for key, value in settings.items())
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
    resample : share of the pool that each seed draws, so that intervals speak of pools too; 1 keeps it whole
    long_tail : size of the rarest class of the pool divided by that of the most frequent; 1 leaves the pool alone
    foreign : share of the classes, drawn by each seed, whose items are answered "not of interest". Such answers
        cost a label; accuracy is measured on the other classes.
    noise : share of wrong answers
    learner : for this data set, in place of the suite's
    """

    task: str
    initial: int
    batch_size: int
    rounds: int
    start: Literal["random", "strategy"] = "random"
    label: str = ""
    resample: float = 1.0
    long_tail: float = 1.0
    foreign: float = 0.0
    noise: float = 0.0
    learner: ProbeSettings | NamedLearner | None = None

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.task)


@dataclass(frozen=True, slots=True)
class Suite:
    """Everything a benchmark runs: datasets x strategies x seeds.

    about, minutes : one line, and minutes on two cores as measured (None if nobody did), for `poolwise bench list`
    modules : Python modules imported first; they may register strategies and tasks
    """

    name: str
    datasets: tuple[DatasetUse, ...]
    strategies: tuple[StrategyUse, ...]
    seeds: tuple[int, ...]
    baseline: str = "random"
    learner: ProbeSettings | NamedLearner = field(default_factory=ProbeSettings)
    about: str = ""
    minutes: float | None = None
    modules: tuple[str, ...] = ()

    @property
    def n_cells(self) -> int:
        """Number of runs."""
        return len(self.datasets) * len(self.strategies) * len(self.seeds)


def bundled_names() -> list[str]:
    """List the suites that are run by name, sorted."""
    return sorted(path.stem for path in BUNDLED.glob("*.toml"))


def describe(suite: Suite) -> dict[str, Any]:
    """Say in one row what a suite is and how large."""
    return {
        "suite": suite.name,
        "about": suite.about,
        "datasets": len(suite.datasets),
        "strategies": len(suite.strategies),
        "seeds": len(suite.seeds),
        "runs": suite.n_cells,
        "minutes": suite.minutes,
    }


def load_suite(path: str | Path) -> Suite:
    """Read a suite from a TOML file, or a bundled one by its name.

    Raises
    ------
    InputError
        If the file is missing or not TOML.
    OptionError, UnknownNameError
        If something in it is wrong; the key is named, with the nearest valid one.
    """
    file = Path(path)
    if str(path) in bundled_names() and not file.is_file():
        file = BUNDLED / f"{path}.toml"
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        names = [*bundled_names(), "tabular"]
        near = difflib.get_close_matches(str(path), names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"no suite file {str(path)!r}; {hint}Expected a TOML file, or one of {', '.join(names)}; "
            "`poolwise bench list` tells what they are."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"suite {str(path)!r} cannot be read: {error}. Check that it is a TOML file.") from error
    return make_suite({"name": file.stem, **data}, where=f"suite {file.name!r}")


def make_suite(data: Mapping[str, Any], where: str = "suite") -> Suite:
    """Build a suite from a dictionary with the keys of the TOML file; errors as `load_suite`."""
    known = ("name", "about", "minutes", "seeds", "baseline", "modules", "strategies", "learner", "datasets")
    keys = _keys(data, known, where)
    modules = _modules(keys.get("modules", ()), where)
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
    learner = _learner(keys.get("learner", {}), f"{where}: learner")
    for used in (learner, *(d.learner for d in datasets)):
        if isinstance(used, NamedLearner):
            _refuse_headless(strategies, used.name, where)
    return Suite(
        name=str(keys.get("name", "suite")),
        datasets=datasets,
        strategies=strategies,
        seeds=_seeds(keys.get("seeds", 5), where),
        baseline=baseline,
        learner=learner,
        about=str(keys.get("about", "")),
        minutes=_number(keys["minutes"], "minutes", where, 0, math.inf) if "minutes" in keys else None,
        modules=modules,
    )


def import_modules(modules: Sequence[str]) -> None:
    """Import the modules of a suite, which may register strategies and tasks.

    Raises
    ------
    InputError
        If one cannot be imported.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"module {name!r} of the suite cannot be imported: {error}. Install it, or run from its folder with "
                "`python -m poolwise bench ...`."
            ) from error


def _modules(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise OptionError(f"{where}: 'modules' must be a list of names of Python modules; got {value!r}.")
    try:
        import_modules(value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return tuple(value)


def _refuse_headless(strategies: Sequence[StrategyUse], learner: str, where: str) -> None:
    """Refuse strategies that read the weights of a linear model, where the learner has none."""
    for use in strategies:
        if NEEDS_HEAD & set(STRATEGIES[use.name].needs):
            raise OptionError(
                f"{where}: strategy {use.name!r} reads the weights of a linear model, which learner {learner!r} has "
                "not; leave it out, or choose learner 'linear-probe'."
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


def _number(value: Any, key: str, where: str, low: float, high: float) -> float:
    """Check a number with low <= value <= high."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise OptionError(f"{where}: {key!r} must be a number {limits}; got {value!r}.")
    return float(value)


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    if isinstance(value, list | tuple):
        seeds = tuple(_count(seed, "seeds", where, 0) for seed in value)
        if seeds and len(set(seeds)) == len(seeds):
            return seeds
        raise OptionError(f"{where}: 'seeds' must be a number or a list of different numbers; got {value!r}.")
    return tuple(range(_count(value, "seeds", where, 1)))


def _strategy(entry: Any, where: str) -> StrategyUse:
    keys = _keys({"name": entry} if isinstance(entry, str) else entry, ("name", "options", "ood", "label"), where)
    if "name" not in keys:
        raise OptionError(f"{where}: a strategy needs a 'name'; got {entry!r}.")
    try:
        spec = STRATEGIES[str(keys["name"])]
        options = check_options(spec, dict(keys.get("options", {})))
        ood = DETECTORS[str(keys["ood"])].name if "ood" in keys else None
    except UnknownNameError as error:
        raise UnknownNameError(f"{where}: {error}") from None
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return StrategyUse(spec.name, options, str(keys.get("label", "")), ood)


SHARES = {"resample": (0.01, 1.0), "long_tail": (0.001, 1.0), "foreign": (0.0, 0.95), "noise": (0.0, 0.95)}
"""Keys of a dataset that change what a seed meets, with their ranges."""


def _dataset(entry: Any, where: str) -> DatasetUse:
    keys = _keys(entry, ("task", "initial", "batch_size", "rounds", "label", "learner", *SHARES), where)
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
    shares = {key: _number(keys[key], key, where, *SHARES[key]) for key in SHARES if key in keys}
    learner = _learner(keys["learner"], f"{where}: learner") if "learner" in keys else None
    return DatasetUse(task, initial, batch_size, rounds, start, str(keys.get("label", "")), **shares, learner=learner)


def _initial(value: Any, where: str) -> tuple[Literal["random", "strategy"], int]:
    if not isinstance(value, Mapping):
        return "random", _count(value, "initial", where, 1)
    keys = _keys(value, ("random", "strategy"), f"{where}: initial")
    if len(keys) != 1:
        raise OptionError(f"{where}: 'initial' must be {{random = n}} or {{strategy = n}}; got {value!r}.")
    start: Literal["random", "strategy"] = "random" if "random" in keys else "strategy"
    return start, _count(keys[start], f"initial.{start}", where, 1)


def _learner(value: Any, where: str) -> ProbeSettings | NamedLearner:
    keys = _keys(value, ("name", "strength", "class_weight", "folds", "calibrate"), where)
    name = keys.pop("name", "linear-probe")
    if name != "linear-probe":
        if keys:
            raise OptionError(
                f"{where}: {next(iter(keys))!r} is for the linear probe; learner {name!r} takes no options."
            )
        try:
            return NamedLearner(str(name))
        except UnknownNameError as error:
            raise UnknownNameError(f"{where}: {error}") from None
    if not isinstance(keys.get("calibrate", True), bool):
        raise OptionError(f"{where}: 'calibrate' must be true or false; got {keys['calibrate']!r}.")
    if isinstance(keys.get("strength"), str | bool):
        raise OptionError(f"{where}: 'strength' must be a number; got {keys['strength']!r}. Leave it out to choose it.")
    try:
        return ProbeSettings(**keys)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
