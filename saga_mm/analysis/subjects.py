"""The backbone, weights and pictures that an analysis is given on the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from saga_mm.display.progress import progress_bar
from saga_mm.errors import ArgumentError, SagaError
from saga_mm.files import user_path
from saga_mm.images.picture_folders import find_images
from saga_mm.images.pictures import read_picture
from saga_mm.loading.build import config_mistakes
from saga_mm.loading.checkpoint import load_state
from saga_mm.loading.config import CONFIG_SUFFIXES, load_config
from saga_mm.loading.weight_match import check_match, match_weights
from saga_mm.loading.work_dir import find_best
from saga_mm.models.attention import TokenMixer
from saga_mm.models.backbones import create_backbone, list_backbones
from saga_mm.registry import MODELS

WEIGHTS = ('.pth', '.pt', '.ckpt', '.bin', '.tar')
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def build_backbone(model: str, attention: str | dict | None = None) -> nn.Module:
    """The backbone of a config, or the one of that name, in evaluation mode and with random weights.

    Args:
        model: A config file, or a name that ``create_backbone`` knows.
        attention: Replaces the backbone's attention, in all stages; None keeps what it has.

    Raises:
        SagaError: There is no such model, it cannot be built, or its attention is not of this package.
    """
    change = {} if attention is None else {'attention': attention}
    # everybody who calls twice gets the same random weights
    torch.manual_seed(0)
    if Path(model).suffix in CONFIG_SUFFIXES or Path(model).exists():
        cfg = load_config(model)
        if not cfg.get('model'):
            raise SagaError(f'config {model}: has no model')
        options = {**cfg.model.get('backbone', cfg.model), **change}
        with config_mistakes(cfg):
            net = MODELS.build(options)
    else:
        try:
            net = create_backbone(model, **change)
        except (ValueError, TypeError) as error:
            missing = '' if model in list_backbones() else 'no such config file, and as a backbone: '
            raise SagaError(f'{model}: {missing}{error}') from error
    if not mixers_of(net):
        raise SagaError(f'{model}: its backbone, {type(net).__name__}, has no attention of saga_mm to look into')
    return net.eval()


def mixers_of(net: nn.Module) -> dict[str, TokenMixer]:
    """The attentions of a backbone by layer, in order: ``'3.2'`` is the second block of stage 3."""
    named = ((name, module) for name, module in net.named_modules() if isinstance(module, TokenMixer))
    return {_layer(name): module for name, module in named}


def _layer(name: str) -> str:
    found = re.search(r'stages\.(\d+)\.blocks\.(\d+)', name)
    return f'{int(found[1]) + 1}.{int(found[2]) + 1}' if found else name


def parse_mixer(text: str, flag: str = '--attention') -> str | dict[str, Any]:
    """``attention=`` as words: ``saga``, or with options ``saga:gates=key:local_kernel=0``; ``flag`` is the user's.

    Raises:
        SagaError: An option is not of the form ``name=value``.
    """
    name, *options = text.split(':')
    parsed = {}
    for option in options:
        key, equals, value = option.partition('=')
        if not (key and equals):
            raise SagaError(f'{flag} {text}: options are written as name:option=value, not {option!r}')
        try:
            parsed[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[key] = value
    return {'type': name, **parsed} if parsed else name


def read_backbone_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """A backbone's weights in a file, or in the best one of a work folder; of a whole model, its backbone's."""
    state = load_state(find_best(path))
    inner = {key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')}
    return inner or state


def load_matching(net: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> str:
    """Load the weights that fit a backbone, and leave the others random.

    Returns:
        What happened, for the user to read.

    Raises:
        SagaError: None fits.
    """
    check_match(net, state, source, partly=True)
    fits = set(match_weights(net, state).matched)
    net.load_state_dict({key: value for key, value in state.items() if key in fits}, strict=False)
    own = list(net.state_dict())
    fresh = [key for key in own if key not in fits]
    text = f'{len(own) - len(fresh)} of {len(own)} weights from {source}'
    if fresh:
        leaves = sorted({key.split('blocks.')[-1].split('.', 1)[-1] for key in fresh})
        text += f'; RANDOM are {len(fresh)} ({", ".join(leaves[:4])}{", ..." if len(leaves) > 4 else ""})'
    return text


def split_files(files: Sequence[str]) -> tuple[str | None, list[str]]:
    """``[CHECKPOINT] IMAGES...`` as a checkpoint, or None, and the pictures; told apart by the first file's name.

    Raises:
        SagaError: There is no picture.
    """
    first = user_path(files[0])
    is_work_dir = first.is_dir() and next(first.glob('*.pth'), None) is not None
    checkpoint = files[0] if is_work_dir or files[0].lower().endswith(WEIGHTS) else None
    pictures = list(files[1:] if checkpoint else files)
    if not pictures:
        raise SagaError(f'{checkpoint} is a checkpoint, and no picture was named after it')
    return checkpoint, pictures


def load_pictures(sources: Iterable[str | Path], size: tuple[int, int]) -> tuple[list[Path], torch.Tensor, list[str]]:
    """Read pictures, squeezed to one size.

    Args:
        sources: Files, and folders of files.
        size: ``(H, W)`` in pixels.

    Returns:
        The files that were read, their pictures ``(B, 3, H, W)`` normalised as ImageNet's, and for each file that
        could not be read the reason.

    Raises:
        SagaError: None could be read, or the size is not one.
    """
    check_size(size)
    paths: list[Path] = []
    failed: list[str] = []
    for source in sources:
        try:
            paths += find_images(source)
        except SagaError as error:
            failed.append(str(error))
    read: list[Path] = []
    images = []
    for path in progress_bar(paths, len(paths), 'reading', delay=2.0):
        try:
            images.append(as_batch(read_picture(path), size))
            read.append(path)
        except SagaError as error:
            failed.append(str(error))
    if not images:
        raise SagaError('no picture could be read:\n  ' + '\n  '.join(failed))
    return read, torch.cat(images), failed


def model_stem(model: str) -> str:
    """A short name of a model, for files and titles."""
    return Path(model).stem


def check_size(size: tuple[int, int]) -> None:
    """Refuse a size with a side of no pixels.

    Raises:
        SagaError: A side is less than 1.
    """
    if min(size) < 1:
        raise ArgumentError('size', f'{size[0]} {size[1]}', 'both sides must be at least 1')


def as_batch(picture: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """A picture ``(H, W, 3)`` uint8 RGB as a batch of one, ``(1, 3, *size)``, normalised as ImageNet's are."""
    plane = torch.from_numpy(picture).float().permute(2, 0, 1)[None]
    plane = (plane - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    if plane.shape[2:] == tuple(size):
        return plane
    return nn.functional.interpolate(plane, size, mode='bilinear', align_corners=False, antialias=True)
