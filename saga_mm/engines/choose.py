"""Choose an engine, and let a model use it."""

from __future__ import annotations

import importlib.util
from functools import partial
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import nn

from saga_mm.errors import ArgumentError
from saga_mm.models.backbones.chunks import engine_for
from saga_mm.models.stack_padding import features_by_size
from saga_mm.rows import Engine

from .library import core
from .openvino import OpenVINOEngine

ENGINES = ('auto', 'torch', 'openvino')
PRECISIONS = ('f32', 'bf16')
PACKAGE = 'openvino>=2026.4'
Model = TypeVar('Model', bound=nn.Module)


def make_engine(name: str = 'auto', precision: str = 'f32', device: torch.device | str = 'cpu') -> Engine:
    """An engine by its name.

    Args:
        name: ``'torch'``, ``'openvino'``, or ``'auto'``: OpenVINO for a model on a CPU, if it is installed.
        precision: ``'f32'``, or ``'bf16'`` for matrix products and convolutions in bfloat16 (OpenVINO alone).
        device: Where the model is.

    Raises:
        SagaError: The name or the precision is unknown, or not to be had here.
    """
    if name not in ENGINES:
        raise ArgumentError('engine', name, f'is unknown; choose one of {", ".join(ENGINES)}')
    if precision not in PRECISIONS:
        raise ArgumentError('precision', precision, f'is unknown; choose one of {", ".join(PRECISIONS)}')
    on_cpu, installed = torch.device(device).type == 'cpu', importlib.util.find_spec('openvino') is not None
    if name == 'openvino' and not on_cpu:
        raise ArgumentError('engine', name, f'runs on a CPU, and the model is on {device}')
    if name == 'openvino' and not installed:
        raise ArgumentError('engine', name, f"is not installed; pip install '{PACKAGE}'")
    if name == 'torch' or not on_cpu or not installed:
        if precision != 'f32':
            raise ArgumentError('precision', precision, 'needs the engine openvino, on a CPU; leave it at f32')
        return Engine()
    if precision == 'bf16' and 'BF16' not in core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
        raise ArgumentError('precision', precision, 'this processor has no instructions for bfloat16; leave it at f32')
    # compiling pays off only for models that run for long, or are in the cache
    return OpenVINOEngine(precision, patient=name == 'auto')


def use_engine(model: Model, engine: str | Engine = 'auto', precision: str = 'f32') -> Model:
    """Run the inference of a model on an engine: a backbone or enhancer of saga_mm, or a model that holds one.

    Training, gradients, hooks and ``torch.compile`` go on as before, in PyTorch. Results are equal up to rounding.

    Args:
        model: A backbone, an enhancer, or a detector or segmentor of the stack with a backbone of saga_mm.
        engine: As of :func:`make_engine`, or an engine; ``'torch'`` undoes it.
        precision: As of :func:`make_engine`.

    Returns:
        The model.

    Raises:
        SagaError: The engine or the precision is unknown, or not to be had here.
    """
    if isinstance(engine, str):
        device = next((weight.device for weight in model.parameters()), torch.device('cpu'))
        engine = make_engine(engine, precision, device)
    for module in model.modules():
        if hasattr(module, 'forward_rows'):
            module.engine = engine
    model.engine = engine
    backbone = getattr(model, 'backbone', None)
    if hasattr(type(model), 'extract_feat') and hasattr(backbone, 'forward_rows'):
        # on the instance: other models of its class stay as they are
        model.extract_feat = MethodType(_extract_feat, model)
    return model


def _extract_feat(model: Any, images: torch.Tensor) -> Any:
    """Backbone and neck of a model of the stack on its engine, in one piece where that is small."""
    return features_by_size(model, images, partial(_features, model))


def _features(model: Any, images: torch.Tensor) -> Any:
    plain, backbone = type(model).extract_feat, model.backbone
    parts = [backbone] if getattr(model, 'neck', None) is None else [backbone, model.neck]
    engines = [engine_for(part, images) for part in parts]
    if (
        None in engines
        or max(p.whole_bytes(len(images)) for p in backbone.parts(*images.shape[2:])) > engines[0].whole_bytes
    ):
        return plain(model, images)

    def compute(images: torch.Tensor) -> Any:
        return tuple(plain(model, images))

    example = [torch.rand(1, images.shape[1], 141, 173)]
    maps = engines[0].apply(compute, parts, images, example=example)
    return maps if isinstance(maps, tuple) else (maps,)
