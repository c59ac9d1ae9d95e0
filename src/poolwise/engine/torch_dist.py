"""The communicator between processes and machines: torch.distributed, gloo on CPUs and nccl on GPUs.

Measured with two processes on two shared cores: see docs/decisions/engines.md.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import numpy as np

from poolwise.engine.wire import Bytes, pack, unpack
from poolwise.errors import missing_extra
from poolwise.types import FloatArray


def loopback() -> str:
    """Name of the network interface that leaves this machine never."""
    return "lo0" if sys.platform == "darwin" else "lo"


class TorchCommunicator:
    """One rank of a torch.distributed process group.

    Parameters
    ----------
    rank, size : this rank, 0 <= rank < size
    meeting_place : URL where ranks find each other, such as file:///tmp/x or tcp://host:port
    backend : "gloo" or "nccl"; nccl moves messages through the GPU of each rank
    timeout_s : a rank that waits longer for another one fails
    """

    def __init__(self, rank: int, size: int, meeting_place: str, *, backend: str, timeout_s: float) -> None:
        try:
            import torch
            import torch.distributed as dist
        except ImportError as error:
            raise missing_extra("torch", "torch", "selection over several processes") from error
        self.rank, self.size = rank, size
        self._torch, self._dist = torch, dist
        self._device = torch.device("cuda", rank % torch.cuda.device_count()) if backend == "nccl" else None
        if self._device is not None:
            torch.cuda.set_device(self._device)
        wait = timedelta(seconds=timeout_s)
        dist.init_process_group(backend, init_method=meeting_place, rank=rank, world_size=size, timeout=wait)

    def close(self) -> None:
        """Leave the group."""
        self._dist.destroy_process_group()

    def gather_candidates(self, part: Any) -> list[Any] | None:
        """Collect one value of every rank at rank 0: each sends its length and its bytes."""
        if self.rank:
            data = pack(part)
            self._dist.send(self._tensor(np.array([len(data)], dtype=np.int64)), 0)
            self._dist.send(self._tensor(data), 0)
            return None
        return [part, *(self._receive(source) for source in range(1, self.size))]

    def _receive(self, source: int) -> Any:
        length = self._tensor(np.zeros(1, dtype=np.int64))
        self._dist.recv(length, source)
        data = self._tensor(np.empty(int(length[0]), dtype=np.uint8))
        self._dist.recv(data, source)
        return unpack(self._array(data))

    def broadcast_rows(self, message: Any) -> Any:
        """Hand the value of rank 0 to all ranks."""
        data = pack(message) if self.rank == 0 else None
        length = self._tensor(np.array([0 if data is None else len(data)], dtype=np.int64))
        self._dist.broadcast(length, 0)
        payload = self._tensor(np.empty(int(length[0]), dtype=np.uint8) if data is None else data)
        self._dist.broadcast(payload, 0)
        return message if self.rank == 0 else unpack(self._array(payload))

    def sum_f64(self, values: FloatArray) -> FloatArray:
        """Add over all ranks."""
        total = self._tensor(np.array(values, dtype=np.float64))
        self._dist.all_reduce(total)
        return np.asarray(total.cpu().numpy(), dtype=np.float64)

    def barrier(self) -> None:
        """Wait for all ranks."""
        self._dist.barrier()

    def _tensor(self, array: Any) -> Any:
        tensor = self._torch.from_numpy(array)
        return tensor if self._device is None else tensor.to(self._device)

    def _array(self, tensor: Any) -> Bytes:
        data: Bytes = tensor.cpu().numpy()
        return data
