"""Write the weights of a trained enhancer as a small file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saga_mm.errors import SagaError
from saga_mm.files import user_path
from saga_mm.loading.checkpoint import load_checkpoint, state_of
from saga_mm.loading.config import load_config
from saga_mm.loading.weight_match import check_match
from saga_mm.loading.work_dir import find_best
from saga_mm.models.enhancement.weight_files import build_enhancer, enhancer_config, load_weights, save_weights

# of an enhancer's weights, those that only training needs
TRAINING = ('losses.', 'data_preprocessor.')
TRIED = (1, 3, 96, 128)


@dataclass
class PublishedWeights:
    """What was written.

    Attributes:
        checkpoint: The file that the weights were taken from.
        header: Of the new file.
        parameters: Numbers in it.
        size: Its bytes.
        change: The most that storing them changes an answer, in levels of 255.
    """

    checkpoint: Path
    header: dict[str, Any]
    parameters: int
    size: int
    change: float


def publish_weights(
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    licence: str = '',
    data: str = '',
    full: bool = False,
    overwrite: bool = False,
) -> PublishedWeights:
    """Make the file that ``LowLightInferencer`` loads of a training's checkpoint.

    Where the training kept an average of the weights, a checkpoint holds that in the place of the weights, and so does
    the file.

    Args:
        config: The config of the training.
        checkpoint: The checkpoint, or the work folder, of which the best is taken.
        destination: The file to write, ``NAME.npz``.
        licence: Of the weights, for the header.
        data: What they were trained on, for the header.
        full: Keep float32 instead of float16.
        overwrite: Replace an existing destination.

    Raises:
        SagaError: The config is of another kind of model, the checkpoint cannot be read or does not fit it, or the
            file cannot be written.
    """
    cfg = load_config(config)
    kind = str(cfg.get('model', {}).get('type', 'nothing')).rpartition('.')[2]
    if kind != 'LowLightEnhancer':
        raise SagaError(f'config {config}: is of a {kind}; only a LowLightEnhancer has weights of this kind')
    path = user_path(destination)
    if path.exists() and not overwrite:
        raise SagaError(f'{path}: exists already; --overwrite replaces it')
    source = find_best(checkpoint)
    state = {name: value for name, value in state_of(load_checkpoint(source)).items() if not name.startswith(TRAINING)}
    parts = enhancer_config(cfg.model)
    model = build_enhancer(parts).eval()
    check_match(model, state, source)
    model.load_state_dict(state)
    facts = {'data': data} if data else {}
    header = save_weights(path, parts, model.state_dict(), torch.float32 if full else torch.float16, licence, **facts)
    # dark, as the pictures are that an enhancer is given
    image = 0.3 * torch.rand(TRIED, generator=torch.Generator().manual_seed(0))
    change = (load_weights(path).enhance(image) - model.enhance(image)).abs().max().item() * 255
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return PublishedWeights(source, header, parameters, path.stat().st_size, change)
