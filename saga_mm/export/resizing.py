"""How a test pipeline resizes pictures, as metadata of an exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saga_mm.errors import SagaError
from saga_mm.loading.datasets import LOADERS, leaf_datasets

if TYPE_CHECKING:
    from mmengine.config import Config

PACKERS = ('PackSegInputs', 'PackDetInputs')
KEPT = ('scale', 'scale_factor', 'keep_ratio', 'interpolation', 'backend')


def resize_rule(cfg: Config) -> dict[str, Any] | None:
    """The arguments of the one ``Resize`` in a config's test pipeline; None if there is no such step.

    Raises:
        SagaError: The pipeline has other steps that change pictures, which whoever runs the file could not follow.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    rule = None
    for step in next(leaf_datasets(loader.dataset))['pipeline']:
        name = str(step['type']).rpartition('.')[2]
        if name in (*LOADERS, *PACKERS):
            continue
        if name != 'Resize' or rule is not None:
            raise SagaError(f'config {cfg.filename}: step {name} of the test pipeline is not exported; one Resize is')
        rule = {key: step[key] for key in KEPT if step.get(key) is not None}
        for key, kinds in (('scale', int), ('scale_factor', float)):
            if isinstance(rule.get(key), kinds):
                rule[key] = (rule[key], rule[key])
            if key in rule:
                rule[key] = list(rule[key])
    return rule
