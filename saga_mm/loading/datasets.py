"""The data sets that a config names, and the steps of their pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# steps that read files
LOADERS = ('LoadImageFromFile', 'LoadAnnotations', 'LoadPanopticAnnotations', 'LoadProposals')


def leaf_datasets(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The data sets with files of their own inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    if isinstance(dataset.get('dataset'), Mapping):
        yield from leaf_datasets(dataset['dataset'])
    elif isinstance(dataset.get('datasets'), (list, tuple)):
        for part in dataset['datasets']:
            yield from leaf_datasets(part)
    else:
        yield dataset
