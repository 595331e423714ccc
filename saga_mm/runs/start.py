"""Load the weights that a training starts from: of the whole model, of its backbone, or published ones."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.config import Config
from torch import nn

from saga_mm.display.console import say
from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint, state_of
from saga_mm.loading.convert import convert_file
from saga_mm.loading.weight_match import Match, match_weights
from saga_mm.loading.work_dir import find_best

CONVERTED = 'pretrained.pth'


def start_from(cfg: Config, weights: str, model: nn.Module) -> None:
    """Have a training start from weights of its model, of its backbone, or from published ones of its backbone.

    Args:
        cfg: The config, changed in place. Converted weights are written into its work folder.
        weights: The file, or a work folder, of which the best are taken.
        model: The model of the config, to compare them with.

    Raises:
        SagaError: The file cannot be read, or nothing in it is for the model.
    """
    file = Path(find_best(weights))
    state = state_of(load_checkpoint(file))
    match = match_weights(model, state)
    # weights of a whole model first: those of a backbone alone have no name of it
    if match.matched:
        cfg.load_from = str(file)
        _tell(str(file), match)
        return
    backbone = getattr(model, 'backbone', None)
    if backbone is None:
        raise SagaError(f'--weights {file}: nothing in it is for this {type(model).__name__}')
    match = match_weights(backbone, state)
    if not match.matched:
        attention = cfg.model.backbone.get('attention')
        file = _convert(file, Path(cfg.work_dir), attention if isinstance(attention, str) else None)
        match = match_weights(backbone, state_of(load_checkpoint(file)))
    if not match.matched:
        raise SagaError(f'--weights {weights}: nothing in it is for this {type(backbone).__name__}')
    cfg.model.backbone.init_cfg = {'type': 'Pretrained', 'checkpoint': os.path.abspath(file)}
    _tell(f'{weights} for the backbone', match)


def _tell(weights: str, match: Match) -> None:
    # what does not fit is said by the checks of load_from and init_cfg
    if match.complete:
        say(f'--weights {weights}: {match}')


def _convert(file: Path, folder: Path, attention: str | None) -> Path:
    """Published weights in the names of this package, for a backbone of this attention."""
    made = folder / CONVERTED
    try:
        conversion = convert_file(file, made, overwrite=True, attention=None if attention == 'softmax' else attention)
    except SagaError as error:
        raise SagaError(f'--weights {file}: is neither of this model nor of a known backbone: {error}') from error
    say(f'{file}: weights of {conversion.source}, converted into {made}')
    return made
