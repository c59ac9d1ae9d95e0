"""Torch networks as producers use them: trained on labeled rows, run on rows of a pool, left exactly as they were.

A network maps (n, ...) inputs, item by item along the first axis, to (n, C) logits. Nothing here keeps it in training
mode while it is run, so batch normalisation uses its stored statistics and never those of the rows it happens to see.
A network of doubles runs on one thread: sums in another order would change last digits, and with them near ties.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from poolwise.chance import rng_for
from poolwise.errors import InputError, OptionError, ShapeError
from poolwise.kernels.blocks import Key, read_rows, softmax_in_place
from poolwise.models.backbone import digest_of
from poolwise.models.weights import require
from poolwise.progress import task
from poolwise.types import Array, IndexArray, Rows

INPUT_BYTES = 256 * 2**20
"""Inputs that are read together; every variation is run on them before the next are read."""

BATCH_ROWS = 256
"""Rows of one forward pass."""

Variations = Callable[[], Generator[Any, None, None]]
"""Yields a network once for each of S variations, and leaves it as it was when the generator is closed."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How a network is fitted.

    epochs : passes over the labeled rows; more where they would be fewer than `min_steps` gradient steps
    optimizer : "adamw" (decoupled weight decay), or "sgd" with momentum 0.9
    """

    epochs: int = 50
    min_steps: int = 300
    train_batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    optimizer: Literal["adamw", "sgd"] = "adamw"

    def __post_init__(self) -> None:
        for name in ("epochs", "train_batch_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise OptionError(f"learning_rate must be above 0; got {self.learning_rate}. Try 1e-3.")
        if not self.weight_decay >= 0:
            raise OptionError(f"weight_decay must be at least 0; got {self.weight_decay}.")


def fit_network(
    network: Any,
    inputs: Rows,
    items: IndexArray,
    labels: IndexArray,
    *,
    seed: int,
    settings: TrainSettings | None = None,
    after_epoch: Callable[[], None] | None = None,
) -> None:
    """Train a network in place by cross entropy, from the weights it has.

    Parameters
    ----------
    network : torch module; (n, ...) inputs to (n, C) logits
    inputs : (N, ...) rows; read as they are needed, in the precision of the network
    items : (L,) row numbers of the labeled ones, L >= 1
    labels : (L,) classes below C
    seed : of the order of the rows and of dropout; torch's own random state is left as it was
    after_epoch : called after each pass, with the network in evaluation mode

    Notes
    -----
    Train batches are as equal as can be, so that batch normalisation never sees a batch of one row (unless L = 1).
    """
    torch = require("torch", "training a network")
    how = TrainSettings() if settings is None else settings
    order = rng_for(seed, "train order")
    n_batches = -(-len(items) // how.train_batch_size)
    epochs = max(how.epochs, -(-how.min_steps // n_batches))
    optimizer = _optimizer(torch, network, how)
    with _one_thread(network), seeded(seed), task("train", epochs) as work:
        for _ in range(epochs):
            network.train()
            for pos in np.array_split(order.permutation(len(items)), n_batches):
                logits = network(as_tensor(network, read_rows(inputs, items[pos], precision(network))))
                target = torch.as_tensor(labels[pos], device=logits.device)
                loss = torch.nn.functional.cross_entropy(logits, target)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            network.eval()
            _check_weights(torch, network, how)
            if after_epoch is not None:
                after_epoch()
            work.advance()


def _check_weights(torch: Any, network: Any, how: TrainSettings) -> None:
    if not all(bool(torch.isfinite(weight).all()) for weight in network.parameters()):
        raise InputError(
            f"training ended in NaN or inf at learning_rate={how.learning_rate}; expected finite weights. "
            "Use a smaller learning_rate, and inputs of about unit size."
        )


def _optimizer(torch: Any, network: Any, how: TrainSettings) -> Any:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if not weights:
        raise InputError("the network has no weight that can be trained (requires_grad); pass one that has.")
    shared = {"lr": how.learning_rate, "weight_decay": how.weight_decay}
    if how.optimizer == "adamw":
        return torch.optim.AdamW(weights, **shared)
    return torch.optim.SGD(weights, momentum=0.9, **shared)


def precision(network: Any) -> np.dtype[Any]:
    """The type in which the inputs of a network are read: float64 for a network of doubles, else float32."""
    weight = next(network.parameters(), None)
    return np.dtype(np.float64 if weight is not None and str(weight.dtype) == "torch.float64" else np.float32)


def as_tensor(network: Any, x: Array) -> Any:
    """Copy inputs to the device and the type of a network."""
    torch = require("torch", "running a network")
    weight = next(network.parameters(), None)
    tensor = torch.tensor(x)
    return tensor if weight is None else tensor.to(weight.device, weight.dtype)


def run_network(network: Any, x: Array, batch_rows: int = BATCH_ROWS) -> NDArray[np.float64]:
    """Run a network on (n, ...) inputs without gradients, in float32 without TF32 shortcuts: (n, q) float64.

    Raises
    ------
    ShapeError
        If the network does not return one row of numbers for each input.
    """
    torch = require("torch", "running a network")
    out = []
    exactly = torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False)
    with _one_thread(network), torch.no_grad(), exactly:
        for start in range(0, len(x), batch_rows):
            part = x[start : start + batch_rows]
            z = network(as_tensor(network, part))
            if not torch.is_tensor(z) or z.ndim != 2 or len(z) != len(part):
                came = tuple(z.shape) if torch.is_tensor(z) else type(z).__name__
                raise ShapeError(
                    f"the network returned {came} for {len(part)} items; expected ({len(part)}, C) logits. "
                    "Wrap it so that it returns those alone."
                )
            out.append(z.detach().cpu().double().numpy())
    return np.concatenate(out)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Set torch's random state, on every device, and put it back afterwards."""
    torch = require("torch", "training a network")
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed % 2**63)
        yield


