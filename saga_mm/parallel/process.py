"""Rank and number of processes, as torchrun or Slurm set them."""

from __future__ import annotations

import os
from typing import NamedTuple

# of Slurm, what torchrun calls otherwise; a batch script by itself is a step of one task
SLURM = {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_STEP_NUM_TASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}


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
        os.environ.update({name: os.environ[other] for name, other in SLURM.items() if other in os.environ})
    return Process(int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1)))
