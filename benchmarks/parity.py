"""Golden cases: whether a backbone with a published model's weights answers as that model does."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.display.progress import progress_bar
from saga_mm.errors import SagaError
from saga_mm.loading.convert import convert
from saga_mm.loading.published_file import Published
from saga_mm.models.backbones import create_backbone, list_backbones, pvt
from saga_mm.models.classification.published_classifiers import published_classifier
from saga_mm.ops import map_to_tokens, tokens_to_map

LIMIT = 1e-5
CONSTANTS = ('relative_position_index', 'attn_mask', 'angle', 'num_batches_tracked')
SIZES = {'t': 'tiny', 's': 'small', 'm': 'medium', 'b': 'base', 'l': 'large'}


class GoldenCase(NamedTuple):
    """A published model's answer: its weights are drawn from their names, its outputs were stored."""

    manifest: dict
    outputs: dict[str, np.ndarray]

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """State dict in the published layout, without the buffers that are computed rather than learned."""
        return self._state_of('')

    def _state_of(self, *starts: str) -> dict[str, torch.Tensor]:
        """What of the state dict begins so."""
        found = ((t['key'], t['shape']) for t in self.manifest['tensors'])
        return {
            key: _draw(key, shape) for key, shape in found if key.startswith(starts) and not key.endswith(CONSTANTS)
        }

    @property
    def image(self) -> torch.Tensor:
        """The batch ``(B, 3, H, W)`` that the model was run on."""
        draw = np.random.default_rng(5).standard_normal(self.manifest['input_shape'])
        return torch.from_numpy(draw.astype(np.float32))

    @property
    def has_class_token(self) -> bool:
        """Whether a class token takes part in the last stage."""
        return any(t['key'] == 'cls_token' for t in self.manifest['tensors'])

    def output(self, name: str) -> tuple[torch.Tensor, int]:
        """A stored output, flat, and the step at which it was sampled from the model's."""
        stored = self.manifest['outputs'][name]['stored']
        step = 1 if stored == 'all' else int(stored.removeprefix('flat[::').removesuffix(']'))
        return torch.from_numpy(self.outputs[name]).flatten(), step

    def errors(self, net: nn.Module, names: Iterable[str]) -> dict[str, float]:
        """Relative L2 errors of a backbone that holds the case's weights, by output.

        A backbone without the class token that the case has gives neither of ``stage4`` and ``logits``.

        ``stage{i}`` is what a stage's last block returns, ``out{i}`` what the backbone does, and ``logits`` what the
        case's head makes of the last of them.
        """
        got: dict[str, torch.Tensor] = {}

        def watch(name: str) -> Callable:
            return lambda block, args, out: got.update({name: tokens_to_map(out, args[1])})

        hooks = [
            stage.blocks[-1].register_forward_hook(watch(f'stage{i}')) for i, stage in enumerate(net.stages, start=1)
        ]
        with torch.no_grad():
            outs, token = net.forward_token(self.image) if net.class_token else (net(self.image), None)
        for hook in hooks:
            hook.remove()
        got.update({f'out{i + 1}': out for i, out in zip(sorted(net.out_indices), outs, strict=True)})
        head = self._state_of('proj.', 'norm.', 'head.')
        if token is not None:
            got['stage4'] = torch.cat([token[:, None], map_to_tokens(outs[-1])], 1)
            got['logits'] = _logits_of_token(head, token)
        elif 'logits' in names:
            got['logits'] = _logits(head, outs[-1], got['stage4'])
        return {name: self._error(name, got[name]) for name in names}

    def _error(self, name: str, mine: torch.Tensor) -> float:
        stored, step = self.output(name)
        if len(self.manifest['outputs'][name]['shape']) == 3 and mine.ndim == 4:
            # tokens in raster order
            mine = map_to_tokens(mine)
        mine = mine.flatten()[::step].double()
        return ((mine - stored.double()).norm() / stored.double().norm()).item()


@dataclass(frozen=True)
class Parity:
    """How far a case's outputs are off; ``error`` is the largest, None where the weights did not load."""

    case: str
    backbone: str
    error: float | None
    worst: str
    note: str = ''


def load_case(folder: str | Path, name: str) -> GoldenCase:
    """Load a golden case: ``NAME.json``, its shapes, and ``NAME.npz``, its outputs.

    Raises:
        SagaError: There is no such case.
    """
    files = [Path(folder, f'{name}.{suffix}') for suffix in ('json', 'npz')]
    for file in files:
        if not file.is_file():
            raise SagaError(f'golden case {name}: {file} is missing')
    with np.load(files[1]) as stored:
        return GoldenCase(json.loads(files[0].read_text()), dict(stored))


