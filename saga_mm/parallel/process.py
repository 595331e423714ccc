"""Rank and number of processes, as torchrun or Slurm set them."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from saga_mm.errors import SagaError

# of Slurm, what torchrun calls otherwise; a batch script by itself is a step of one task
SLURM = {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_STEP_NUM_TASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}
NODES = ('SLURM_STEP_NODELIST', 'SLURM_JOB_NODELIST', 'SLURM_NODELIST')
PATIENCE, TIMEOUT = 'SAGA_MM_TIMEOUT', 600.0
# jobs on one machine meet at different ports
FIRST_PORT, PORTS = 20000, 10000


class Process(NamedTuple):
    """Index of this process, and how many there are."""

    index: int
    count: int

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.index == 0


def this_process() -> Process:
    """By the variables of torchrun, or of ``srun`` where those are not set; alone without either."""
    if 'WORLD_SIZE' not in os.environ and int(os.environ.get(SLURM['WORLD_SIZE'], 1)) > 1:
        take_slurm()
    return Process(int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1)))


def take_slurm() -> None:
    """Set the variables of torchrun by those of ``srun``: who this is, and where processes meet."""
    names = os.environ
    names.update({name: names[other] for name, other in SLURM.items() if other in names})
    nodes = next((names[name] for name in NODES if names.get(name)), '')
    names.setdefault('MASTER_ADDR', first_node(nodes) or '127.0.0.1')
    job = names.get('SLURM_JOB_ID', '0')
    names.setdefault('MASTER_PORT', str(FIRST_PORT + int(job if job.isdecimal() else 0) % PORTS))


def first_node(nodes: str) -> str:
    """Of a list of nodes as Slurm writes it: ``gpu[03-05,9],x1`` gives ``gpu03``."""
    found = re.match(r'([^\[,]*)(?:\[([^\],-]*)[^\]]*\]([^,\[]*))?', nodes)
    return ''.join(part or '' for part in found.groups())


def patience() -> float:
    """Seconds that a process waits for the others, by the variable ``SAGA_MM_TIMEOUT``.

    Raises:
        SagaError: It is no number above 0.
    """
    text = os.environ.get(PATIENCE, str(TIMEOUT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e6:
        raise SagaError(f'{PATIENCE}={text}: must be seconds above 0')
    return seconds
