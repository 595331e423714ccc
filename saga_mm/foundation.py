"""Base classes of models: mmengine's where it is installed, else minimal ones on torch.

Both distributions of the stack install a package ``mmengine``, so none can be a dependency of this one. With it, models
register with mmengine, and configs of mmdet and mmseg find them. Without it they are modules of PyTorch, found by name.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from saga_mm.errors import SagaError

HAS_MMENGINE = importlib.util.find_spec('mmengine') is not None


class PlainRegistry:
    """Classes by name, with or without the prefix ``saga_mm.``.

    Args:
        locations: Modules that register classes when they are imported, as they are before a name is looked up.
    """

    def __init__(self, locations: Sequence[str] = ()) -> None:
        self.module_dict: dict[str, type] = {}
        self._locations = locations

    def register_module(self, name: str | Sequence[str] | None = None) -> Callable[[type], type]:
        """A decorator: register a class under its own name, or under one or several others."""

        def register(kind: type) -> type:
            for each in [name] if isinstance(name, str) else name or [kind.__name__]:
                self.module_dict[each] = kind
            return kind

        return register

    def get(self, name: str) -> type | None:
        for location in self._locations:
            importlib.import_module(location)
        return self.module_dict.get(name.removeprefix('saga_mm.'))

    def build(self, cfg: dict[str, Any]) -> Any:
        """An object of the class that ``type`` names, with the other keys as arguments.

        Raises:
            SagaError: No class has this name.
        """
        options = dict(cfg)
        name = options.pop('type')
        kind = self.get(name) if isinstance(name, str) else name
        if kind is None:
            raise SagaError(f'type {name!r} is none of saga_mm; types of other packages need mmengine: {INSTALL}')
        return kind(**options)


class PlainModule(nn.Module):
    """Replaces mmengine's ``BaseModule``."""

    def __init__(self, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__()
        if init_cfg:
            raise SagaError(f'init_cfg={init_cfg}: initialisation by a config needs mmengine: {INSTALL}')
        self.init_cfg = None

    def init_weights(self) -> None:
        """Initialise the children that have a way to."""
        for child in self.children():
            getattr(child, 'init_weights', lambda: None)()


class PlainModel(PlainModule):
    """Stands for mmengine's ``BaseModel``, without the training; keeps the preprocessor's config."""

    def __init__(self, data_preprocessor: dict | None = None, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.data_preprocessor = data_preprocessor


INSTALL = 'pip install mmengine, or a whole stack, saga-mm[onedl]'

if HAS_MMENGINE:
    from mmengine.logging import print_log
    from mmengine.model import BaseDataPreprocessor, BaseModel, BaseModule, ImgDataPreprocessor
else:
    BaseModule, BaseModel = PlainModule, PlainModel
    BaseDataPreprocessor = ImgDataPreprocessor = PlainModule

    def print_log(text: str, logger: str | None = None, level: int = logging.INFO) -> None:
        logging.getLogger(__name__).log(level, text)


__all__ = [
    'HAS_MMENGINE',
    'BaseDataPreprocessor',
    'BaseModel',
    'BaseModule',
    'ImgDataPreprocessor',
    'PlainRegistry',
    'print_log',
]
