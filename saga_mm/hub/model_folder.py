"""Load and save models. Nothing that a file names is called, except registered models."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from saga_mm.errors import SagaError, nearest
from saga_mm.files import user_path
from saga_mm.loading.convert import convert
from saga_mm.loading.published_file import read_published, recognise
from saga_mm.models.backbones.named import create_backbone, list_backbones
from saga_mm.models.enhancement.weight_files import load_weights
from saga_mm.models.saved_folders import CARD, CONFIG, WEIGHTS, Savable, build_known, read_folder
from saga_mm.shipped import SUFFIX, shipped_weights

from .whole_models import WHOLE, read_trained, save_whole, whole_kind


def load(source: str | os.PathLike[str]) -> nn.Module:
    """A model with its weights, on the CPU, in evaluation mode.

    Args:
        source: A folder of :func:`save`; weights that come with the package, such as ``'base'``; a published file of a
            backbone, which is converted; or the name of a repository on Hugging Face, ``'owner/name'``.

    Returns:
        The model. Those of mmdet and mmseg, and classifiers, have ``cfg`` and ``dataset_meta``, as those that
        ``init_detector`` of mmdet makes; :class:`saga_mm.apis.Detector` and the like take their folders as well.

    Raises:
        SagaError: It is not there, damaged, of another kind, or does not fit the model that it names.
    """
    path = user_path(source)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise SagaError(f'{str(path)[:100]}: {error.strerror}') from error
    if is_folder:
        return _load_folder(path)
    if is_file:
        return load_weights(path) if path.suffix == SUFFIX else _load_published(path)
    name = os.fspath(source)
    if name in shipped_weights():
        return load_weights(name)
    if name in list_backbones():
        raise SagaError(f'{name} is a backbone without weights: saga_mm.create_backbone({name!r}) builds it')
    if re.fullmatch(r'[\w.-]+/[\w.-]+', name) and not path.parent.exists():
        return _load_folder(_download(name))
    hint = nearest(name, [*shipped_weights(), *list_backbones()], '; did you mean {}?')
    raise SagaError(f'{name}: no such folder or file, and none of {", ".join(shipped_weights())}{hint}')


def save(model: nn.Module, folder: str | os.PathLike[str], config: Mapping[str, Any] | None = None) -> Path:
    """Write a model into a folder, for :func:`load`. Files that are there are replaced.

    Args:
        model: A backbone of :func:`saga_mm.create_backbone`, an enhancer, one of :func:`load`, or a detector, segmentor
            or classifier such as the ``model`` of :class:`saga_mm.apis.Detector`.
        folder: The folder; it is made.
        config: What the model is built of, ``dict(type='saga_mm.PVT', ...)``, or a whole config, if another way than
            those built it.

    Returns:
        The folder.

    Raises:
        SagaError: The model is of another kind, its config is not known or does not fit it, or nothing can be written.
    """
    if whole_kind(type(model)):
        return save_whole(model, user_path(folder), config)
    if isinstance(model, Savable):
        return model.save(folder, config)
    kinds = 'backbone, enhancer, detector, segmentor or classifier'
    raise SagaError(f'saga_mm.save: a {type(model).__name__} is no {kinds}')


def _load_folder(folder: Path) -> nn.Module:
    if not (folder / CONFIG).is_file() and any(folder.glob('*.pth')):
        raise SagaError(
            f'{folder}: is a work folder; saga_mm.apis.Detector(CONFIG, FOLDER).save(OTHER), or Segmenter or '
            'Classifier, makes a folder of its best checkpoint that saga_mm.load reads'
        )
    description, state = read_folder(folder)
    if description['kind'] in WHOLE:
        return read_trained(folder, description, state).build().eval()
    return build_known(folder / CONFIG, description, state)


def _load_published(path: Path) -> nn.Module:
    if path.suffix in ('.py', '.json', '.yml', '.yaml'):
        raise SagaError(f'{path}: is a config without weights; saga_mm.apis.Detector and the like take it and them')
    published = read_published(path)
    name = recognise(published)
    conversion = convert(published, name)
    model = create_backbone(name)
    model.load_state_dict(conversion.state, strict=False)
    return model.eval()


def _download(name: str) -> Path:
    try:
        library = importlib.import_module('huggingface_hub')
    except ImportError as error:
        raise SagaError(f'{name}: repositories need huggingface_hub: pip install huggingface_hub') from error
    try:
        return Path(library.snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS, CARD]))
    except Exception as error:
        raise SagaError(f'{name}: could not be fetched ({(str(error).splitlines() or [""])[0]})') from error
