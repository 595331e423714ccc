"""The table that ``saga-mm flops`` prints of a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from saga_mm.analysis.parts import image_batch, measure_parts
from saga_mm.errors import SagaError
from saga_mm.loading.build import build_model
from saga_mm.loading.config import CONFIG_SUFFIXES, load_config
from saga_mm.loading.stack import require_stack_for
from saga_mm.models.backbones import create_backbone


def report_flops(
    model: str,
    size: Sequence[int] | None = None,
    batch: int = 1,
    training: bool = False,
    as_json: bool = False,
    options: dict[str, Any] | None = None,
) -> None:
    """Print parameters, multiply-accumulates and peak live activations of each part.

    Args:
        model: A config file, or the name of a backbone.
        size: Height and width of the images; None for what is usual.
        batch: Images.
        training: Count the backward pass and what is kept for it.
        as_json: Print exact numbers as JSON.
        options: Values of the config to change, or options of the backbone.

    Raises:
        SagaError: There is no such model.
    """
    net, usual = _load(model, options or {})
    cost = measure_parts(net, image_batch(batch, *(size or usual)), training)
    print(json.dumps(cost.as_dict(), indent=2) if as_json else cost.as_table())


def _load(name: str, options: dict[str, Any]) -> tuple[nn.Module, tuple[int, int]]:
    """The model behind a config file or a backbone's name, and the image size that is usual for it."""
    if Path(name).suffix in CONFIG_SUFFIXES or Path(name).exists():
        cfg = load_config(name, options)
        require_stack_for(cfg)
        model = build_model(cfg)
        sizes = {'decode_head': (512, 2048), 'head': (224, 224)}
        return model, next((size for head, size in sizes.items() if hasattr(model, head)), (800, 1280))
    try:
        return create_backbone(name, **options), (224, 224)
    except (ValueError, TypeError) as error:
        raise SagaError(f'{name}: no such config file, and as a backbone: {error}') from error
