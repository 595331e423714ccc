"""Detectors, segmentors and classifiers as folders: what their config.json holds, and what it may name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from saga_mm.errors import SagaError
from saga_mm.loading.build import build_model
from saga_mm.loading.datasets import LOADERS, leaf_datasets
from saga_mm.loading.stack import require_stack
from saga_mm.loading.trained import Trained
from saga_mm.models.descriptions import LARGEST, shapes_of
from saga_mm.models.saved_folders import (
    CONFIG,
    describe,
    read_folder,
    require_shapes,
    state_for,
    stored_as,
    write_folder,
)
from saga_mm.version import __version__

if TYPE_CHECKING:
    from mmengine.config import Config

# by kind: the library that its names are looked up in, the class that all of its models are, and what opens a folder
WHOLE = {
    'detector': ('mmdet', 'BaseDetector', 'Detector'),
    'segmentor': ('mmseg', 'BaseSegmentor', 'Segmenter'),
    'classifier': ('saga_mm', 'ImageClassifier', 'Classifier'),
}
# where weights to start from are: not needed beside a model's own, and files are read for them
DROPPED = ('init_cfg', 'pretrained')
# mmcv takes these functions and layers by their names
UNREGISTERED = ('nms', 'soft_nms', 'RoIAlign', 'RoIPool')
# keys whose values are names in a registry
NAMED = ('type', 'attention')
# keys whose values some constructors read as files
READS = '(ckpt|checkpoint|config|file|path)$'
TUPLE = '__tuple__'
MOST_CLASSES, LONGEST_NAME = 10_000, 200


def whole_kind(cls: type) -> str | None:
    """The kind of a class of whole models, one of :data:`WHOLE`; None of others."""
    bases = {base.__name__ for base in cls.__mro__}
    return next((kind for kind, (_, name, _) in WHOLE.items() if name in bases), None)


def save_whole(model: nn.Module, folder: Path, config: Mapping[str, Any] | None = None) -> Path:
    """Write a whole model with its class names, and the steps that prepare its pictures, into a folder.

    Args:
        model: The model. What it is built of is its ``cfg``, the names of its classes its ``dataset_meta``, as mmdet's
            and mmseg's own functions set them.
        folder: The folder; it is made.
        config: What it is built of otherwise.

    Raises:
        SagaError: Its config is not known, has parts that are not registered, or is of another model; or its classes
            are more, or have longer names, than are read.
    """
    config = config if config is not None else getattr(model, 'cfg', None)
    if not isinstance(config, Mapping) and not hasattr(config, 'get'):
        raise SagaError(f'saga_mm.save: what this {type(model).__name__} is built of is not known; name its config')
    meta = getattr(model, 'dataset_meta', None) or {}
    kind, parts = whole_kind(type(model)), dict(config.get('model') or config)
    if 'data_preprocessor' in config:
        parts.setdefault('data_preprocessor', config['data_preprocessor'])
    loader = config.get('test_dataloader') or config.get('val_dataloader')
    steps = next(leaf_datasets(loader['dataset'])).get('pipeline', ()) if loader else ()
    facts = {
        'classes': [str(name) for name in meta.get('classes') or ()],
        'palette': [[int(part) for part in colour] for colour in meta.get('palette') or ()],
        'pipeline': [
            _scoped(_plain(step), WHOLE[kind][0])
            for step in steps
            if str(step['type']).rpartition('.')[2] not in LOADERS
        ],
    }
    description, state = describe(kind, _plain(parts), **facts), state_for(folder, model)
    # as whoever opens it will: what cannot be read again is not written
    read = read_trained(folder, description, state)
    if facts['classes'] and not read.meta['dataset_meta']:
        raise SagaError(
            f'saga_mm.save: names of classes would not be read again: up to {MOST_CLASSES:,} of up to {LONGEST_NAME} '
            'letters are'
        )
    return write_folder(folder, description, state, f'saga_mm.apis.{WHOLE[kind][2]}({folder.name!r})')


def read_trained(
    folder: Path, description: Mapping[str, Any] | None = None, state: Mapping[str, Tensor] | None = None
) -> Trained:
    """The model of a folder on its way into memory: checked, and compared with the weights.

    Args:
        folder: The folder.
        description: What its config.json says; it is read if it is left out.
        state: Its tensors, beside a description.

    Raises:
        SagaError: It names what is not registered, or the weights are of another model.
    """
    if description is None:
        description, state = read_folder(folder)
    path, kind = folder / CONFIG, description['kind']
    if kind not in WHOLE:
        raise SagaError(f'{path}: kind {kind!r}: is none of {", ".join(WHOLE)}')
    scope = WHOLE[kind][0]
    require_stack(*{scope} & {'mmdet', 'mmseg'})
    try:
        model, steps = _decoded(description['model']), _decoded(description.get('pipeline', []))
        _require_registered(path, model, scope, 'MODELS', 'TASK_UTILS')
        _require_registered(path, steps, scope, 'TRANSFORMS')
    except RecursionError as error:
        raise SagaError(f'{path}: cannot be read as JSON (it is nested too deeply)') from error
    if not isinstance(steps, list):
        raise SagaError(f'{path}: pipeline is no list of steps')
    cfg = _config(path, scope, model, steps)
    state = stored_as(path, _model_of(path, kind, cfg, state), state)
    return Trained(cfg, folder, {'state_dict': state, 'meta': {'dataset_meta': _meta(description)}})


def _config(path: Path, scope: str, model: dict, steps: list) -> Config:
    """As much of a config as a prediction needs."""
    from mmengine.config import Config

    made = {'default_scope': scope, 'model': model}
    if steps:
        # where predictors look for the steps; a loader comes first in every pipeline, and they leave it out
        made['test_dataloader'] = {'dataset': {'pipeline': [{'type': 'LoadImageFromFile'}, *steps]}}
    cfg = Config(made)
    # for messages
    object.__setattr__(cfg, '_filename', str(path))
    return cfg


def _meta(description: Mapping[str, Any]) -> dict[str, Any]:
    classes, palette = description.get('classes') or [], description.get('palette') or []
    named = isinstance(classes, list) and len(classes) <= MOST_CLASSES and isinstance(palette, list)
    if not named or not all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in classes):
        return {}
    coloured = len(palette) == len(classes) and all(
        isinstance(colour, list) and len(colour) == 3 and all(type(part) is int and 0 <= part < 256 for part in colour)
        for colour in palette
    )
    return {'classes': tuple(classes), 'palette': [tuple(colour) for colour in palette] if coloured else []}


def _model_of(path: Path, kind: str, cfg: Config, state: Mapping[str, Tensor]) -> nn.Module:
    """The model without memory, once its weights have the names and shapes of the file."""
    built: list[nn.Module] = []

    def build() -> nn.Module:
        built.append(build_model(cfg))
        return built[0]

    try:
        shapes = shapes_of(build, len(state))
    except SagaError:
        raise
    except Exception as error:
        # a constructor may raise anything for arguments that it does not know
        reason = (str(error).splitlines() or [''])[0]
        raise SagaError(f'{path}: its model cannot be built by saga_mm {__version__} ({reason})') from error
    if whole_kind(type(built[0])) != kind:
        raise SagaError(f'{path}: {type(built[0]).__name__} is no {kind}')
    require_shapes(path, shapes, state)
    return built[0]


def _require_registered(path: Path, value: Any, scope: str, *registries: str) -> None:
    """Only registered parts: a registry would import whatever a name with dots leads to, and some constructors read
    files that they are given."""
    known = _names(scope, registries)

    def check(part: Any, key: str) -> None:
        if isinstance(part, Mapping):
            for name, inner in part.items():
                if name in DROPPED or name.startswith('_') or re.search(READS, name):
                    raise SagaError(f'{path}: {name} is not taken from a file')
                check(inner, name)
        elif isinstance(part, (list, tuple)):
            for inner in part:
                check(inner, key)
        elif isinstance(part, str):
            if not (known(part) if key in NAMED else re.fullmatch(r'[\w -]*', part)):
                raise SagaError(f'{path}: {key}={part!r} is no registered part, and no others are built')
        elif isinstance(part, (int, float)) and not abs(part) <= LARGEST:
            raise SagaError(f'{path}: {key}={part!r} is out of range')

    check(value, '')


def _names(scope: str, registries: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a name is that of a registered class: in the library of a scope, the common ones and saga_mm."""
    import mmengine.registry as parents

    def known(name: str) -> bool:
        place, _, last = name.rpartition('.')
        for root in (getattr(parents, registry) for registry in registries):
            registered = [root, *(root.children[each] for each in (scope, 'saga_mm') if each in root.children)]
            if place:
                registered = [root.children[place]] if place in root.children else []
            for each in registered:
                # what the library itself says, and no file
                each.import_from_location()
                if last in each.module_dict:
                    return True
        return name in UNREGISTERED

    return known


def _plain(value: Any) -> Any:
    """A part of a config as JSON has it: tuples are marked, since parts of the stack tell them from lists."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items() if key not in DROPPED}
    if isinstance(value, tuple):
        return {TUPLE: [_plain(inner) for inner in value]}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _scoped(value: Any, scope: str) -> Any:
    """Steps whose types name their library, so that no default scope is needed to find them."""
    from mmengine.registry import TRANSFORMS

    if isinstance(value, dict):
        known = TRANSFORMS.children[scope].module_dict if scope in TRANSFORMS.children else {}
        found = {key: _scoped(inner, scope) for key, inner in value.items()}
        return {**found, 'type': f'{scope}.{found["type"]}'} if found.get('type') in known else found
    return [_scoped(inner, scope) for inner in value] if isinstance(value, list) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {TUPLE} and isinstance(value[TUPLE], list):
            return tuple(map(_decoded, value[TUPLE]))
        return {key: _decoded(inner) for key, inner in value.items()}
    return list(map(_decoded, value)) if isinstance(value, list) else value
