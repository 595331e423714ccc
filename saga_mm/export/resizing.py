"""How a test pipeline resizes pictures, as metadata of an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from saga_mm.errors import SagaError
from saga_mm.loading.datasets import LOADERS, leaf_datasets
from saga_mm.onnx.facts import CROP

if TYPE_CHECKING:
    from mmengine.config import Config

PACKERS = ('PackSegInputs', 'PackDetInputs', 'PackClassInputs')
KEPT = ('scale', 'scale_factor', 'keep_ratio', 'interpolation', 'backend')


def resize_rule(cfg: Config, crops: bool = False) -> dict[str, Any] | None:
    """What a config's test pipeline does to the size of pictures; None where they keep it.

    Args:
        cfg: The config.
        crops: Whether a picture may be cropped, as classifiers do.

    Returns:
        The arguments of the one ``Resize``, or of a ``ResizeEdge`` with ``short_side`` in place of its ``scale``; and
        ``center_crop``, width and height, if a ``CenterCrop`` is the last step.

    Raises:
        SagaError: The pipeline has other steps that change pictures, which whoever runs the file could not follow.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    rule: dict[str, Any] = {}
    for step in next(leaf_datasets(loader.dataset))['pipeline']:
        name = str(step['type']).rpartition('.')[2]
        if name in (*LOADERS, *PACKERS):
            continue
        if name == 'Resize' and not rule:
            rule = _resize(step)
        elif name == 'ResizeEdge' and not rule:
            # its own usual values, which differ from those of Resize: whoever runs the file knows only the latter
            rule = {'interpolation': 'bicubic', 'backend': 'pillow'} | {k: step[k] for k in KEPT[3:] if k in step}
            rule['short_side'] = step['scale']
        elif name == 'CenterCrop' and crops and CROP not in rule and not step.get('auto_pad'):
            size = step['crop_size']
            rule[CROP] = [size, size] if isinstance(size, int) else list(size)
        else:
            known = 'one Resize is, and a CenterCrop after it' if crops else 'one Resize is'
            raise SagaError(f'config {cfg.filename}: step {name} of the test pipeline is not exported; {known}')
    return rule or None


def _resize(step: Mapping[str, Any]) -> dict[str, Any]:
    rule = {key: step[key] for key in KEPT if step.get(key) is not None}
    for key, kinds in (('scale', int), ('scale_factor', float)):
        if isinstance(rule.get(key), kinds):
            rule[key] = (rule[key], rule[key])
        if key in rule:
            rule[key] = list(rule[key])
    return rule
