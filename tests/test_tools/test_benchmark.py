import json

import pytest


@pytest.mark.slow
def test_time_and_memory(tmp_path, run_here):
    words = ('backbone', '--sizes', '64x96', '--backbones', 'pvt_v2_b0', '--only', 'saga')
    words = (*words, '--repeats', 2, '--min-seconds', 0, '--threads', 1, '--out', tmp_path / 'found')
    # memory is measured in processes of their own
    out, err, status = run_here('benchmark.py', *words)
    assert not status and 'Traceback' not in err
    found = json.loads((tmp_path / 'found' / 'benchmark.json').read_text())
    (saga,) = found['rows']
    assert len(saga['samples']) == 2 and found['machine']['threads'] == 1
    # some of what the trace counts is left from the run before
    assert saga['peak_bytes'] > saga['live_bytes'] / 4
    assert '### pvt_v2_b0, 64 x 96' in out and '| saga |' in out
    assert (tmp_path / 'found' / 'benchmark.md').exists() and (tmp_path / 'found' / 'time.png').stat().st_size > 5000


def test_a_trace(tmp_path, run_here):
    words = ('backbone', '--trace', '--sizes', '64x96', '--backbones', 'pvt_v2_b0', '--only', 'naive,fused')
    out, _, status = run_here('benchmark.py', *words, '--out', tmp_path / 'found')
    naive, fused = json.loads((tmp_path / 'found' / 'benchmark.json').read_text())['rows']
    assert not status and 'MiB alive at once, by trace' in out
    assert naive['macs'] == fused['macs'] and naive['live_bytes'] >= fused['live_bytes'] > 0


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('op', '--sizes', '4x'), '--sizes 4x: is no size; write height x width in pixels, for example 400x608'),
        (('backbone', '--only', 'saga:gates'), '--only saga:gates: options are written as name:option=value'),
        (('enhancer', '--repeats', '0'), '--repeats 0: must be at least 1'),
        (('model', '--only', 'no_such.py', '--sizes', '64'), 'config no_such.py: no such file'),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, run_here, words, said):
    monkeypatch.chdir(tmp_path)
    _, err, status = run_here('benchmark.py', *words)
    assert status == 2 and err.splitlines()[-1].startswith(f'error: {said}')
