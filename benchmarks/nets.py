"""Backbones of one trunk that differ in attention, and enhancers of low light."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from saga_mm.analysis.subjects import parse_mixer
from saga_mm.engines import make_engine, use_engine
from saga_mm.errors import SagaError
from saga_mm.models.backbones import create_backbone
from saga_mm.models.backbones.chunks import run_on
from saga_mm.models.enhancement import LowLightEnhancer

from .baselines import FocusedTranscribed, MultiheadSoftmaxAttention, NaiveSoftmaxAttention, RankAugmentedTranscribed
from .cases import Case, Subject, random_tensor
from .floors import backbone_bytes, weight_bytes
from .onnx_subject import OnnxBackbone
from .references import keep_whole
from .retinexformer import Retinexformer

NAMES = ('naive', 'mha', 'fused', 'fused_whole', 'linear', 'focused', 'rala', 'saga')
MIXERS = {
    'naive': NaiveSoftmaxAttention,
    'mha': MultiheadSoftmaxAttention,
    'focused_transcribed': FocusedTranscribed,
    'rala_transcribed': RankAugmentedTranscribed,
    'fused': 'softmax',
}
# as published, and what cannot be run in chunks
WHOLE = ('naive', 'mha', 'focused_transcribed', 'rala_transcribed')
SUFFIX = '_whole'
# behind the name of a subject
ENGINES = ('openvino', 'openvino_bf16', 'strips', 'onnxruntime')


def mixer_of(name: str) -> tuple[str | dict[str, Any] | type, bool]:
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
        raise SagaError(f'--backbones {case.part} --only {case.name}: {error}') from error
    net = net.to(case.device, case.torch_dtype)
    if whole:
        keep_whole(net)
    on_engine(net, case.name)
    image = random_tensor(case, device, case.batch, 3, *case.size)
    return Subject(net, (image,), backbone_bytes(net, case.batch, case.size, image.element_size(), case.backward))


def enhancer(name: str) -> nn.Module:
    """An enhancer with random weights in evaluation mode, from ``(B, 3, H, W)`` in [0, 1] to the same shape.

    Args:
        name: One of :data:`ENHANCERS`, perhaps with another attention, as in ``saga_unet:linear``.

    Raises:
        SagaError: There is no enhancer of that name, or it does not take that attention.
    """
    model, colon, mixer = name.partition(':')
    if model not in ENHANCERS or name.endswith(':'):
        raise SagaError(f'--only {name}: is none of {", ".join(ENHANCERS)}')
    torch.manual_seed(0)
    try:
        return ENHANCERS[model](**({'attention': parse_mixer(mixer, '--only')} if colon else {})).eval()
    except (ValueError, TypeError, KeyError) as error:
        raise SagaError(f'--only {name}: {error}') from error


def _saga_unet(arch: str, attention: str | dict[str, Any] = 'saga') -> nn.Module:
    return LowLightEnhancer({'type': 'saga_mm.SAGAUNet', 'arch': arch, 'attention': attention}, losses=())


# the reference of ratios first
ENHANCERS = {
    'retinexformer': Retinexformer,
    'saga_unet': partial(_saga_unet, 'base'),
    'saga_unet_tiny': partial(_saga_unet, 'tiny'),
}


def build_enhancer(case: Case, device: str) -> Subject:
    """The enhancer of that name.

    Raises:
        SagaError: There is none.
    """
    net = enhancer(case.name.partition('@')[0]).to(case.device, case.torch_dtype)
    on_engine(net, case.name)
    image = 0.2 * random_tensor(case, device, case.batch, 3, *case.size).abs()
    return Subject(net, (image,), ends_bytes(net, image, case.backward))


def on_engine(net: nn.Module, name: str) -> None:
    """Have a subject run as the end of its name says: ``@openvino``, ``@openvino_bf16``, ``@strips`` in strips of
    OpenVINO's, or ``@onnxruntime``.

    Raises:
        SagaError: The name says something else, or the engine is not to be had here.
    """
    _, at, engine = name.partition('@')
    if not at:
        return
    if engine not in ENGINES:
        raise SagaError(f'--only {name}: unknown engine {engine!r}; choose one of {", ".join(ENGINES)}')
    if engine == 'onnxruntime':
        net.forward = OnnxBackbone(net.eval())
        return
    if isinstance(net, Retinexformer):
        # whole images, as far as they fit
        compiled = make_engine('openvino', 'bf16' if engine.endswith('bf16') else 'f32')
        net.forward = partial(run_on, compiled, [net.eval()], partial(Retinexformer.forward, net))
        return
    use_engine(net.eval(), 'openvino', 'bf16' if engine.endswith('bf16') else 'f32')
    if engine.startswith('strips'):
        net.engine.whole_bytes = 0


def ends_bytes(net: nn.Module, image: torch.Tensor, backward: bool) -> int:
    """The weights, an image in and as much out: a floor for anything, far below most."""
    return weight_bytes(net, backward) + 2 * image.numel() * image.element_size()
