"""A trained detector for use on arrays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from saga_mm.errors import SagaError

if TYPE_CHECKING:
    from mmdet.structures import DetDataSample

LOADERS = ('LoadImageFromFile', 'LoadAnnotations', 'LoadPanopticAnnotations', 'LoadProposals')


class Detector:
    """A detector of mmdet's with its weights, for one picture at a time.

    Class names and their number are taken from the checkpoint where it knows them, so a model that was trained on one's
    own data works with the config that the training started from.

    Args:
        config: The config file.
        checkpoint: The weights; nothing in the file is executed.
        device: Where to run, such as ``'cuda:0'``; by default a GPU if there is one.
        cfg_options: Values of the config to change, by dotted key.

    Raises:
        SagaError: Config, checkpoint or device are not in order, or do not fit each other.
    """

    def __init__(
        self,
        config: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str],
        device: str | None = None,
        cfg_options: dict[str, Any] | None = None,
    ) -> None:
        from saga_mm.engine.build import build_model
        from saga_mm.engine.checkpoint import load_checkpoint, state_of
        from saga_mm.engine.cli import load_config
        from saga_mm.engine.stack import require_stack
        from saga_mm.engine.weights import check_match

        require_stack('mmdet')
        self.device = _device(device)
        self.cfg = load_config(config, cfg_options)
        loaded = load_checkpoint(checkpoint)
        self.metainfo = self._metainfo(loaded.get('meta'))
        self.classes: tuple[str, ...] = tuple(self.metainfo['classes'])
        model = build_model(self.cfg)
        check_match(model, state_of(loaded), checkpoint)
        model.load_state_dict(state_of(loaded))
        self.model = model.to(self.device).eval()
        self._pipeline = self._build_pipeline()

    def __call__(self, image: np.ndarray) -> DetDataSample:
        """Detect the objects in a picture.

        Args:
            image: ``(H, W, 3)`` uint8, RGB.

        Returns:
            mmdet's data sample; its ``pred_instances`` has ``bboxes`` in pixels of ``image``, ``labels``, ``scores``
            and, from a model that predicts them, ``masks`` of the size of ``image``.
        """
        data = self._pipeline({'img': np.ascontiguousarray(image[..., ::-1]), 'img_id': 0})
        batch = {'inputs': [data['inputs']], 'data_samples': [data['data_samples']]}
        with torch.no_grad():
            sample = self.model.test_step(batch)[0]
        if 'pred_instances' not in sample:
            raise SagaError(f'config {self.cfg.filename}: {type(self.model).__name__} does not detect objects')
        return sample

    def _metainfo(self, meta: Any) -> dict[str, Any]:
        """Class names and colours: the checkpoint's, else the config's, else those of the config's data set type."""
        from mmdet.registry import DATASETS

        from saga_mm.engine.own_data import class_counts, leaf_datasets, set_num_classes

        known = meta.get('dataset_meta') if isinstance(meta, dict) else None
        if isinstance(known, dict) and known.get('classes'):
            classes = known['classes']
            if any(count != len(classes) for _, count in class_counts(self.cfg.model)):
                set_num_classes(self.cfg.model, len(classes))
            return dict(known)
        loader = self.cfg.get('test_dataloader') or self.cfg.get('val_dataloader')
        if loader is None:
            raise SagaError(f'config {self.cfg.filename}: neither it nor the checkpoint names the classes')
        leaf = next(leaf_datasets(loader.dataset))
        kind = DATASETS.get(leaf['type']) if isinstance(leaf['type'], str) else leaf['type']
        return {**getattr(kind, 'METAINFO', {}), **(leaf.get('metainfo') or {})}

    def _build_pipeline(self) -> Any:
        from mmengine.dataset import Compose
        from mmengine.registry import DefaultScope

        from saga_mm.engine.own_data import leaf_datasets

        loader = self.cfg.get('test_dataloader') or self.cfg.get('val_dataloader')
        if loader is None:
            raise SagaError(f'config {self.cfg.filename}: has no test_dataloader, whose pipeline prepares the pictures')
        steps = [
            step
            for step in next(leaf_datasets(loader.dataset))['pipeline']
            if str(step['type']).rpartition('.')[2] not in LOADERS
        ]
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', 'mmdet')):
            return Compose([{'type': 'mmdet.LoadImageFromNDArray'}, *steps])


def _device(name: str | None) -> torch.device:
    from mmengine.device import get_device

    try:
        device = torch.device(name or get_device())
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SagaError(f'--device {name}: is not there ({str(error).splitlines()[0]})') from error
    return device
