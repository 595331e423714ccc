"""Join the processes of a run, and divide them into a mesh."""

from __future__ import annotations

import datetime
import os

import torch
import torch.distributed as dist

from saga_mm.errors import SagaError, SharedError

from .mesh import Mesh
from .peers import Peers
from .process import patience, this_process


def make_mesh(bands: int | None = None, timeout: float | None = None) -> Mesh:
    """Divide the processes of ``torch.distributed`` into a mesh; neighbours in rank share an image.

    Without processes, or with a single one, that is a mesh of one band.

    Args:
        bands: Processes that share an image; None for all of them.
        timeout: Seconds that a process waits for the others before it ends with an error; None for :func:`patience`.

    Raises:
        SagaError: ``bands`` does not divide the number of processes.
    """
    world = dist.get_world_size() if dist.is_initialized() else 1
    bands = world if bands is None else bands
    if bands < 1 or world % bands:
        raise SharedError(f'bands={bands}: must divide the number of processes, {world}; start another number of them')
    if world == 1:
        return Mesh()
    rank, limit = dist.get_rank(), datetime.timedelta(seconds=timeout or patience())
    # every process takes part in making all groups, also those that it is not in, in the same order
    groups = [dist.new_group(list(range(i, i + bands)), timeout=limit) for i in range(0, world, bands)]
    everyone = groups[0] if bands == world else dist.new_group(list(range(world)), timeout=limit)
    across = [dist.new_group(list(range(i, world, bands)), timeout=limit) for i in range(bands)]
    own = groups[rank // bands] if bands > 1 else None
    return Mesh(rank % bands, bands, own, rank // bands, len(groups), everyone, across[rank % bands])


def start_processes(
    device: torch.device | str = 'cpu', timeout: float | None = None, backend: str | None = None
) -> None:
    """Join the processes that torchrun or Slurm has started; nothing where there is one, or they are joined already.

    Args:
        device: Where tensors lie that processes exchange.
        timeout: As of :func:`make_mesh`.
        backend: Of ``torch.distributed``; None for NCCL on GPUs and gloo elsewhere.

    Raises:
        SagaError: Not all processes came.
    """
    if this_process().count > 1:
        join_processes(device, timeout, backend)


def join_processes(
    device: torch.device | str = 'cpu', timeout: float | None = None, backend: str | None = None
) -> None:
    """As :func:`start_processes`, for a single process too."""
    if dist.is_initialized():
        return
    rank, world = this_process()
    timeout = timeout or patience()
    limit = datetime.timedelta(seconds=timeout)
    cuda = torch.device(device).type == 'cuda'
    if cuda:
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)))
    try:
        store = _store(rank, world, limit)
        peers = Peers(store, rank, world)
        peers.meet(limit)
        dist.init_process_group(
            backend or ('nccl' if cuda else 'gloo'),
            # keys of the peers are in the same store
            store=dist.PrefixStore('group', store),
            rank=rank,
            world_size=world,
            timeout=limit,
        )
    except (RuntimeError, ValueError) as error:
        at = f'{os.environ.get("MASTER_ADDR")}:{os.environ.get("MASTER_PORT")}'
        if 'address already in use' in str(error).lower() or 'EADDRINUSE' in str(error):
            raise SagaError(f'port {at} is in use by another program: set MASTER_PORT to a free one') from error
        raise SagaError(
            f'{world} processes were to meet at {at}, and not all came within {timeout:.0f} s{Peers.absent()}: start '
            'all of them with the same address, a free port and ranks from 0 (torchrun and srun do); '
            'SAGA_MM_TIMEOUT=SECONDS waits longer'
        ) from error


def _store(rank: int, world: int, limit: datetime.timedelta) -> dist.Store:
    """Where processes meet: of torchrun, or of the first process, which does not wait for the others yet."""
    if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == str(True):
        return next(dist.rendezvous('env://', rank, world, timeout=limit))[0]
    host, port = os.environ.get('MASTER_ADDR', '127.0.0.1'), int(os.environ.get('MASTER_PORT', 29500))
    return dist.TCPStore(host, port, world, rank == 0, limit, wait_for_workers=False)
