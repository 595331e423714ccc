"""The layers of the benchmark, and how a case becomes something that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from saga_mm.analysis import measure_cost
from saga_mm.models.backbones.blocks import DropPath

from . import configured, nets, op
from .cases import Case, ResultRow, Subject
from .references import keep_whole


class Layer(NamedTuple):
    """A kind of subjects.

    Attributes:
        names: Subjects by default.
        references: Whom ratios are to, as far as they run; if none does, to the first that runs.
        sizes: Sizes by default.
        build: Makes a subject of a case, its inputs on the device that is named, perhaps ``'meta'``.
    """

    names: tuple[str, ...]
    references: tuple[str, ...]
    sizes: str
    build: Callable[..., Subject]


LAYERS: dict[str, Layer] = {
    'op': Layer(op.NAMES, ('fused', 'naive'), '640,1280', op.build_op),
    'backbone': Layer(nets.NAMES, ('fused', 'fused_whole', 'naive'), '512,640,1280', nets.build_backbone),
    'model': Layer(configured.NAMES, (), '512,1280', configured.build_model),
    'enhancer': Layer(tuple(nets.ENHANCERS), ('retinexformer',), '400x608,1280', nets.build_enhancer),
}


def build(case: Case, device: str | None = None, **options: bool) -> Subject:
    """The subject of a case: in training mode if it runs backward, without dropout, with the same random weights.

    Args:
        case: What to build; whether it is compiled does not matter.
        device: Of the inputs, ``'meta'`` to trace it; None for the case's own.
        options: ``with_cp=True`` for a backbone that keeps no activations of its blocks.

    Raises:
        SagaError: There is no such subject.
    """
    torch.manual_seed(0)
    subject = LAYERS[case.layer].build(case, device or case.device, **options)
    for child in subject.module.train(case.backward).modules():
        if isinstance(child, nn.modules.dropout._DropoutNd):
            child.p = 0.0
        elif isinstance(child, DropPath):
            child.rate = 0.0
    return subject


def trace(case: Case) -> ResultRow:
    """A row with what a case costs by the trace of its eager form; nothing is computed.

    Multiply-accumulates are those of whole maps: chunks compute some rows twice, which nobody must.
    """
    subject = build(case, 'meta')
    cost = measure_cost(subject.traceable, *subject.inputs, training=case.backward)
    row = ResultRow(case, cost.parameters, cost.macs + cost.backward_macs, subject.floor_bytes, cost.peak_bytes)
    row.whole_bytes = row.live_bytes
    if case.backward and case.layer == 'backbone':
        checkpointed = build(case, 'meta', with_cp=True)
        row.checkpointed_bytes = measure_cost(checkpointed.traceable, *subject.inputs, training=True).peak_bytes
    elif not case.backward and keep_whole(subject.module):
        whole = measure_cost(subject.traceable, *subject.inputs)
        row.macs, row.whole_bytes = whole.macs, whole.peak_bytes
    return row
