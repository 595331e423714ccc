"""Backbones of one trunk that differ in attention, and enhancers of low light."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks import baselines  # noqa: F401  registers mixers that are named below
from benchmarks.low_light_cost import build
from saga_mm.analysis.subjects import parse_mixer
from saga_mm.engines import use_engine
from saga_mm.errors import SagaError
from saga_mm.models.backbones import create_backbone

from .cases import Case, Subject, random_tensor
from .floors import backbone_bytes, weight_bytes
from .references import keep_whole

NAMES = ('naive', 'mha', 'fused', 'fused_whole', 'linear', 'focused', 'rala', 'saga')
MIXERS = {'naive': 'naive_softmax', 'mha': 'mha_softmax', 'fused': 'softmax'}
# as published, and what cannot be run in chunks
WHOLE = ('naive', 'mha', 'focused_transcribed', 'rala_transcribed')
SUFFIX = '_whole'
# behind the name of a subject
ENGINES = ('openvino', 'openvino_bf16', 'strips')


def mixer_of(name: str) -> tuple[str | dict[str, Any], bool]:
    """``attention=`` behind a subject's name, and whether it runs whole maps instead of chunks of rows.

    Any mixer will do, with options as in ``saga:gate_source=low_rank``; the ending ``_whole`` switches chunks off. An
    engine behind ``@`` is for :func:`on_engine`.

    Raises:
        SagaError: The options are not written like that.
    """
    name = name.partition('@')[0]
    plain = name.removesuffix(SUFFIX)
    return MIXERS.get(plain) or parse_mixer(plain, '--only'), plain in WHOLE or plain != name


def build_backbone(case: Case, device: str, with_cp: bool = False) -> Subject:
    """The backbone that the case's part names, with the attention that its name says.

    Raises:
        SagaError: One of them does not exist.
    """
    attention, whole = mixer_of(case.name)
    try:
        net = create_backbone(case.part, attention=attention, with_cp=with_cp)
    except (ValueError, TypeError) as error:
        raise SagaError(f'--hosts {case.part} --only {case.name}: {error}') from error
    net = net.to(case.device, case.torch_dtype)
    if whole:
        keep_whole(net)
    on_engine(net, case.name)
    image = random_tensor(case, device, case.batch, 3, *case.size)
    return Subject(net, (image,), backbone_bytes(net, case.batch, case.size, image.element_size(), case.backward))


def build_enhancer(case: Case, device: str) -> Subject:
    """The enhancer of that name.

    Raises:
        SagaError: There is none.
    """
    net = build(case.name.partition('@')[0], '--only').to(case.device, case.torch_dtype)
    on_engine(net, case.name)
    image = 0.2 * random_tensor(case, device, case.batch, 3, *case.size).abs()
    return Subject(net, (image,), ends_bytes(net, image, case.backward))


def on_engine(net: nn.Module, name: str) -> None:
    """Have a subject run as the end of its name says: ``@openvino``, ``@openvino_bf16``, or ``@strips`` in strips.

    Raises:
        SagaError: The name says something else, or the engine is not to be had here.
    """
    _, at, engine = name.partition('@')
    if not at:
        return
    if engine not in ENGINES:
        raise SagaError(f'--only {name}: unknown engine {engine!r}; choose one of {", ".join(ENGINES)}')
    use_engine(net.eval(), 'openvino', 'bf16' if engine.endswith('bf16') else 'f32')
    if engine.startswith('strips'):
        net.engine.whole_bytes = 0


def ends_bytes(net: nn.Module, image: torch.Tensor, backward: bool) -> int:
    """The weights, an image in and as much out: a floor for anything, far below most."""
    return weight_bytes(net, backward) + 2 * image.numel() * image.element_size()
