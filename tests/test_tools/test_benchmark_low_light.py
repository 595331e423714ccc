import json

import pytest


@pytest.mark.slow
def test_as_a_user_runs_it(tmp_path, start_tool):
    words = ('--sizes', '96x64', '--models', 'retinexformer,saga_unet_tiny', '--repeats', 1, '--out', 'cost')
    tool = start_tool('benchmark_low_light.py', *words, cwd=tmp_path)
    out, err = tool.communicate(timeout=280)
    assert tool.returncode == 0 and 'Traceback' not in err
    leader, tiny = json.loads((tmp_path / 'cost' / 'cost.json').read_text())['rows']
    assert leader['model'] == 'retinexformer' and leader['parameters'] == 1_605_701 and leader['size'] == [96, 64]
    assert leader['macs'] > 10 * tiny['macs'] and leader['live_bytes'] > 2 * tiny['live_bytes']
    assert all(len(row[key]) == 1 for row in (leader, tiny) for key in ('seconds', 'peak_bytes'))
    # a third of what the trace counts, for what the allocator has kept from the first image
    assert leader['seconds'][0] > 0 and leader['peak_bytes'][0] > leader['live_bytes'] / 3
    assert (tmp_path / 'cost' / 'cost.md').read_text() in out and '| 96 x 64 | saga_unet_tiny | 0.1' in out
    assert 'measuring' in err and '2/2' in err and (tmp_path / 'cost' / 'cost.png').stat().st_size > 5000


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('--sizes', '400'), '--sizes 400: is no size; write height x width in pixels, for example 400x608'),
        (('--models', 'zero_dce'), '--models zero_dce: is none of retinexformer, saga_unet, saga_unet_tiny'),
        (('--repeats', '0'), '--repeats 0: must be at least 1'),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, run_here, words, said):
    monkeypatch.chdir(tmp_path)
    assert run_here('benchmark_low_light.py', *words) == ('', f'error: {said}\n', 2)
