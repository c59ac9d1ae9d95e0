"""Registries: named things that the CLI, the benchmark, the docs and the contract tests find by themselves.

A strategy is a plain function. Parameters before `*` name the arrays it needs (`types.ARRAYS`, and
`labeled` / `unlabeled` / `history`); one with the default None is used when it is there. Parameters after `*` are
`batch_size`, `rng`, and options with a type and a default. From that signature follow the CLI choice,
`--set option=value`, the documentation and the contract tests.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from types import NoneType, UnionType
from typing import Any, Generic, Literal, Protocol, TypeVar

from poolwise.errors import OptionError, unknown_name
from poolwise.types import ARRAYS

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

PLUGIN_GROUP = "poolwise.plugins"
STATE = ("labeled", "unlabeled", "history")


class Registry(Generic[T]):
    """Names mapped to entries, sorted, with helpful errors; third-party packages are loaded on first use."""

    _plugins_loaded = False

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        """Register an entry under a name that is not taken."""
        if name in self._entries:
            raise OptionError(f"{self.kind} {name!r} is registered twice; choose another name.")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        load_plugins()
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        load_plugins()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        load_plugins()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> list[str]:
        """List all names, sorted."""
        return list(self)

    def entries(self) -> list[T]:
        """List all entries, sorted by name."""
        return [self._entries[name] for name in self]


def load_plugins() -> None:
    """Import every module that an installed package lists under the entry-point group, once."""
    if not Registry._plugins_loaded:
        Registry._plugins_loaded = True
        for point in entry_points(group=PLUGIN_GROUP):
            point.load()


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a strategy: its annotation, its default, and what its docstring says about it."""

    name: str
    type: Any
    default: Any
    text: str = ""

    def describe(self) -> str:
        """Say the type and the default in words."""
        return f"{type_name(self.type)} = {self.default!r}"


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """A registered strategy or acquisition, and what its signature says.

    needs : arrays without which it cannot run
    uses : arrays it takes when they are there
    kind : "strategy" (picks a batch) or "acquisition" (scores rows; lifted to the top B)
    oracle : reads the true labels; for simulations only
    from_logits : scores the same as the acquisition, from `logits` in place of `probs`; used when there are
        logits and no probs, so that no probabilities have to be built
    judged : scores the same from `probs` alone, but NaN where a row may hold no probabilities, so that no pass over the
        rows is spent on that
    float32_error : of `judged`, the largest, where one is known for all data
    misses : of `from_logits`; called with a floor and bounds of logits, it says which rows surely score below the floor
    streams : reads the unlabeled rows through `kernels.sampling` or `kernels.kcenter`, which look for NaN and inf on
        the way, so that no pass over the pool is spent on it before
    lifted : options that are handled around the function, the same for every strategy; `calling.py` obeys them
    device : what it has to compute on a device, besides logits: "scores", "k-center distances", "D2 distances"
    """

    name: str
    function: Callable[..., Any]
    kind: Literal["strategy", "acquisition"]
    family: str
    paper: str
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    options: dict[str, Option] = field(default_factory=dict)
    takes_state: tuple[str, ...] = ()
    takes_rng: bool = False
    oracle: bool = False
    cost: str = ""
    use_when: str = ""
    from_logits: Callable[..., Any] | None = None
    judged: Callable[..., Any] | None = None
    float32_error: float | None = None
    misses: Callable[[float, Any], Any] | None = None
    streams: bool = False
    lifted: dict[str, Option] = field(default_factory=dict)
    device: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @property
    def on_device(self) -> tuple[str, ...]:
        """What `device=` moves to a device; nothing if empty. Logits and scores are only where there is a head."""
        logits = {"logits", "probs"} & {*self.needs, *self.uses}
        return (*(("logits of the head",) if logits else ()), *self.device)


Noise = Literal["none", "power", "softmax", "softrank"]
"""How chance enters a ranking; see `kernels.batches.perturbed`."""

Reducer = Literal["all", "seals", "anchors", "margin", "random"]
"""Which part of the unlabeled items competes; see `reduce.py`."""