@contextmanager
def _one_thread(network: Any) -> Iterator[None]:
    torch = require("torch", "running a network")
    before = torch.get_num_threads()
    torch.set_num_threads(1 if precision(network) == np.float64 else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def evaluating(*networks: Any) -> Iterator[None]:
    """Put networks into evaluation mode, and every module back into its own mode afterwards."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def restoring(network: Any) -> Iterator[dict[str, Any]]:
    """Evaluate a network whose weights and buffers may be overwritten; afterwards every bit is as it was.

    Yields
    ------
    name -> copy of each parameter and buffer as it was.
    """
    saved = {name: tensor.detach().clone() for name, tensor in tensors_of(network).items()}
    with evaluating(network):
        try:
            yield saved
        finally:
            set_tensors(network, saved)


def tensors_of(network: Any) -> dict[str, Any]:
    """Name -> parameter or buffer, those that are not saved with the network included."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def set_tensors(network: Any, values: Mapping[str, Any]) -> None:
    """Overwrite parameters and buffers by name, exactly."""
    torch = require("torch", "running a network")
    there = tensors_of(network)
    with torch.no_grad():
        for name, value in values.items():
            there[name].copy_(value)


def network_digest(settings: dict[str, Any], *networks: Any) -> str:
    """Hash settings and every number of some networks to 16 hexadecimal digits."""
    arrays = {
        f"{number} {name}": tensor.detach().cpu().double().numpy()
        for number, network in enumerate(networks)
        for name, tensor in tensors_of(network).items()
    }
    return digest_of({**settings, "network": [str(network) for network in networks]}, arrays)


class NetworkRows:
    """What a network says about the rows of a pool, S times varied, computed when it is read: (N, S, q) float32.

    The numbers of a row are the same whatever rows are read with it (to the rounding of the network's own
    arithmetic). Memory: the rows that are read, and `INPUT_BYTES` of their inputs.

    Parameters
    ----------
    inputs : (N, ...) rows that the network gets
    count, width : S, q
    digest : of everything the numbers follow from but the inputs
    fill : computes the rows of (n,) items into an (n, S, q) array
    """

    def __init__(
        self, inputs: Rows, count: int, width: int, digest: str, fill: Callable[[IndexArray, Array], None]
    ) -> None:
        self.inputs, self.digest = inputs, digest
        self.shape = (len(inputs), count, width)
        self.dtype = np.dtype(np.float32)
        self._fill = fill
        self._lock = threading.Lock()  # a network is in one variation at a time, and rows may be read ahead

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key) -> Array:
        return self.read(key, self.dtype)

    def read(self, key: Key, dtype: DTypeLike) -> Array:
        """Compute some rows and return them as `dtype`."""
        items = np.arange(len(self))[key] if isinstance(key, slice) else np.asarray(key)
        step = max(1, INPUT_BYTES // (4 * int(np.prod(self.inputs.shape[1:]))))
        out = np.empty((len(items), *self.shape[1:]), dtype=dtype)
        with self._lock:
            for start in range(0, len(items), step):
                self._fill(items[start : start + step], out[start : start + step])
        return out


def sampled_probs(
    inputs: Rows, variations: Variations, count: int, width: int, digest: str, batch_rows: int = BATCH_ROWS
) -> NetworkRows:
    """Give the (N, S, C) probabilities of a pool under S variations of a network.

    Parameters
    ----------
    inputs : (N, ...) rows that the network gets
    variations, count : S >= 1 variations; all are run on a block of rows before the next is read
    width, digest : C; see `NetworkRows`

    Raises
    ------
    OptionError
        If S is below 1.
    """
    if count < 1:
        raise OptionError(f"samples must be at least 1; got {count}. Try 20.")

    def fill(items: IndexArray, out: Array) -> None:
        with closing(variations()) as networks:
            x: Array | None = None
            for number, network in enumerate(networks):
                x = read_rows(inputs, items, precision(network)) if x is None else x
                out[:, number] = softmax_in_place(finite(run_network(network, x, batch_rows), items))

    return NetworkRows(inputs, count, width, digest, fill)


def finite(out: NDArray[np.float64], items: IndexArray) -> NDArray[np.float64]:
    """Return (n, q) outputs of some items if all are finite.

    Raises
    ------
    InputError
        Names the first item whose outputs are not.
    """
    wrong = items[~np.isfinite(out).all(axis=1)]
    if len(wrong):
        raise InputError(
            f"the network returned NaN or inf for item {wrong[0]} ({len(wrong)} of {len(items)} items); expected "
            "finite outputs. Check that item, or the training of the network."
        )
    return out


def width_of(network: Any, inputs: Rows) -> int:
    """Number of outputs of a network, found by running it on the first row."""
    if not len(inputs):
        raise InputError("there are no rows to run the network on; pass inputs with at least one row.")
    with evaluating(network):
        return int(run_network(network, read_rows(inputs, slice(0, 1), precision(network))).shape[1])
