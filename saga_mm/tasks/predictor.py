"""A trained model for use on arrays, whatever it predicts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from saga_mm.engines import use_engine
from saga_mm.errors import ArgumentError, SagaError

LOADERS = ('LoadImageFromFile', 'LoadAnnotations', 'LoadPanopticAnnotations', 'LoadProposals')


class Predictor:
    """A model with its weights, for one picture at a time.

    Class names and their number are taken from the checkpoint where it knows them, so a model that was trained on one's
    own data works with the config that the training started from.

    Args:
        config: The config file.
        checkpoint: The weights; nothing in the file is executed.
        device: Where to run, such as ``'cuda:0'``; by default a GPU if there is one.
        cfg_options: Values of the config to change, by dotted key.
        engine: ``'torch'``, ``'openvino'``, or ``'auto'``: OpenVINO on a CPU, where the work is worth its start.
        precision: ``'f32'``, or ``'bf16'`` for products in bfloat16, by OpenVINO alone.

    Attributes:
        classes: Names of the classes, in the order of their labels.
        palette: An RGB colour for each.

    Raises:
        SagaError: Config, checkpoint or device are not in order, or do not fit each other.
    """

    package: str

    def __init__(
        self,
        config: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str],
        device: str | None = None,
        cfg_options: dict[str, Any] | None = None,
        engine: str = 'auto',
        precision: str = 'f32',
    ) -> None:
        from saga_mm.loading.build import build_model
        from saga_mm.loading.checkpoint import load_checkpoint, state_of
        from saga_mm.loading.config import load_config
        from saga_mm.loading.stack import require_stack
        from saga_mm.loading.weights import check_match
        from saga_mm.tasks.task import task_of

        require_stack(self.package)
        self.device = find_device(device)
        self.cfg = load_config(config, cfg_options)
        self._task = task_of(self.cfg)
        if self._task.package != self.package:
            raise SagaError(
                f'config {self.cfg.filename}: is for {self._task.package}, and {type(self).__name__} runs models of '
                f'{self.package}'
            )
        loaded = load_checkpoint(checkpoint)
        self.metainfo = self._metainfo(loaded.get('meta'))
        self.classes: tuple[str, ...] = tuple(self.metainfo['classes'])
        model = build_model(self.cfg)
        check_match(model, state_of(loaded), checkpoint)
        model.load_state_dict(state_of(loaded))
        self.model = use_engine(model.to(self.device).eval(), engine, precision)
        self._lighten()
        self._pipeline = self._build_pipeline()

    def predict(self, image: np.ndarray) -> Any:
        """The stack's data sample for an image ``(H, W, 3)`` uint8, RGB."""
        data = self._pipeline({'img': np.ascontiguousarray(image[..., ::-1]), 'img_id': 0})
        batch = {'inputs': [data['inputs']], 'data_samples': [data['data_samples']]}
        with torch.no_grad():
            return self.model.test_step(batch)[0]

    def _lighten(self) -> None:
        """Have the model predict in less memory, if there is a way."""
        self._task.lighten(self.model)

    def _metainfo(self, meta: Any) -> dict[str, Any]:
        """Class names and colours: the checkpoint's, else the config's, else those of the config's data set type."""
        from saga_mm.display.overlay import palette
        from saga_mm.tasks.own_data import class_counts, leaf_datasets, set_num_classes

        known = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
        if isinstance(known, Mapping) and known.get('classes'):
            found = dict(known)
            count = len(found['classes'])
            if any(other != count for _, other in class_counts(self.cfg.model, self._task.compared)):
                set_num_classes(self.cfg.model, count, self._task.heads)
        else:
            loader = self.cfg.get('test_dataloader') or self.cfg.get('val_dataloader')
            found = self._task.metainfo_of(next(leaf_datasets(loader.dataset))) if loader else {}
            if not found.get('classes') or isinstance(found['classes'], str):
                raise SagaError(f'config {self.cfg.filename}: neither it nor the checkpoint names the classes')
        if len(found.get('palette') or ()) != len(found['classes']):
            found['palette'] = palette(len(found['classes']))
        return found

    def _build_pipeline(self) -> Any:
        from mmengine.dataset import Compose
        from mmengine.registry import DefaultScope

        from saga_mm.tasks.own_data import leaf_datasets

        loader = self.cfg.get('test_dataloader') or self.cfg.get('val_dataloader')
        if loader is None:
            raise SagaError(f'config {self.cfg.filename}: has no test_dataloader, whose pipeline prepares the pictures')
        steps = [
            step
            for step in next(leaf_datasets(loader.dataset))['pipeline']
            if str(step['type']).rpartition('.')[2] not in LOADERS
        ]
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', self.package)):
            return Compose([{'type': f'{self.package}.LoadImageFromNDArray'}, *steps])


def find_device(name: str | None) -> torch.device:
    """The device of this name, or a GPU if there is one.

    Raises:
        SagaError: It is not there.
    """
    from mmengine.device import get_device

    try:
        device = torch.device(name or get_device())
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ArgumentError('device', name, f'is not there ({str(error).splitlines()[0]})') from error
    return device