LIFTED = (
    Option(
        "within",
        Reducer,
        "all",
        "which part of the unlabeled items competes, such as neighbours of labeled ones (seals)",
    ),
    Option("keep", int | None, None, "how many items that part has; see `within`"),
    Option("max_per_group", int | None, None, "at most so many items of one group (video, patient) in a batch"),
)
"""Options of every strategy: reduce the pool first to `keep` items, and take at most so many items of one group."""


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A registered out-of-distribution detector, and what its signature says.

    needs, uses : arrays without which it cannot run, and arrays it takes when they are there
    takes_state : which of `labeled` and `items` it names; without `labeled` nothing is fitted on labels
    """

    name: str
    function: Callable[..., Any]
    paper: str
    use_when: str
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    options: dict[str, Option] = field(default_factory=dict)
    takes_state: tuple[str, ...] = ()
    kind: Literal["detector"] = "detector"
    from_logits: None = None
    streams: bool = False

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]


STRATEGIES: Registry[StrategySpec] = Registry("strategy")
DETECTORS: Registry[DetectorSpec] = Registry("detector")
DATASETS: Registry[Any] = Registry("dataset")
BACKBONES: Registry[Any] = Registry("backbone")
PRETRAINERS: Registry[Any] = Registry("pretraining method")
EXPORTERS: Registry[Any] = Registry("export format")
ENGINES: Registry[Callable[..., Any]] = Registry("engine")
SECTIONS: Registry[Any] = Registry("report section")


def strategy(
    name: str,
    *,
    family: str,
    paper: str,
    cost: str = "",
    use_when: str = "",
    oracle: bool = False,
    streams: bool = False,
    device: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Register a function that picks a batch.

    Parameters
    ----------
    name : what users type
    family : "uncertainty", "diversity", "hybrid", "density", "balance", "baseline", ...
    paper : where it was published
    cost : time at N = 1,000,000 in words, such as "one pass" or "B picks over candidates"
    use_when : one sentence of advice
    oracle : True if it reads true labels, which only simulations have
    streams : True if what it reads per-row arrays through finds NaN and inf: `kernels.sampling` or `kernels.kcenter`
    device : what it computes on a device besides logits, in the words of `kernels.backend.used`

    The function returns (B,) int64 pool indices in order of choice, or `types.Picks`.
    """

    def register(function: F) -> F:
        spec = _spec(name, function, "strategy", family, paper, cost, use_when, oracle)
        STRATEGIES.add(name, replace(spec, streams=streams, device=device))
        return function

    return register


def acquisition(
    name: str,
    *,
    family: str,
    paper: str,
    cost: str = "one pass",
    use_when: str = "",
    from_logits: Callable[..., Any] | None = None,
    judged: Callable[..., Any] | None = None,
    float32_error: float | None = None,
    misses: Callable[[float, Any], Any] | None = None,
    stochastic: Noise = "none",
) -> Callable[[F], F]:
    """Register a function that scores rows one by one; higher = query sooner.

    Per-row arrays arrive as blocks of n rows, float32 in a first pass and float64 for the rows near the
    cut; others arrive whole. The score of a row may depend on that row only. The lifted strategy takes
    the B best scores; better score first, then lower pool index. Users may ask for a random batch by the options
    `stochastic` (default as given here) and `beta`.
    """

    def register(function: F) -> F:
        spec = _spec(name, function, "acquisition", family, paper, cost, use_when, False)
        noise = {
            "stochastic": Option("stochastic", Noise, stochastic, "how chance enters the ranking"),
            "beta": Option("beta", float, 1.0, "how closely a ranking with chance follows the scores; large is greedy"),
        }
        lifted = {key: option for key, option in (noise | spec.lifted).items() if key not in spec.options}
        spec = replace(
            spec,
            from_logits=from_logits,
            misses=misses,
            judged=judged,
            float32_error=float32_error,
            streams=True,
            lifted=lifted,
            device=() if from_logits is None else ("scores",),
        )
        STRATEGIES.add(name, spec)
        return function

    return register


def detector(name: str, *, paper: str, use_when: str) -> Callable[[F], F]:
    """Register a function that says how foreign items are; higher = more foreign.

    It takes arrays by name as strategies do, `items` (n,) pool indices to score, `labeled` (L,) pool indices if it
    is fitted on labels, and options after `*`; it returns (n,) float64. The score of an item may depend on the row
    of that item, on the labeled and rejected items, and on nothing else.
    """

    def register(function: F) -> F:
        needs, uses, state, options, _ = _signature(name, function, ("labeled", "items"))
        spec = DetectorSpec(name, function, paper, use_when, tuple(needs), tuple(uses), options, tuple(state))
        DETECTORS.add(name, spec)
        return function

    return register


def _register_in(registry: Registry[Any]) -> Callable[[str], Callable[[F], F]]:
    def named(name: str) -> Callable[[F], F]:
        def register(function: F) -> F:
            registry.add(name, function)
            return function

        return register

    return named


dataset = _register_in(DATASETS)
backbone = _register_in(BACKBONES)
pretrainer = _register_in(PRETRAINERS)
exporter = _register_in(EXPORTERS)
section = _register_in(SECTIONS)


def _spec(
    name: str,
    function: Callable[..., Any],
    kind: Literal["strategy", "acquisition"],
    family: str,
    paper: str,
    cost: str,
    use_when: str,
    oracle: bool,
) -> StrategySpec:
    needs, uses, state, options, takes_rng = _signature(name, function, STATE)
    return StrategySpec(
        name=name,
        function=function,
        kind=kind,
        family=family,
        paper=paper,
        needs=tuple(needs),
        uses=tuple(uses),
        options=options,
        takes_state=tuple(state),
        takes_rng=takes_rng,
        oracle=oracle,
        cost=cost,
        use_when=use_when,
        lifted={option.name: option for option in LIFTED if option.name not in options},
    )


