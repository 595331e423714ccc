"""Models as folders of `config.json`, `model.safetensors` and a model card: the layout of Hugging Face."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from torch import Tensor, nn

from saga_mm.errors import SagaError
from saga_mm.files import user_path, write_file
from saga_mm.models.descriptions import plain_config, require_known, shapes_of
from saga_mm.models.names import as_stored_in, first_broken, without_wrappers
from saga_mm.registry import MODELS
from saga_mm.version import __version__

CONFIG, WEIGHTS, CARD = 'config.json', 'model.safetensors', 'README.md'
FORMAT = 1
# bytes of a description, and of the head of a file of weights
LARGEST_CONFIG, LARGEST_HEAD = 2**20, 2**26


class Savable:
    """A module that knows what it is built of, and is saved as a folder.

    Attributes:
        kind: What the folder calls it.
        built_of: What builds it, ``dict(type=..., ...)``; None if that is not known.
    """

    kind: ClassVar[str]
    built_of: Mapping[str, Any] | None = None

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> nn.Module:
        """The model that a folder names."""
        return cls(**{key: value for key, value in config.items() if key != 'type'})

    def save(self, folder: str | os.PathLike[str], config: Mapping[str, Any] | None = None) -> Path:
        """Write the model into a folder, for :func:`saga_mm.load`; see :func:`saga_mm.save`."""
        folder, config = user_path(folder), config or self.built_of
        if config is None:
            name = type(self).__name__
            raise SagaError(f'saga_mm.save: this {name} was built by itself; name what of, config=dict(type=...)')
        description, state = describe(self.kind, plain_config(config)), state_for(folder, self)
        # what is written has to come back: built here from what a reader would find, before any file is
        build_known(folder / CONFIG, json.loads(_as_json(folder, description)), state)
        return write_folder(folder, description, state, f'saga_mm.load({folder.name!r})')


def describe(kind: str, config: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    """The content of ``config.json``."""
    return {'saga_mm': __version__, 'format': FORMAT, 'kind': kind, 'model': config, **facts}


def state_for(folder: Path, model: nn.Module) -> dict[str, Tensor]:
    """The numbers of a model, on the CPU, to be written into a folder.

    Raises:
        SagaError: One is NaN or infinity.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if (broken := first_broken(state)) is not None:
        raise SagaError(f'{folder}: not written, since {broken} holds NaN or infinity')
    return state


def write_folder(folder: Path, description: Mapping[str, Any], state: Mapping[str, Tensor], use: str) -> Path:
    """Write the files; those that are there are replaced, but for a card.

    Args:
        folder: The folder; it is made.
        description: Of :func:`describe`.
        state: Tensors by name.
        use: The Python that makes a model of the folder, for the card.

    Raises:
        SagaError: The description has no form in JSON, or a file cannot be written.
    """
    text = _as_json(folder, description)
    # tensors that share memory are stored each
    content = _safetensors().save({name: value.clone() for name, value in state.items()}, {'format': 'pt'})
    write_file(folder / WEIGHTS, content)
    write_file(folder / CONFIG, text + '\n')
    if not (folder / CARD).exists():
        write_file(folder / CARD, _card(folder.name, description, state, use))
    return folder


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of a folder; no model is built.

    Raises:
        SagaError: A file is missing or damaged, or it names no model of a version that is known.
    """
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
    if not isinstance(description, dict) or not isinstance(description.get('model'), dict):
        raise SagaError(f'{path}: names no model of saga_mm')
    if description.get('format') != FORMAT or not isinstance(description.get('kind'), str):
        known = f'kind {description.get("kind")!r}, format {description.get("format")!r}'
        raise SagaError(f'{path}: {known}: not known to {__version__}')
    try:
        _require_size(folder / WEIGHTS)
        state = _safetensors().load((folder / WEIGHTS).read_bytes())
    except SagaError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [''])[0]
        raise SagaError(f'{folder / WEIGHTS}: no complete file of safetensors ({reason})') from error
    return description, without_wrappers(state)


def build_known(path: Path, description: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """The model of a class of :class:`Savable` that a description names, with these weights, in evaluation mode.

    Args:
        path: Of the description, for messages.
        description: As read.
        state: Tensors by name; their shapes are compared before memory is taken.

    Raises:
        SagaError: The description names something else, or the weights are of another model or broken.
    """
    kind, config = description['kind'], description['model']
    try:
        require_known(path, config)
    except RecursionError as error:
        raise SagaError(f'{path}: cannot be read as JSON (it is nested too deeply)') from error
    type_name = config.get('type', 'LowLightEnhancer' if kind == 'enhancer' else None)
    made_by = MODELS.get(type_name) if isinstance(type_name, str) else None
    if made_by is None or getattr(made_by, 'kind', None) != kind:
        raise SagaError(f'{path}: type={type_name!r} is no {kind} of saga_mm')
    try:
        require_shapes(path, shapes_of(lambda: made_by.of_config(config), len(state)), state)
        model = made_by.of_config(config)
        state = stored_as(path, model, state)
    except SagaError:
        raise
    except Exception as error:
        # a constructor may raise anything for arguments that it does not know
        reason = (str(error).splitlines() or [''])[0]
        raise SagaError(f'{path}: its model cannot be built by saga_mm {__version__} ({reason})') from error
    model.load_state_dict(state)
    model.built_of = config
    return model.eval()


def require_shapes(path: Path, shapes: Mapping[str, Sequence[int]], state: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not of the model of a description."""
    odd = sorted(shapes.keys() ^ state.keys()) or [name for name in shapes if shapes[name] != state[name].shape]
    if odd:
        raise SagaError(f'{path.with_name(WEIGHTS)}: does not fit the model of {CONFIG}, first at {odd[0]}')


def stored_as(path: Path, model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in the types of a model's own; refused where those cannot hold them, and if they are broken."""
    try:
        state = as_stored_in(model.state_dict(), state)
    except TypeError as error:
        raise SagaError(f'{path.with_name(WEIGHTS)}: {error}') from error
    if (broken := first_broken(state)) is not None:
        raise SagaError(f'{path.with_name(WEIGHTS)}: {broken} holds NaN or infinity')
    return state


def _as_json(folder: Path, description: Mapping[str, Any]) -> str:
    try:
        # JSON has no NaN: Python alone would read it again
        return json.dumps(description, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SagaError(
            f'{folder / CONFIG}: not written, since the config has other than plain values ({error})'
        ) from error


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


def _safetensors() -> ModuleType:
    try:
        return importlib.import_module('safetensors.torch')
    except ImportError as error:
        raise SagaError('folders of models need safetensors: pip install safetensors') from error


def _card(name: str, description: Mapping[str, Any], state: Mapping[str, Tensor], use: str) -> str:
    count = sum(value.numel() for value in state.values())
    kind, config, classes = description['kind'], description['model'], description.get('classes') or ()
    found = f'\nClasses: {", ".join(map(str, classes))}.\n' if classes else ''
    module = use.partition('(')[0].rpartition('.')[0]
    return f"""---
library_name: saga-mm
---

# {name}

A {kind} of saga_mm {__version__}: {config.get('type', 'LowLightEnhancer')}, {count:,} numbers.
{found}
```python
import {module}

model = {use}
```
"""
