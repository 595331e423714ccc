"""Parameters beside the published numbers, half precision, and how both are written down."""

import pytest
import torch

from benchmarks import model_tables
from benchmarks.model_tables import (
    MIXERS,
    PUBLISHED,
    count_parameters,
    half_table,
    markdown,
    measure_half,
    parameter_table,
)
from saga_mm.errors import SagaError
from saga_mm.models.attention import TokenMixer
from saga_mm.models.backbones import list_backbones
from saga_mm.registry import MODELS


@pytest.mark.parametrize(
    'name', ['pvt_tiny', 'flatten_pvt_tiny', 'pvt_v2_b0', 'flatten_swin_tiny', 'flatten_cswin_tiny', 'ravlt_tiny']
)
def test_counts_equal_the_published_ones(name):
    backbone, classifier = count_parameters(name)
    assert classifier == PUBLISHED[name] and backbone < classifier


def test_table_of_parameters():
    lines = parameter_table(['flatten_swin_tiny', 'saga_swin_tiny']).splitlines()
    assert lines[0].startswith('| backbone | parameters |') and lines[1].startswith('| --- |')
    assert lines[2] == '| flatten_swin_tiny | 28,424,728 | 29,192,384 | 29,192,384 | +0 |'
    assert lines[3].startswith('| saga_swin_tiny | 27,') and lines[3].endswith(' |  |  |  |')
    assert set(PUBLISHED) <= set(list_backbones())


def test_every_mixer_is_measured():
    registered = {cls for cls in MODELS.module_dict.values() if issubclass(cls, TokenMixer)}
    registered = {cls for cls in registered if cls.__module__.startswith('saga_mm.models')}
    assert {MODELS.get(name) for name in MIXERS} == registered


@pytest.mark.parametrize('name', MIXERS)
def test_half_precision_is_finite_and_close(name):
    results = list(measure_half(name, (24, 20), dims=32))
    assert [(r.kind, r.dtype) for r in results] == [
        (kind, dtype) for kind in ('8x', 'negative') for dtype in (torch.float16, torch.bfloat16)
    ]
    stride = MIXERS[name][1]
    for result in results:
        assert result.tokens == (24 // stride, 20 // stride)
        # softmax is all but a choice of one token at 8x, where rounding of scores shows most
        assert 0 < result.error < (2e-3 if result.dtype == torch.float16 else 2e-2)


def test_what_is_not_finite_is_said(monkeypatch):
    monkeypatch.setattr(model_tables, 'MIXERS', {'linear': ({'feature_map': lambda x: x**80}, 1)})
    lines = half_table((4, 5), dims=8).splitlines()
    assert lines[2] == '| linear | 4 x 5 | 8x | not finite | not finite |'
    with pytest.raises(SagaError, match='at least 1'):
        half_table((0, 5))


def test_markdown():
    assert markdown(('a', 'b'), [('1', '2')]) == '| a | b |\n| --- | --- |\n| 1 | 2 |'
