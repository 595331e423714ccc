"""Load and save backbones and enhancers. Nothing that a file names is called, except registered models of saga_mm."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from saga_mm.errors import SagaError
from saga_mm.files import user_path, write_file
from saga_mm.loading.convert import convert
from saga_mm.loading.published_file import read_published, recognise
from saga_mm.models.backbones.named import create_backbone, list_backbones
from saga_mm.models.backbones.pyramid_backbone import PyramidBackbone
from saga_mm.models.enhancement.enhancer import LowLightEnhancer
from saga_mm.models.enhancement.weight_files import (
    PARTS,
    SUFFIX,
    load_weights,
    plain_config,
    require_known,
    shapes_of,
    shipped_weights,
)
from saga_mm.models.names import as_stored_in, first_broken, without_wrappers
from saga_mm.registry import MODELS
from saga_mm.version import __version__

CONFIG, WEIGHTS, CARD = 'config.json', 'model.safetensors', 'README.md'
FORMAT = 1
KINDS = {'backbone': PyramidBackbone, 'enhancer': LowLightEnhancer}
# bytes of a description, and of the head of a file of weights
LARGEST_CONFIG, LARGEST_HEAD = 2**20, 2**26


def load(source: str | os.PathLike[str]) -> nn.Module:
    """A model with its weights, on the CPU, in evaluation mode.

    Args:
        source: A folder of :func:`save`; weights that come with the package, such as ``'base'``; a published file of a
            backbone, which is converted; or the name of a repository on Hugging Face, ``'owner/name'``.

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
    raise SagaError(f'{name}: no such folder or file, and none of {", ".join(shipped_weights())}')


def save(model: nn.Module, folder: str | os.PathLike[str], config: Mapping[str, Any] | None = None) -> Path:
    """Write a model into a folder, for :func:`load`. Files that are there are replaced.

    Args:
        model: A backbone of :func:`saga_mm.create_backbone`, an enhancer, or one of :func:`load`.
        folder: The folder; it is made.
        config: What the model is built of, ``dict(type='saga_mm.PVT', ...)``, if another way than those built it.

    Returns:
        The folder.

    Raises:
        SagaError: The model is of another kind, its config is not known or does not fit it, or nothing can be written.
    """
    folder = user_path(folder)
    kind = next((kind for kind, base in KINDS.items() if isinstance(model, base)), None)
    config = config or getattr(model, 'built_of', None)
    if kind is None or config is None:
        wanted = 'a config=dict(type=...)' if kind else f'a {" or a ".join(KINDS)}'
        raise SagaError(f'saga_mm.save: a {type(model).__name__} needs {wanted} to be saved')
    config = plain_config(config)
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if (broken := first_broken(state)) is not None:
        raise SagaError(f'{folder}: not written, since {broken} holds NaN or infinity')
    text = json.dumps({'saga_mm': __version__, 'format': FORMAT, 'kind': kind, 'model': config}, indent=2)
    _build(folder / CONFIG, json.loads(text), state)
    # tensors that share memory are stored each
    content = _safetensors().save({name: value.clone() for name, value in state.items()}, {'format': 'pt'})
    write_file(folder / WEIGHTS, content)
    write_file(folder / CONFIG, text + '\n')
    if not (folder / CARD).exists():
        write_file(folder / CARD, _card(folder.name, kind, config, state))
    return folder


def _load_folder(folder: Path) -> nn.Module:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise SagaError(f'{folder}: holds no {name}; saga_mm.save writes such a folder')
    path = folder / CONFIG
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError('too large')
        description = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SagaError(f'{path}: cannot be read as JSON ({error})') from error
    try:
        _require_size(folder / WEIGHTS)
        state = _safetensors().load((folder / WEIGHTS).read_bytes())
    except SagaError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [''])[0]
        raise SagaError(f'{folder / WEIGHTS}: no complete file of safetensors ({reason})') from error
    return _build(path, description, without_wrappers(state))


def _require_size(path: Path) -> None:
    """Have a file of safetensors not be read that is larger or smaller than its head says.

    Raises:
        ValueError: It is.
        Exception: Almost any, of a damaged head.
    """
    size = path.stat().st_size
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if length > min(size, LARGEST_HEAD):
            raise ValueError('its head is cut off')
        entries = json.loads(file.read(length))
    ends = [entry['data_offsets'][1] for name, entry in entries.items() if name != '__metadata__']
    if 8 + length + max(ends, default=0) != size:
        raise ValueError('it does not have the size that its head says')


def _build(path: Path, description: Any, state: dict[str, Tensor]) -> nn.Module:
    """The model of a description with these weights; their shapes are compared before memory is taken."""
    if not isinstance(description, dict) or not isinstance(description.get('model'), dict):
        raise SagaError(f'{path}: names no model of saga_mm')
    kind, config = description.get('kind'), description['model']
    if description.get('format') != FORMAT or not isinstance(kind, str) or kind not in KINDS:
        raise SagaError(f'{path}: kind {kind!r}, format {description.get("format")!r}: not known to {__version__}')
    try:
        require_known(path, config)
    except RecursionError as error:
        raise SagaError(f'{path}: cannot be read as JSON (it is nested too deeply)') from error
    built = {key: config[key] for key in PARTS if key in config} | {'losses': ()} if kind == 'enhancer' else config
    type_name = 'LowLightEnhancer' if kind == 'enhancer' else config.get('type')
    made_by = MODELS.get(type_name) if isinstance(type_name, str) else None
    if made_by is None or not issubclass(made_by, KINDS[kind]):
        raise SagaError(f'{path}: type={type_name!r} is no {kind} of saga_mm')
    options = {key: value for key, value in built.items() if key != 'type'}
    try:
        shapes = shapes_of(lambda: made_by(**options), len(state))
        model = made_by(**options) if shapes == {name: value.shape for name, value in state.items()} else None
    except Exception as error:
        # a constructor may raise anything for arguments that it does not know
        reason = (str(error).splitlines() or [''])[0]
        raise SagaError(f'{path}: its model cannot be built by saga_mm {__version__} ({reason})') from error
    if model is None:
        odd = sorted(shapes.keys() ^ state.keys()) or [name for name in shapes if shapes[name] != state[name].shape]
        raise SagaError(f'{path.with_name(WEIGHTS)}: does not fit the model of {CONFIG}, first at {odd[0]}')
    try:
        state = as_stored_in(model.state_dict(), state)
    except TypeError as error:
        raise SagaError(f'{path.with_name(WEIGHTS)}: {error}') from error
    if (broken := first_broken(state)) is not None:
        raise SagaError(f'{path.with_name(WEIGHTS)}: {broken} holds NaN or infinity')
    model.load_state_dict(state)
    model.built_of = config
    return model.eval()


def _load_published(path: Path) -> nn.Module:
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


def _safetensors() -> ModuleType:
    try:
        return importlib.import_module('safetensors.torch')
    except ImportError as error:
        raise SagaError('folders of models need safetensors: pip install safetensors') from error


def _card(name: str, kind: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    count = sum(value.numel() for value in state.values())
    return f"""---
library_name: saga-mm
---

# {name}

A {kind} of saga_mm {__version__}: {config.get('type', 'LowLightEnhancer')}, {count:,} numbers.

```python
import saga_mm

model = saga_mm.load('{name}')
```
"""