def parameter_texts(doc: str) -> dict[str, str]:
    """Read what a docstring says about each parameter: from its section Parameters, on one line each."""
    _, _, section = doc.partition("Parameters\n----------\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in re.split(r"\n\w+\n-{3,}\n", section)[0].splitlines():
        entry = re.match(r"(\w+(?:, \w+)*) : (.+)", line)
        if entry:
            names = entry[1].split(", ")
            texts |= dict.fromkeys(names, entry[2])
        elif line.startswith("    "):
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return texts


def _signature(
    name: str, function: Callable[..., Any], known: tuple[str, ...]
) -> tuple[list[str], list[str], list[str], dict[str, Option], bool]:
    """Read a signature: arrays needed, arrays used, which of `known` it names, options, and whether it takes rng."""
    hints = typing.get_type_hints(function)
    needs, uses, state, options, takes_rng = [], [], [], {}, False
    texts = parameter_texts(inspect.getdoc(function) or "")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if parameter.name == "rng":
                takes_rng = True
            elif parameter.name != "batch_size":
                if parameter.default is inspect.Parameter.empty:
                    raise OptionError(f"{name}: option {parameter.name!r} needs a default.")
                text = texts.get(parameter.name, "")
                options[parameter.name] = Option(parameter.name, hints[parameter.name], parameter.default, text)
        elif parameter.name in known:
            state.append(parameter.name)
        elif parameter.name not in ARRAYS:
            raise OptionError(
                f"{name}: {parameter.name!r} is not an array a strategy can name. "
                f"Known: {', '.join((*known, *ARRAYS))}; options go after `*`."
            )
        elif parameter.default is inspect.Parameter.empty:
            needs.append(parameter.name)
        else:
            uses.append(parameter.name)
    return needs, uses, state, options, takes_rng


class Optioned(Protocol):
    """What has a name and options that users set by `--set`."""

    @property
    def name(self) -> str: ...
    @property
    def options(self) -> dict[str, Option]: ...
    @property
    def lifted(self) -> dict[str, Option]: ...


def check_options(spec: Optioned, options: dict[str, Any]) -> dict[str, Any]:
    """Check names and types of options, and return them as the function will get them.

    Raises
    ------
    OptionError
        If an option is unknown or its value does not fit the annotation.
    """
    checked = {}
    every = spec.options | spec.lifted
    for name, value in options.items():
        if name not in every:
            known = ", ".join(f"{o.name} ({o.describe()})" for o in every.values())
            raise OptionError(f"{spec.name} has no option {name!r}. Options: {known}.")
        checked[name] = coerce(f"{spec.name}: option {name!r}", value, every[name].type)
    return checked


def parse_settings(spec: Optioned, settings: list[str]) -> dict[str, Any]:
    """Turn `["option=value", ...]` from the command line into checked options."""
    options = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise OptionError(f"--set {setting!r}: expected OPTION=VALUE, such as --set k=20.")
        options[name.strip()] = _from_text(text.strip())
    return check_options(spec, options)


def _from_text(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def coerce(what: str, value: Any, annotation: Any) -> Any:
    """Check a value against an annotation; an int is accepted where a float is asked for.

    Raises
    ------
    OptionError
        Names the thing, what was expected and what came.
    """
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    origin = typing.get_origin(annotation)
    if annotation is Any:
        return value
    if origin is Literal:
        if value in typing.get_args(annotation):
            return value
    elif origin in (typing.Union, UnionType):
        for choice in typing.get_args(annotation):
            try:
                return coerce(what, value, choice)
            except OptionError:
                continue
    elif annotation is NoneType or annotation is None:
        if value is None:
            return None
    elif annotation is bool:
        if isinstance(value, bool):
            return value
    elif annotation is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    elif annotation is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif annotation is str:
        if isinstance(value, str):
            return value
    elif origin in (tuple, list):
        if isinstance(value, str):
            value = [_from_text(part.strip()) for part in value.split(",") if part.strip()]
        if isinstance(value, list | tuple):
            inner = typing.get_args(annotation)[0] if typing.get_args(annotation) else Any
            return tuple(coerce(what, part, inner) for part in value)
    elif isinstance(annotation, type) and isinstance(value, annotation):
        return value
    raise OptionError(f"{what} must be {type_name(annotation)}; got {value!r}.")


def type_name(annotation: Any) -> str:
    """Say an annotation in words a user understands."""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(annotation))
    if origin in (typing.Union, UnionType):
        return " or ".join(type_name(choice) for choice in typing.get_args(annotation))
    if origin in (tuple, list):
        inner = typing.get_args(annotation)
        return f"a list of {type_name(inner[0])}" if inner else "a list"
    if annotation is NoneType:
        return "none"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))
