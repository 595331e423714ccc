import json

import pytest

from benchmarks import low_light_cost_report
from benchmarks.low_light_cost import Row
from benchmarks.low_light_cost_report import cost_table, report_costs
from saga_mm.errors import SagaError

GIB = 2**30
ROWS = [
    Row('leader', (8, 9), 1_605_701, 16_657_000_000, GIB, [4.0, 8.0, 5.0], [3 * GIB, GIB, 2 * GIB]),
    Row('ours', (8, 9), 200_000, 1_665_700_000, GIB // 8, [1.0, 0.5, 0.75], [GIB // 2] * 3),
    Row('leader', (64, 64), 1_605_701, 100, GIB, [2.0], [0]),
    Row('ours', (64, 64), 200_000, 25, GIB, [1.0], [0]),
]


def test_medians_spread_and_ratios():
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in cost_table(ROWS).splitlines()]
    header, _, leader, ours, _, alone = lines
    assert header[:3] == ['size', 'model', 'parameters'] and header[6] == 'seconds' and header[10] == 'seconds, ratio'
    assert leader[:5] == ['8 x 9', 'leader', '1.606 M', '16.7', '1']
    assert leader[5:7] == ['2 (1 - 3)', '5 (4 - 8)'] and leader[7:] == ['1.000'] * 4
    assert ours[5:7] == ['0.5 (0.5 - 0.5)', '0.75 (0.5 - 1)']
    assert ours[7:] == ['0.100', '0.125', '0.250', '0.150']
    # one run has no spread; each size has its own leader; a system that does not tell the memory gives no ratio
    assert alone[:2] == ['64 x 64', 'ours'] and alone[5:] == ['0', '1', '0.250', '1.000', '-', '0.500']


def test_all_is_written(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(low_light_cost_report, 'measure', lambda *args: asked.append(args) or ROWS)
    out = tmp_path / 'deep' / 'out'
    assert report_costs('8x9,64x64', 'leader, ours,leader', 3, out) == ROWS
    assert [each[:3] for each in asked] == [(['leader', 'ours'], [(8, 9), (64, 64)], 3)]
    stored = json.loads((out / 'cost.json').read_text())
    assert stored['rows'][0]['seconds'] == [4, 8, 5] and stored['rows'][1]['size'] == [8, 9] and stored['repeats'] == 3
    assert {'processor', 'threads', 'load', 'torch', 'saga_mm'} <= set(stored['machine'])
    table = (out / 'cost.md').read_text()
    assert cost_table(ROWS) in table and 'Ratios are to leader.' in table and table in capsys.readouterr().out
    assert (out / 'cost.png').read_bytes().startswith(b'\x89PNG')


def test_an_interruption_leaves_what_was_measured(tmp_path, monkeypatch):
    def interrupted(names, sizes, repeats, keep):
        keep(ROWS[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(low_light_cost_report, 'measure', interrupted)
    with pytest.raises(KeyboardInterrupt):
        report_costs('8x9', 'leader', 3, tmp_path)
    assert json.loads((tmp_path / 'cost.json').read_text())['rows'][0]['seconds'] == [4, 8, 5]


def test_a_folder_that_cannot_be_made_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(low_light_cost_report, 'measure', lambda *args: pytest.fail('it ran'))
    (tmp_path / 'file').touch()
    with pytest.raises(SagaError, match=r'--out .*file'):
        report_costs('8x9', 'leader', 3, tmp_path / 'file')
