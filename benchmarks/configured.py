"""Whole detectors and segmentors of configs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from saga_mm.analysis.parts import DENSE_HEADS, DenseParts
from saga_mm.errors import SagaError
from saga_mm.loading.build import build_model as build_of_config
from saga_mm.loading.config import load_config
from saga_mm.loading.stack import require_stack_for

from .cases import Case, Subject, random_tensor
from .nets import ends_bytes

NAMES = ('ade20k/upernet_pvt-t_160k_ade20k-512x512.py', 'ade20k/upernet_saga-pvt-t_160k_ade20k-512x512.py')


class TensorMode(nn.Module):
    """A detector or segmentor from normalised images to what its heads make of them, before thresholds and resizing.

    Of a detector with two stages, proposals are made and suppressed, and the heads run on them.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> Any:
        from mmengine.structures import BaseDataElement

        about = {'img_shape': tuple(image.shape[2:]), 'scale_factor': (1.0, 1.0)}
        samples = [BaseDataElement(metainfo=about) for _ in image]
        return self.model(image, samples, mode='tensor')


def build_model(case: Case, device: str) -> Subject:
    """The model of the config that the case names.

    Raises:
        SagaError: There is no such config, its library is missing, or its model has no backbone.
    """
    from mmengine.model import revert_sync_batchnorm

    cfg = load_config(case.name)
    require_stack_for(cfg)
    model = revert_sync_batchnorm(build_of_config(cfg)).to(case.device, case.torch_dtype)
    if not isinstance(getattr(model, 'backbone', None), nn.Module):
        raise SagaError(f'config {case.name}: its model has no backbone; name a detector or segmentor')
    dense = DenseParts(model, [name for name in DENSE_HEADS if hasattr(model, name)])
    image = random_tensor(case, device, case.batch, 3, *case.size)
    return Subject(TensorMode(model), (image,), ends_bytes(model, image, case.backward), dense)
