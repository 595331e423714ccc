"""Files of an enhancer's weights as plain numbers, and those that come with the package.

A file is a zip of NumPy arrays (``.npz``), one for each tensor, beside a header in JSON. Nothing in it is ever
executed: arrays are read without pickles, and the header may name parts of saga_mm alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saga_mm.archives import ArchiveError, read_arrays
from saga_mm.errors import SagaError
from saga_mm.files import user_path, write_file
from saga_mm.models.descriptions import OtherModel, plain_config, require_known, shapes_of
from saga_mm.models.names import as_stored_in, first_broken, without_wrappers
from saga_mm.shipped import SUFFIX, find_weights
from saga_mm.version import __version__

from .enhancer import PARTS, LowLightEnhancer

HEADER, FORMAT = 'header', 1


class Weights(NamedTuple):
    """What a file holds.

    Attributes:
        header: ``model``, the enhancer's config; ``version`` of saga_mm that wrote it; ``licence``; and other facts,
            such as ``data``.
        state: Tensors by name, as they are stored.
    """

    header: dict[str, Any]
    state: dict[str, Tensor]


def load_weights(name: str | os.PathLike[str] = 'base') -> LowLightEnhancer:
    """The enhancer with these weights: float32, on the CPU, in evaluation mode.

    Args:
        name: One of :func:`shipped_weights`, or a file that :func:`save_weights` wrote.

    Returns:
        The model; its ``licence`` is what the file says of it.

    Raises:
        SagaError: There is no such file, it is damaged or of another kind, or its model is none that this version has.
    """
    path = find_weights(name)
    header, state = read_weights(path)
    config = header['model']
    require_known(path, config)
    if (broken := first_broken(state)) is not None:
        raise SagaError(
            f'weights {path}: {broken} holds NaN or infinity; publish them anew, from an earlier checkpoint'
        )
    try:
        shapes = shapes_of(lambda: build_enhancer(config), len(state))
        if shapes == {name: value.shape for name, value in state.items()}:
            model = build_enhancer(config)
            state = as_stored_in(model.state_dict(), state)
            if first_broken(state) is not None:
                # numbers of float64 that float32 does not hold
                raise OtherModel
            model.load_state_dict(state)
            model.built_of = config
            model.licence = str(header.get('licence', ''))
            return model.eval()
    except OtherModel:
        pass
    except Exception as error:
        # a constructor may raise anything for arguments that it does not know
        reason = (str(error).splitlines() or [''])[0]
        written = header.get('version', 'unknown')
        raise SagaError(
            f'weights {path}: their model, written by saga_mm {written}, cannot be built by {__version__} ({reason})'
        ) from error
    raise SagaError(f'weights {path}: do not fit the model that their header names; the file is wrong')


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Read a file; no model is built.

    Raises:
        SagaError: It is damaged, or was not written by :func:`save_weights`.
    """
    try:
        arrays = read_arrays(path)
        header = json.loads(arrays.pop(HEADER).tobytes())
        state = without_wrappers({name: torch.from_numpy(array) for name, array in arrays.items()})
    except Exception as error:  # damaged files raise almost anything
        hint = f' ({error})' if isinstance(error, ArchiveError) else ''
        if Path(path).suffix in ('.pth', '.pt', '.ckpt'):
            hint = '; tools/publish_weights.py makes one of a checkpoint'
        raise SagaError(f'weights {path}: no complete file of weights of saga_mm{hint}') from error
    if not isinstance(header, dict) or not isinstance(header.get('model'), dict):
        raise SagaError(f'weights {path}: the header names no model; the file is not of saga_mm')
    if header.get('format') != FORMAT:
        raise SagaError(f'weights {path}: are of format {header.get("format")}, written by a newer saga_mm; update it')
    return Weights(header, state)


def save_weights(
    path: str | os.PathLike[str],
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    dtype: torch.dtype = torch.float16,
    licence: str = '',
    **facts: Any,
) -> dict[str, Any]:
    """Write an enhancer's weights as a file that :func:`load_weights` reads. It appears when it is complete.

    Args:
        path: The file, ``NAME.npz``.
        config: Of the model; what is for training alone is left out.
        state: Its tensors by name, exactly those of the model that the config builds.
        dtype: Of what is stored of floating point numbers.
        licence: Of the weights.
        facts: What else the header shall say, in plain values.

    Returns:
        The header.

    Raises:
        SagaError: The config has parts that are not of saga_mm, the state is of another model or leaves the range of
            ``dtype``, or the file cannot be written.
    """
    state = without_wrappers(state)
    path = user_path(path)
    if path.suffix != SUFFIX:
        raise SagaError(f'{path}: weights are written as {SUFFIX}; name it so')
    config = enhancer_config(config)
    require_known(path, config)
    wanted = {name: value.shape for name, value in build_enhancer(config).state_dict().items()}
    given = {name: value.shape for name, value in state.items()}
    if wanted != given:
        other = next(name for name in (*wanted, *given) if wanted.get(name) != given.get(name))
        raise SagaError(f'{path}: not written, since the weights are of another model than the config ({other})')
    arrays = {name: _stored(path, name, value, dtype) for name, value in state.items()}
    header = {'format': FORMAT, 'model': config, 'version': __version__, 'licence': licence, **facts}
    arrays[HEADER] = np.frombuffer(json.dumps(header, indent=1).encode(), np.uint8)
    write_file(path, lambda file: np.savez_compressed(file, **arrays))
    return header


def enhancer_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a model's config, what is needed to run it, in plain values."""
    return {key: plain_config(config[key]) for key in PARTS if config.get(key) is not None}


def build_enhancer(config: Mapping[str, Any]) -> LowLightEnhancer:
    """A model without losses from such a config."""
    return LowLightEnhancer(**config, losses=())


def _stored(path: Path, name: str, value: Tensor, dtype: torch.dtype) -> np.ndarray:
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point():
        return value.numpy()
    stored = value.to(dtype)
    if not stored.isfinite().all():
        raise SagaError(f'{path}: not written, since {name} has values that {dtype} cannot hold')
    return stored.numpy()
