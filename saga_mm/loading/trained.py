"""A config and a checkpoint, each read once, and the model that they make."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from saga_mm.loading.build import build_model
from saga_mm.loading.checkpoint import keep, load_checkpoint, state_of
from saga_mm.loading.config import load_config
from saga_mm.loading.weight_match import check_match

if TYPE_CHECKING:
    from mmengine.config import Config


class Trained:
    """A config and a checkpoint that are read; the config may be changed before the model is built.

    Args:
        cfg: The config.
        checkpoint: The weights; nothing in the file is executed.
        loaded: What was read of the checkpoint, if it was.

    Attributes:
        cfg: The config.
        checkpoint: The file.
        meta: What the checkpoint says besides weights, such as ``dataset_meta``.

    Raises:
        SagaError: The checkpoint is missing, damaged, no checkpoint, or would run code when read.
    """

    def __init__(
        self, cfg: Config, checkpoint: str | os.PathLike[str], loaded: Mapping[str, Any] | None = None
    ) -> None:
        self.cfg, self.checkpoint = cfg, checkpoint
        self._loaded = load_checkpoint(checkpoint) if loaded is None else loaded
        meta = self._loaded.get('meta')
        self.meta: Mapping[str, Any] = meta if isinstance(meta, Mapping) else {}

    @classmethod
    def read(
        cls,
        config: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str],
        cfg_options: dict[str, Any] | None = None,
    ) -> Trained:
        """The same of a config file, of which values may be changed by dotted key."""
        return cls(load_config(config, cfg_options), checkpoint)

    def build(self) -> nn.Module:
        """The model with its weights, on the CPU. It has ``cfg`` and ``dataset_meta``, as mmdet's functions set them.

        Raises:
            SagaError: The config describes no model, or the checkpoint is of another one.
        """
        model, state = build_model(self.cfg), state_of(self._loaded)
        # before torch would refuse them, with a list of every key
        check_match(model, state, self.checkpoint)
        model.load_state_dict(state)
        model.cfg, model.dataset_meta = self.cfg, dict(self.meta.get('dataset_meta') or {})
        return model

    def keep(self) -> None:
        """Give what was read of the checkpoint to whoever reads the file next."""
        keep(self.checkpoint, self._loaded)
