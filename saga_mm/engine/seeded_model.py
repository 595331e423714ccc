"""A model that is built before its runner, as the runner would build it."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.runner import set_random_seed

from saga_mm.loading.build import build_model

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn


class SeededModel:
    """The model of a config, with the random numbers of a runner.

    mmengine's runner sets the seed and then builds the model, whose initial weights are the next random numbers. This
    class does the same, and keeps the state of the random numbers after it. The runner goes on from that state, so
    that the training is the same as with a model of its own.

    Args:
        cfg: The config.

    Attributes:
        model: The model.

    Raises:
        SagaError: As of :func:`saga_mm.loading.build.build_model`.
    """

    def __init__(self, cfg: Config) -> None:
        self._made_of = deepcopy(_makes(cfg))
        if (seed := _seed(cfg)) is not None:
            set_random_seed(seed)
        self.model = build_model(cfg)
        self._after = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def is_of(self, cfg: Config) -> bool:
        """Whether the runner of a config would build this model: the config names a seed, and has not changed since."""
        each_its_own = (cfg.get('randomness') or {}).get('diff_rank_seed')
        return _seed(cfg) is not None and not each_its_own and self._made_of == _makes(cfg)

    def give(self) -> nn.Module:
        """Set the random numbers to those after the build, and return the model for its runner."""
        python, numpy, torch_ = self._after
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_)
        return self.model


def _seed(cfg: Config) -> int | None:
    return (cfg.get('randomness') or {}).get('seed')


def _makes(cfg: Config) -> dict[str, Any]:
    """The values of a config that determine its model."""
    return {key: cfg.get(key) for key in ('model', 'data_preprocessor', 'randomness', 'default_scope')}
