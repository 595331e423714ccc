"""Host and process id of each process, so that an error can name one that is missing or has ended."""

from __future__ import annotations

import datetime
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import torch.distributed as dist


class Peers:
    """Where the processes of a run live, told through the store at which they meet.

    Args:
        store: The store.
        rank: Index of this process.
        world: How many there are.
    """

    _known: ClassVar[Peers | None] = None

    def __init__(self, store: dist.Store, rank: int, world: int) -> None:
        self.store, self.rank, self.world = store, rank, world
        self.places: dict[int, tuple[str, int]] = {}
        Peers._known = self

    def meet(self, limit: datetime.timedelta) -> None:
        """Publish host and process id of this process, and wait for those of all others.

        Raises:
            RuntimeError: Some have not.
        """
        self.store.set(_key(self.rank), f'{socket.gethostname()} {os.getpid()}')
        self.store.wait([_key(rank) for rank in range(self.world)], limit)
        for rank in range(self.world):
            host, pid = self.store.get(_key(rank)).decode().split()
            self.places[rank] = host, int(pid)

    @classmethod
    def absent(cls) -> str:
        """Of processes that have not come, for a message; nothing where that is not known."""
        peers = cls._known
        if peers is None:
            return ''
        try:
            missing = [rank for rank in range(peers.world) if not peers.store.check([_key(rank)])]
        except RuntimeError:
            return ''
        return f' (process {_listed(missing)} did not)' if missing else ''

    @classmethod
    def ended(cls) -> str:
        """Processes of this machine that have ended, for a message; empty if there are none."""
        peers = cls._known
        if peers is None:
            return ''
        found = [rank for rank, lives in peers._here() if not lives]
        if not found:
            return ''
        pids = _listed([peers.places[rank][1] for rank in found])
        return f'process {_listed(found)} (pid {pids} on {socket.gethostname()}), which has ended'

    @classmethod
    def is_first_left(cls) -> bool:
        """Whether this process is the first that is left on this machine."""
        peers = cls._known
        return peers is None or not any(lives for rank, lives in peers._here() if rank < peers.rank)

    def _here(self) -> list[tuple[int, bool]]:
        """The processes of this machine, and whether they live."""
        here = socket.gethostname()
        return [(rank, _lives(pid)) for rank, (host, pid) in self.places.items() if host == here]


def _key(rank: int) -> str:
    return f'saga_mm/place/{rank}'


def _lives(pid: int) -> bool:
    with suppress(OSError, IndexError):
        # who started it may not have looked yet
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _listed(numbers: list[int]) -> str:
    return ', '.join(map(str, numbers))