def backbone_of(model: str) -> str:
    """Our name of a published model: ``flatten_swin_t`` is ``flatten_swin_tiny``.

    Raises:
        SagaError: There is none.
    """
    name = model.replace('glta_det_m', 'ravlt_b').replace('glta_det', 'ravlt')
    parts = [SIZES.get(part, part) for part in name.split('_')]
    name = re.sub(r'_224$', '', '_'.join(parts))
    if name.startswith(('pvt_', 'flatten_pvt_')):
        # FLatten calls the large one b
        name = re.sub(r'pvt_base$', 'pvt_large', name)
    if name not in list_backbones():
        raise SagaError(f'golden case of {model}: no backbone is known under that name')
    return name


def load_published(net: nn.Module, name: str, state: dict[str, torch.Tensor]) -> None:
    """Load a published state dict into a backbone, through the converter of checkpoints.

    Args:
        net: The backbone; one with a class token has PVT's.
        name: What :func:`saga_mm.create_backbone` calls it.
        state: The published weights.

    Raises:
        SagaError: Weights are missing, left over, or of other shapes.
    """
    converted = convert(Published(name, 'bare', [], state, []), name)
    net.load_state_dict(converted.state, strict=False)
    if 'cls_token' in state and net.class_token:
        key = 'stages.3.class_token'
        net.load_state_dict({key: published_classifier(state, pvt)[f'backbone.{key}']}, strict=False)


def measure_parity(folder: str | Path, progress: bool = False) -> list[Parity]:
    """Run every golden case in a folder.

    Raises:
        SagaError: There is none.
    """
    names = sorted(path.stem for path in Path(folder).glob('*.json'))
    if not names:
        raise SagaError(f'{folder}: holds no golden cases (NAME.json with NAME.npz)')
    return [
        _measure(load_case(folder, name), name)
        for name in progress_bar(names, len(names), 'parity', enabled=progress, unit=' cases')
    ]


def _measure(case: GoldenCase, name: str) -> Parity:
    backbone = ''
    try:
        backbone = backbone_of(case.manifest['model'])
        # the published classifier treats the borders of windows unlike mmdet, whose way is the named variant's default
        classifier = backbone.startswith('swin_') and 'logits' in case.outputs
        options: dict[str, Any] = {'attention': 'softmax'} if classifier else {}
        net = create_backbone(backbone, **options, **({'class_token': True} if case.has_class_token else {})).eval()
        load_published(net, backbone, case.state)
    except SagaError as error:
        return Parity(name, backbone, None, '', str(error))
    errors = case.errors(net, case.outputs)
    worst = max(errors, key=errors.__getitem__)
    return Parity(name, backbone, errors[worst], f'{worst}, of {len(errors)}')


def _logits(state: dict[str, torch.Tensor], last: torch.Tensor, raw: torch.Tensor) -> torch.Tensor:
    """What a published classifier makes of the last output; RAVLT projects the raw map of its last block first."""
    if 'proj.weight' in state:
        norm: Any = (state[f'norm.{key}'] for key in ('running_mean', 'running_var', 'weight', 'bias'))
        last = F.silu(F.batch_norm(F.conv2d(raw, state['proj.weight'], state['proj.bias']), *norm))
    return F.linear(last.mean((2, 3)), state['head.weight'].flatten(1), state['head.bias'])


def _logits_of_token(state: dict[str, torch.Tensor], token: torch.Tensor) -> torch.Tensor:
    """What PVT's classifier makes of its class token ``(B, C)``."""
    token = F.layer_norm(token, token.shape[1:], state['norm.weight'], state['norm.bias'], eps=1e-6)
    return F.linear(token, state['head.weight'], state['head.bias'])


def _draw(key: str, shape: list[int]) -> torch.Tensor:
    """One parameter, from its key alone, with the scale that its kind had when the outputs were recorded."""
    draw = np.random.default_rng([0, zlib.crc32(key.encode())]).standard_normal(shape).astype(np.float32)
    leaf = key.rsplit('.', 1)[-1]
    if leaf == 'running_var':
        draw = 0.5 + np.abs(draw)
    elif leaf in ('gamma_1', 'gamma_2'):
        draw = 0.5 + 0.1 * draw
    elif leaf == 'weight':
        draw = 1 + 0.1 * draw if len(shape) == 1 else draw / math.sqrt(math.prod(shape[1:]))
    elif leaf in ('scale', 'positional_encoding') or leaf.startswith('pos_embed'):
        draw = 0.3 * draw
    else:
        draw = 0.1 * draw
    return torch.from_numpy(draw.astype(np.float32))
