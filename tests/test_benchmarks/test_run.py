"""A run from options to files; nothing here depends on how fast the machine is."""

import json

import pytest
import torch

from benchmarks import run as runs
from benchmarks.cases import Case
from benchmarks.gate import check
from benchmarks.memory import run_here
from benchmarks.run import run
from saga_mm.errors import SagaError


def stored(options) -> dict:
    return json.loads((options.folder / 'benchmark.json').read_text())


def test_figures_of_each_subject(quick, capsys):
    options = quick(sizes='64,96x64')
    assert run(options) == 0
    found = stored(options)
    rows = found['rows']
    assert [(r['case']['part'], r['case']['size'], r['case']['name']) for r in rows] == [
        (f'{kind} stage 1', size, name)
        for kind in ('core', 'layer')
        for size in ([64, 64], [96, 64])
        for name in ('fused', 'saga')
    ]
    assert all(len(r['samples']) == 2 and min(r['samples']) > 0 and r['warm_up'] > 0 for r in rows)
    assert all(r['faster'].keys() == {'fused'} and r['floors']['bytes'] > 0 for r in rows)
    assert all(r['peak_bytes'] is None and r['ceilings']['rate'] > 0 for r in rows)
    assert not found['interrupted'] and found['failed'] == [] and found['machine']['threads'] >= 1
    printed = capsys.readouterr().out
    assert '### layer stage 1, 96 x 64' in printed and 'time.png' in printed.splitlines()[-1]


def test_forward_and_backward(quick):
    options = quick(backward=True, dtype='bfloat16', only='saga')
    assert run(options) == 0
    assert all(len(r['samples']) == 2 and r['case']['backward'] for r in stored(options)['rows'])


def test_what_is_wrong_gets_no_figure(quick, monkeypatch, capsys):
    monkeypatch.setattr(runs, 'check', lambda case: 'wrong: just so' if case.name == 'saga' else check(case))
    options = quick()
    assert run(options) == 1
    found = stored(options)
    assert {r['case']['name'] for r in found['rows']} == {'fused'}
    assert [(f['part'], f['name'], f['reason']) for f in found['failed']] == [
        ('core stage 1', 'saga', 'wrong: just so'),
        ('layer stage 1', 'saga', 'wrong: just so'),
    ]
    assert 'core stage 1 saga: wrong: just so' in capsys.readouterr().err


@pytest.fixture
def compiled(monkeypatch):
    """Stands in for the compiler: a function of the module."""

    def use(change):
        monkeypatch.setattr('benchmarks.steps.compile_fixed', change)

    return use


def test_compiled_is_held_against_eager(quick, compiled, capsys):
    compiled(lambda module: lambda *inputs: module(*inputs) + 0.01)
    options = quick(compile=True, only='fused')
    assert run(options) == 1
    rows = stored(options)['rows']
    found = [(r['case']['compiled'], len(r['samples']), r['wrong']) for r in rows]
    assert found == [(False, 2, False), (True, 0, True)] * 2
    assert 'against its eager form' in rows[1]['skipped']
    assert 'fused (compiled) is left out: wrong' in capsys.readouterr().err


def test_what_does_not_compile_is_left_out(quick, compiled):
    def fails(module):
        def call(*inputs):
            raise RuntimeError('no compiler\nfound')

        return call

    compiled(fails)
    options = quick(compile=True, only='fused')
    assert run(options) == 0
    rows = stored(options)['rows']
    assert rows[1]['skipped'] == 'does not run: no compiler' and len(rows[0]['samples']) == 2


def test_compiled_is_compared_with_eager(quick, compiled):
    compiled(lambda module: module)
    options = quick(compile=True, only='fused')
    assert run(options) == 0
    rows = [r for r in stored(options)['rows'] if r['case']['compiled']]
    assert [len(r['samples']) for r in rows] == [2] * 2 and all(r['faster'].keys() == {'fused'} for r in rows)


@pytest.mark.slow
def test_compiled_for_real(quick):
    # has no core, only a layer
    options = quick(compile=True, only='mha')
    assert run(options) == 0
    _, row = stored(options)['rows']
    if 'does not run' in row['skipped']:
        pytest.skip(row['skipped'])
    assert row['case']['compiled'] and len(row['samples']) == 2


def test_too_large_for_the_memory(quick, monkeypatch):
    monkeypatch.setattr(runs, 'available_bytes', lambda device: 150_000)
    options = quick(only='fused,linear', sizes='64,16')
    assert run(options) == 0
    cores = [row for row in stored(options)['rows'] if row['case']['part'].startswith('core')]
    skipped = {(row['case']['size'][0], row['case']['name']): row['skipped'] for row in cores}
    assert skipped[64, 'linear'].startswith('needs 0.0 GiB of the 0.0')
    assert skipped[16, 'fused'] == ''


def test_an_interruption_leaves_what_was_measured(quick, monkeypatch, capsys):
    asked = []

    def peak(case, threads):
        asked.append((case.label, threads))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return 1000

    monkeypatch.setattr(runs, 'measure_peak', peak)
    options = quick(memory=True)
    with pytest.raises(KeyboardInterrupt):
        run(options)
    assert asked == [('fused', torch.get_num_threads()), ('saga', torch.get_num_threads())]
    found = stored(options)
    assert found['interrupted'] and [r['peak_bytes'] for r in found['rows']] == [1000, None]
    assert [len(r['samples']) for r in found['rows']] == [2, 2]
    assert 'Interrupted' in (options.folder / 'benchmark.md').read_text() and 'written:' in capsys.readouterr().out


def test_memory_that_cannot_be_measured(quick, monkeypatch, capsys):
    def peak(case, threads):
        raise SagaError('fused at 64 x 64: ended by SIGKILL')

    monkeypatch.setattr(runs, 'measure_peak', peak)
    options = quick(memory=True, only='fused')
    assert run(options) == 0
    assert 'memory is not known: fused at 64 x 64: ended by SIGKILL' in capsys.readouterr().err
    assert stored(options)['rows'][0]['peak_bytes'] is None


def test_trace_runs_nothing(quick, capsys):
    options = quick(trace=True, sizes='64,4096', layer='op')
    assert run(options) == 0
    title = '### core stage 1: MiB alive at once, by trace'
    assert title in (options.folder / 'benchmark.md').read_text() and title in capsys.readouterr().out
    found = stored(options)
    assert all(r['live_bytes'] and not r['samples'] and not r['warm_up'] and not r['ceilings'] for r in found['rows'])


def test_threads(quick):
    before = torch.get_num_threads()
    try:
        options = quick(threads=before + 1, trace=True)
        run(options)
        assert stored(options)['machine']['threads'] == before + 1
    finally:
        torch.set_num_threads(before)


def test_nothing_runs_if_an_option_is_wrong(quick, tmp_path):
    with pytest.raises(SagaError, match='--batch-size 0'):
        run(quick(batch_size=0))
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'file').touch()
    with pytest.raises(SagaError, match=r'file: cannot be made'):
        run(quick(out=tmp_path / 'file'))


def test_the_process_for_memory_prints_a_peak(capsys):
    case = Case('op', 'layer stage 1', 'saga', (64, 64), backward=True)
    run_here(vars(case), torch.get_num_threads())
    assert json.loads(capsys.readouterr().out)['peak_bytes'] >= 0
