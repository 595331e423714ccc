"""The base class of trained models for arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from saga_mm.display.overlay import palette
from saga_mm.engines import use_engine
from saga_mm.errors import SagaError
from saga_mm.files import user_path
from saga_mm.hub import read_trained, save
from saga_mm.images.given import rgb_picture
from saga_mm.loading.datasets import LOADERS, leaf_datasets
from saga_mm.loading.stack import require_stack
from saga_mm.loading.trained import Trained
from saga_mm.loading.work_dir import find_best
from saga_mm.tasks import task_of
from saga_mm.tasks.device import find_device
from saga_mm.tasks.own_data import class_counts, set_num_classes
from saga_mm.tasks.task import Task


class Place(NamedTuple):
    """Where a model runs: a device, and engine and precision as of :func:`saga_mm.engines.use_engine`."""

    device: str | None = None
    engine: str = 'auto'
    precision: str = 'f32'


class Predictor:
    """A model with its weights, for one picture at a time.

    Class names and their number are taken from the checkpoint where it knows them, so a model that was trained on one's
    own data works with the config that the training started from.

    Args:
        config: The config file; config and checkpoint as they were read; or a folder of :meth:`save`.
        checkpoint: The weights, or a work folder, of which the best are taken; nothing in the file is executed.
        device: Where to run, such as ``'cuda:0'``; by default a GPU if there is one.
        cfg_options: Values of the config to change, by dotted key.
        engine: ``'torch'``, ``'openvino'``, or ``'auto'``: OpenVINO on a CPU, where the work is worth its start.
        precision: ``'f32'``, or ``'bf16'`` for products in bfloat16, by OpenVINO alone.

    Attributes:
        task: What the models of the class are for.
        classes: Names of the classes, in the order of their labels.
        palette: An RGB colour for each.

    Raises:
        SagaError: Config, checkpoint or device are not in order, or do not fit each other.
    """

    task: Task

    def __init__(
        self,
        config: str | os.PathLike[str] | Trained,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | None = None,
        cfg_options: dict[str, Any] | None = None,
        engine: str = 'auto',
        precision: str = 'f32',
    ) -> None:
        # our own names need no further library
        require_stack(*{self.task.scope} & {'mmdet', 'mmseg'})
        self.device = find_device(device)
        if not isinstance(config, Trained):
            config = self._read(config, checkpoint, cfg_options)
        self.cfg = config.cfg
        if task_of(self.cfg) is not self.task:
            raise SagaError(
                f'config {self.cfg.filename}: is for {task_of(self.cfg).name}, and {type(self).__name__} runs models '
                f'for {self.task.name}'
            )
        # before the model is built: it may change how many classes the config's heads have
        self.metainfo = self._metainfo(config.meta)
        self.classes: tuple[str, ...] = tuple(self.metainfo['classes'])
        self.model = use_engine(config.build().to(self.device).eval(), engine, precision)
        # where mmdet and mmseg look classes up, and what save() writes
        self.model.dataset_meta = self.metainfo
        self._prepare_model()
        self._pipeline = self._build_pipeline()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model with its classes into a folder, which this class and :func:`saga_mm.load` read.

        Raises:
            SagaError: The model has a part that is not registered, or a file cannot be written.
        """
        return save(self.model, folder)

    def predict(self, image: Any) -> Any:
        """The stack's data sample for a picture, as :func:`saga_mm.images.given.rgb_picture` takes it."""
        # BGR, as the stack loads the files that pipelines are made for
        data = self._pipeline({'img': np.ascontiguousarray(rgb_picture(image)[..., ::-1]), 'img_id': 0})
        batch = {'inputs': [data['inputs']], 'data_samples': [data['data_samples']]}
        with torch.no_grad():
            return self.model.test_step(batch)[0]

    def _read(
        self,
        config: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str] | None,
        cfg_options: dict[str, Any] | None,
    ) -> Trained:
        if checkpoint is not None:
            return Trained.read(config, find_best(checkpoint), cfg_options)
        if not user_path(config).is_dir():
            raise SagaError(f'config {config}: name its checkpoint as well')
        if cfg_options:
            raise SagaError(f'{config}: cfg_options are for config files')
        return read_trained(user_path(config))

    def _prepare_model(self) -> None:
        """Change how the model predicts."""

    def _metainfo(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Class names and colours: the checkpoint's, else the config's, else those of the config's data set type."""
        data = self.task.load_data()
        known = meta.get('dataset_meta')
        if isinstance(known, Mapping) and known.get('classes'):
            found = dict(known)
            count = len(found['classes'])
            if any(other != count for _, other in class_counts(self.cfg.model, data.compared)):
                set_num_classes(self.cfg.model, count, data.heads)
        else:
            loader = self.cfg.get('test_dataloader') or self.cfg.get('val_dataloader')
            dataset = next(leaf_datasets(loader.dataset)) if loader else {}
            # folders of models name no data set
            found = data.metainfo_of(dataset) if 'type' in dataset else {}
            if not found.get('classes') or isinstance(found['classes'], str):
                raise SagaError(f'config {self.cfg.filename}: neither it nor the checkpoint names the classes')
        if len(found.get('palette') or ()) != len(found['classes']):
            found['palette'] = palette(len(found['classes']))
        return found

    def _build_pipeline(self) -> Any:
        loader = self.cfg.get('test_dataloader') or self.cfg.get('val_dataloader')
        if loader is None:
            raise SagaError(f'config {self.cfg.filename}: has no test_dataloader, whose pipeline prepares the pictures')
        steps = [
            step
            for step in next(leaf_datasets(loader.dataset))['pipeline']
            if str(step['type']).rpartition('.')[2] not in LOADERS
        ]
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', self.task.scope)):
            return Compose([{'type': f'{self.task.scope}.LoadImageFromNDArray'}, *steps])
