"""Golden cases: loading, comparing, and what is said of those that do not fit."""

import json
import math

import numpy as np
import pytest
import torch

from benchmarks.model_tables import PUBLISHED
from benchmarks.parity import LIMIT, Parity, backbone_of, load_case, load_published, measure_parity
from saga_mm import create_backbone
from saga_mm.errors import SagaError

CASES = [
    'flatten_cswin_t',
    'flatten_pvt_tiny',
    'flatten_pvt_v2_b0',
    'flatten_swin_t',
    'pvt_tiny',
    'pvt_v2_b0',
    'ravlt_t',
]


@pytest.fixture
def folder(tmp_path, golden):
    """A folder for cases, and a function that puts one there, as it is or changed."""

    def put(name, model=None, factor=1.0):
        case = golden(name)
        manifest = {**case.manifest, 'model': model or name}
        (tmp_path / f'{name}.json').write_text(json.dumps(manifest))
        np.savez(tmp_path / f'{name}.npz', **{key: factor * value for key, value in case.outputs.items()})

    return tmp_path, put


@pytest.mark.parametrize(
    ('model', 'ours'),
    [
        ('pvt_tiny', 'pvt_tiny'),
        ('flatten_pvt_v2_b4', 'flatten_pvt_v2_b4'),
        ('flatten_pvt_b', 'flatten_pvt_large'),
        ('flatten_swin_b_384', 'flatten_swin_base_384'),
        ('swin_s', 'swin_small'),
        ('flatten_cswin_t', 'flatten_cswin_tiny'),
        ('ravlt_l', 'ravlt_large'),
        ('glta_det_s', 'ravlt_small'),
        ('glta_det_m', 'ravlt_base'),
    ],
)
def test_names_of_published_models(model, ours):
    assert backbone_of(model) == ours


@pytest.mark.parametrize('name', CASES)
def test_cases_have_as_many_parameters_as_published(golden, name):
    fixed = ('relative_position_index', 'attn_mask', 'angle', 'num_batches_tracked', 'running_mean', 'running_var')
    tensors = golden(name).manifest['tensors']
    count = sum(math.prod(t['shape']) for t in tensors if not t['key'].endswith(fixed))
    assert count == PUBLISHED[backbone_of(name)]


def test_every_output_counts(golden):
    case = golden('glta_det_t')
    net = create_backbone('ravlt_tiny').eval()
    load_published(net, 'ravlt_tiny', case.state)
    errors = case.errors(net, case.outputs)
    assert list(errors) == ['out1', 'out2', 'out3', 'out4'] and max(errors.values()) < LIMIT
    with torch.no_grad():
        net.out_norms['2'].bias += 0.1
    assert case.errors(net, ['out3'])['out3'] > 0.01
    # no hook stays
    assert not any(block._forward_hooks for stage in net.stages for block in stage.blocks)


@pytest.mark.slow
def test_logits_of_ravlt_and_of_a_class_token(folder):
    path, put = folder
    put('ravlt_t')
    put('pvt_tiny')
    pvt, ravlt = measure_parity(path)
    assert pvt.backbone == 'pvt_tiny' and pvt.error < LIMIT
    assert pvt.worst.endswith('of 5') and not pvt.note
    assert ravlt.error < LIMIT and ravlt.worst.endswith('of 5') and not ravlt.note


def test_cases_that_differ_or_do_not_load(folder):
    path, put = folder
    put('glta_det_t', factor=1.01)
    assert measure_parity(path)[0].error == pytest.approx(0.0099, rel=0.01)
    put('glta_det_t', model='ravlt_s')
    failed = measure_parity(path)[0]
    assert failed == Parity('glta_det_t', 'ravlt_small', None, '', failed.note) and 'is no ravlt_small' in failed.note
    put('glta_det_t', model='resnet')
    assert measure_parity(path)[0].note == 'golden case of resnet: no backbone is known under that name'


def test_mistakes(tmp_path):
    with pytest.raises(SagaError, match='holds no golden cases'):
        measure_parity(tmp_path)
    with pytest.raises(SagaError, match=r'golden case gone: .*gone\.json is missing'):
        load_case(tmp_path, 'gone')
    with pytest.raises(SagaError, match='is no pvt_v2_b0 that pvt_v2_b0 could take over'):
        load_published(create_backbone('pvt_v2_b0'), 'pvt_v2_b0', {})
