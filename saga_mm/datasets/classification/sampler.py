"""Repeated augmentation: each picture occurs several times in an epoch."""

from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from saga_mm.registry import DATA_SAMPLERS

MULTIPLE = 256


@DATA_SAMPLERS.register_module()
class RepeatedSampler(Sampler):
    """Pictures that are repeated, on different processes where there are several (Hoffer et al., CVPR 2020).

    An epoch has as many pictures as the data set, rounded down to a multiple of 256 where it has that many, as DeiT's.

    Args:
        dataset: The data set.
        seed: Of the order; None for one that all processes agree on.
        num_repeats: How often a picture comes.
        shuffle: Draw the order of the pictures anew for each epoch.

    Raises:
        ValueError: If ``num_repeats`` is less than 1.
    """

    def __init__(self, dataset: Sized, seed: int | None = None, num_repeats: int = 3, shuffle: bool = True) -> None:
        if num_repeats < 1:
            raise ValueError(f'num_repeats={num_repeats} must be at least 1')
        self.rank, self.world_size = get_dist_info()
        self.dataset, self.num_repeats, self.shuffle = dataset, num_repeats, shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self.count = max(len(dataset) // MULTIPLE * MULTIPLE or len(dataset), self.world_size) // self.world_size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        size = len(self.dataset)
        order = torch.randperm(size, generator=generator) if self.shuffle else torch.arange(size)
        repeated = order.repeat_interleave(self.num_repeats)
        return iter(repeated[self.rank :: self.world_size][: self.count].tolist())

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """Draw another order."""
        self.epoch = epoch
