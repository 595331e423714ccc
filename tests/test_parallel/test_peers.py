"""Processes that are missing or have ended are named."""

import datetime
import os
import subprocess
import sys

import pytest
import torch.distributed as dist

from saga_mm.parallel.peers import Peers

SOON = datetime.timedelta(seconds=0.2)


@pytest.fixture
def store(monkeypatch):
    """A store within this process."""
    monkeypatch.setattr(Peers, '_known', None)
    return dist.HashStore()


def other(rank: int, store: dist.Store, pid: int, host: str = os.uname().nodename) -> None:
    """Tell of another process as it does itself."""
    store.set(f'saga_mm/place/{rank}', f'{host} {pid}')


def test_alone_nobody_is_missing(store):
    assert (Peers.absent(), Peers.ended(), Peers.is_first_left()) == ('', '', True)


def test_who_has_not_come(store):
    peers = Peers(store, 1, 4)
    other(2, store, os.getpid())
    with pytest.raises(RuntimeError):
        peers.meet(SOON)
    assert Peers.absent() == ' (process 0, 3 did not)'


def test_who_has_ended_on_this_machine(store):
    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    other(0, store, child.pid)
    # of another machine nothing is known
    other(2, store, 2**22 + 1, 'elsewhere')
    peers = Peers(store, 1, 3)
    peers.meet(SOON)
    assert Peers.ended() == '' and not Peers.is_first_left()
    # it has ended, though nobody has asked for its status
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Peers.ended() == f'process 0 (pid {child.pid} on {os.uname().nodename}), which has ended'
    assert Peers.is_first_left()
    child.wait()
    assert Peers.ended().startswith('process 0 ')
