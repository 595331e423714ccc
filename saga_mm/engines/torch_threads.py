"""PyTorch's threads while another library computes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Threads:
    """Limits PyTorch to one thread while OpenVINO computes, and restores all threads while PyTorch computes."""

    def __init__(self) -> None:
        # a compiled step has one set of buffers
        self._lock = threading.RLock()
        self._depth = 0
        # PyTorch's threads, while they are fewer
        self._all: int | None = None

    @property
    def held(self) -> bool:
        """Whether a run is in progress."""
        return self._depth > 0

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Limit PyTorch's threads for a run, one run at a time; yields whether this run is the outermost."""
        with self._lock:
            before, first = torch.get_num_threads(), not self._depth
            self._depth += 1
            # threads of PyTorch that spin while they wait for work would keep the cores from OpenVINO's
            if first and os.environ.get('OMP_WAIT_POLICY', '').lower() != 'passive':
                self._all = before
                torch.set_num_threads(1)
            try:
                yield first
            finally:
                self._depth -= 1
                if first:
                    torch.set_num_threads(before)
                    self._all = None

    @contextmanager
    def pytorch(self) -> Iterator[None]:
        """Restore all threads while a part runs in PyTorch."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._all or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
