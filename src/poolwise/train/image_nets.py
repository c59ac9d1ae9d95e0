"""Small convolutional networks from random weights: what AutoAL on pictures fits, searches and looks with.

Source: our own; three stages of two 3 x 3 convolutions with group normalisation. Loss-prediction module: Yoo & Kweon,
"Learning Loss for Active Learning", CVPR 2019, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poolwise.types import Array, FloatArray, IndexArray

BLOCK_ROWS = 512
"""Pictures of one pass without gradients."""
FALLS = (0.6, 0.9)
"""Shares of the steps after which the rate of a fit falls: 120 and 180 of 200 in the published code."""
HIDDEN = 32
"""Units for each stage in the loss-prediction module."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures as (n, channels, H, W) tensors, scaled by mean and spread of the labeled ones.

    images : (N, H, W) or (N, H, W, 3) uint8
    known : the labeled ones
    """

    torch: Any
    images: Array
    known: Array
    device: str
    mean: FloatArray = field(init=False)
    spread: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        flat = self.known.reshape(-1, self.channels).astype(np.float32)
        object.__setattr__(self, "mean", flat.mean(axis=0))
        object.__setattr__(self, "spread", np.maximum(flat.std(axis=0), 1.0))

    @property
    def channels(self) -> int:
        return 3 if self.images.ndim == 4 else 1

    def at(self, items: IndexArray) -> Any:
        x = self.images[items].reshape(len(items), *self.images.shape[1:3], self.channels)
        scaled = ((x - self.mean) / self.spread).transpose(0, 3, 1, 2)
        return self.torch.as_tensor(np.ascontiguousarray(scaled, dtype=np.float32), device=self.device)


@dataclass(frozen=True, slots=True)
class ImageNets:
    """Makes, trains and runs networks; a network here is a torch module of stages, a head and a loss predictor."""

    torch: Any
    see: Pictures
    width: int
    train_batch_size: int

    def network(self, n_outputs: int) -> Any:
        """Three stages, and a linear head on the means of the last one's channels."""
        nn, width = self.torch.nn, self.width
        sizes = [self.see.channels, width, 2 * width, 4 * width]
        stages = [_stage(nn, sizes[i], sizes[i + 1], 1 if i == 0 else 2) for i in range(3)]
        net = nn.ModuleDict({"stages": nn.ModuleList(stages), "head": nn.Linear(sizes[-1], n_outputs)})
        net["judges"] = nn.ModuleList([nn.Linear(size, HIDDEN) for size in sizes[1:]])
        net["predicted"] = nn.Linear(3 * HIDDEN, 1)
        return net.to(self.see.device)

    def fitted(
        self, items: IndexArray, y: IndexArray, n_classes: int, steps: int, rate: float, rng: np.random.Generator
    ) -> Any:
        """A classifier, by plain cross-entropy and Adam; the rate falls twice to a tenth, as in the published code."""
        net = self.network(n_classes)
        optimizer = self.torch.optim.Adam(net.parameters(), lr=rate)
        for turn in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.1 ** sum(turn >= share * steps for share in FALLS)
            pos = self.some(len(items), rng)
            step(optimizer, self.losses(net, items[pos], y[pos]).mean())
        return net

    def some(self, n: int, rng: np.random.Generator) -> IndexArray:
        """Positions of one train batch of n items."""
        return rng.permutation(n)[: self.train_batch_size]

    def look(self, net: Any, items: IndexArray) -> tuple[Array, Array]:
        """(n, 4 width) means of the last channels and (n, q) outputs, without gradients."""
        parts = []
        with self.torch.no_grad():
            for start in range(0, len(items), BLOCK_ROWS):
                means, z = self.run(net, items[start : start + BLOCK_ROWS])
                parts.append((means[-1].cpu().numpy(), z.cpu().numpy()))
        return np.concatenate([means for means, _ in parts]), np.concatenate([z for _, z in parts])

    def run(self, net: Any, items: IndexArray) -> tuple[list[Any], Any]:
        """Mean of each channel after each stage, and outputs, as tensors."""
        x, means = self.see.at(items), []
        for stage in net["stages"]:
            x = stage(x)
            means.append(x.mean(dim=(2, 3)))
        return means, net["head"](means[-1])

    def losses(self, net: Any, items: IndexArray, y: IndexArray) -> Any:
        """(n,) cross-entropies, as a tensor."""
        target = self.torch.as_tensor(y, device=self.see.device)
        return self.torch.nn.functional.cross_entropy(self.run(net, items)[1], target, reduction="none")

    def predicted(self, net: Any, items: IndexArray) -> Any:
        """(n,) losses as the loss-prediction module expects them, as a tensor."""
        means, _ = self.run(net, items)
        joined = [judge(mean).relu() for judge, mean in zip(net["judges"], means, strict=True)]
        return net["predicted"](self.torch.cat(joined, dim=1))[:, 0]


def head_of(net: Any) -> dict[str, Array]:
    """The last layer, as strategies name it."""
    head = net["head"]
    return {
        "head_weight": head.weight.detach().cpu().numpy().copy(),
        "head_bias": head.bias.detach().cpu().numpy().copy(),
    }


def ranking_loss(predicted: Any, losses: Any) -> Any:
    """Pairs of items, the one of larger loss should be predicted larger by at least 1 (Yoo & Kweon, equation 2)."""
    half = len(losses) // 2
    apart = predicted[:half] - predicted[half : 2 * half]
    sign = (losses[:half] > losses[half : 2 * half]).to(apart.dtype) * 2 - 1
    return (1 - sign * apart).clamp(min=0).mean()


def step(optimizer: Any, loss: Any) -> None:
    """One gradient step."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _stage(nn: Any, n_in: int, n_out: int, stride: int) -> Any:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1),
        nn.GroupNorm(4, n_out),
        nn.ReLU(),
        nn.Conv2d(n_out, n_out, 3, padding=1),
        nn.GroupNorm(4, n_out),
        nn.ReLU(),
    )
