"""The benchmark of the kernels, tried on the CPU with plain operations in their place."""

import json

import pytest
import torch

from benchmarks.gpu import check, cores, nets, report, run
from saga_mm.errors import SagaError
from saga_mm.ops import KVState, fused, read_state, write_state

MACHINE = {'processor': 'any', 'cores': 2, 'threads': 1, 'load': None, 'torch': '2', 'saga_mm': '1'}


@pytest.fixture
def stand_in(monkeypatch):
    """Plain operations in the place of the kernels; the answers are off by a factor that a test may set."""
    factor = [1.0]

    def write(k, v, a, b, gate_act):
        assert gate_act == 'sigmoid'
        state = write_state(k, v, a.sigmoid(), b.sigmoid(), feature_map=torch.relu)
        return state.kv, state.key

    def read(q, kv, key, **options):
        return read_state(q, KVState(kv, key, 1), feature_map=torch.relu, **options) * factor[0]

    monkeypatch.setattr(fused, 'write', write)
    monkeypatch.setattr(fused, 'read', read)
    return factor


def test_check_finds_what_is_wrong(stand_in):
    right = list(check.check_kernels('cpu', head_dims=(16,), tokens=(1, 20)))
    assert [found.dtype for found in right] == ['float32'] * 2 + ['float16'] * 2 + ['bfloat16'] * 2
    assert all(found.passed for found in right)
    stand_in[0] = 1.05
    wrong = list(check.check_kernels('cpu', head_dims=(16,), tokens=(20,)))
    assert not any(found.passed for found in wrong)
    assert wrong[0].output == pytest.approx(0.05, rel=0.01)
    stand_in[0] = float('nan')
    assert not next(check.check_kernels('cpu', head_dims=(16,), tokens=(20,))).passed


def test_cores_are_compared_at_equal_bytes(stand_in, monkeypatch):
    monkeypatch.setattr(cores, 'MIN_SECONDS', 0)
    monkeypatch.setattr(cores, 'DTYPES', (torch.bfloat16,))
    groups = list(cores.measure_cores('cpu', tokens=(48,), head_dim=16, compiled=False, repeats=2, say=str))
    assert len(groups) == 2 * 4
    for rows in groups:
        assert len({row.floor_bytes for row in rows}) == 1
        assert all(len(row.samples) == 2 and not row.skipped for row in rows)
    forward = next(rows for rows in groups if rows[0].part == 'forward' and rows[0].stage == 'stage 3')
    # queries, keys, values, two gates and the answers of 5 heads in 2 bytes
    assert forward[0].floor_bytes == 6 * 48 * 5 * 16 * 2
    assert [row.variant for row in forward] == ['kernels', cores.CALLED, 'plain', 'direct']


def test_all_ways_compute_the_same(stand_in):
    inputs = cores._draw(30, 2, 16, torch.float32, 'cpu')
    answers = [way(*inputs) for way in (cores._kernels, cores._plain, cores._direct)]
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0])


def test_what_fails_is_left_out_with_its_reason(stand_in, monkeypatch):
    def broken(*_):
        raise RuntimeError('out of memory\nand more')

    monkeypatch.setattr(cores, 'MIN_SECONDS', 0)
    monkeypatch.setattr(cores, '_direct', broken)
    monkeypatch.setattr(cores, 'DTYPES', (torch.bfloat16,))
    groups = cores.measure_cores('cpu', tokens=(8,), head_dim=16, compiled=False, repeats=1, say=str)
    rows = next(rows for rows in groups if rows[0].part == 'forward')
    assert [row.skipped for row in rows] == ['', '', '', 'out of memory']
    assert not rows[-1].samples and rows[0].samples
    assert '| - |' in next(report.core_tables(rows))


def test_nets_must_agree_with_their_plain_form(monkeypatch):
    monkeypatch.setattr(nets, 'MIN_SECONDS', 0)
    monkeypatch.setattr(nets, 'MIXERS', {'SAGA': 'saga'})
    arch = {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (1, 2), 'mlp_ratios': (2, 2), 'sr_ratios': (4, 2)}
    options = {'arch': arch, 'out_indices': (0, 1), 'compiled': False, 'repeats': 1, 'say': str}
    (row,) = next(nets.measure_nets('cpu', ((1, 40),), **options))
    assert row.samples and not row.wrong
    monkeypatch.setattr(nets, 'LIMIT', -1)
    (row,) = next(nets.measure_nets('cpu', ((1, 40),), **options))
    assert row.wrong and not row.samples and row.skipped.startswith('wrong')


def core_rows(part, tokens, copy, **seconds):
    return [
        cores.CoreRow('stage 1', part, 'bfloat16', tokens, name.replace('_', ' '), 10**6, copy, [took] * 3)
        for name, took in seconds.items()
    ]


def test_goals(tmp_path):
    found = report.Report(MACHINE)
    found.cores = core_rows('forward', 4096, 8.1e-6, kernels=1e-5, plain=4e-5, plain_compiled=2e-5)
    found.cores += core_rows('forward', 65536, 8.1e-6, kernels=2e-5, plain_compiled=1.9e-5)
    found.cores += core_rows('forward and backward', 4096, 7.1e-6, kernels=1e-5)
    speeds = {'naive softmax': 4.0, 'fused softmax compiled': 1.25, 'SAGA': 2.0, 'SAGA compiled': 1.0}
    found.nets = [nets.NetRow(1, 1280, name, [seconds] * 3, 100) for name, seconds in speeds.items()]
    text = found.as_markdown()
    assert '**no**: forward: at least 80% of the speed of a copy: 1 of 2, lowest 0.4' in text
    assert 'yes: forward and backward: at least 60% of the speed of a copy: 1 of 1' in text
    assert (
        '**no**: faster than compiled PyTorch: 1 of 2, lowest 0.95 (forward, stage 1, bfloat16, 65536 tokens)' in text
    )
    assert 'yes: 1 x 1280 x 1280: SAGA at least 1.76 x naive softmax: 4.00' in text
    assert 'yes: 1 x 1280 x 1280: SAGA at least 1.2 x fused softmax compiled: 1.25' in text
    assert '**no**: 1 x 1280 x 1280: memory of naive softmax at least 2.69 x that of SAGA: 1.00' in text
    assert '| 4096 | 10.0 | - | 100 | 81 % | 4.00 | 2.00 |' in text
    assert found.passed
    found.nets[0].wrong = True
    assert not found.passed
    written = {path.name for path in found.write(tmp_path)}
    assert written == {report.JSON, report.TABLES} == {path.name for path in tmp_path.iterdir()}
    assert len(json.loads((tmp_path / report.JSON).read_text())['cores']) == 6


def test_wrong_kernels_are_named():
    checks = [check.Check('head size 64, 1 tokens', 'float32', 1e-7, 1e-3, 1e-5)]
    table = report.check_table(checks)
    assert 'WRONG' in table and 'float32, head size 64, 1 tokens: 1.0e-07, 1.0e-03' in table


def test_needs_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SagaError, match='CUDA GPU'):
        run.run(['check'], tmp_path)
    with pytest.raises(SagaError, match='--parts speed'):
        run.run(['speed'], tmp_path)
