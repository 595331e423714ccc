"""What is written of given figures."""

import json
from dataclasses import replace

import pytest

from benchmarks.cases import Case, Ceilings, ResultRow
from benchmarks.options import Options
from benchmarks.plots import plot
from benchmarks.progress import BenchmarkProgress, readable
from benchmarks.report import Report, floors, trace_tables

MACHINE = {'processor': 'Abacus', 'threads': 2, 'cores': 4, 'load': 0.5, 'torch': '2.9', 'saga_mm': '1'}
MIB = 2**20
CEILINGS = Ceilings(1e9, 2e9, 0.25)


def row(name: str, samples, size=(64, 64), part='pvt_tiny', compiled=False, backward=False, **found) -> ResultRow:
    case = Case('backbone', part, name, size, compiled=compiled, backward=backward)
    usual = dict(macs=4 * 10**8, floor_bytes=10**8, live_bytes=3 * MIB, peak_bytes=5 * MIB, ceilings=CEILINGS)
    return ResultRow(case, samples=samples, **{**usual, **found})


ROWS = [
    row('naive', [4.0, 8.0]),
    row('fused', [2.0, 2.0, 4.0]),
    row('fused', [1.0, 1.0, 1.0], compiled=True),
    row('saga', [1.0, 2.0, 4.0]),
    row('saga', [0.25, 0.5, 0.5], compiled=True),
    row('rala', [], skipped='needs 9.0 GiB of the 8.0 that are free'),
]


def report(rows, **options) -> Report:
    return Report(Options('backbone', **options), MACHINE, rows)


def cells(table: str) -> dict[str, dict[str, str]]:
    lines = [[c.strip() for c in line.strip('|').split('|')] for line in table.splitlines() if line.startswith('|')]
    return {line[0]: dict(zip(lines[0], line)) for line in lines[2:]}


def test_table():
    table = report(ROWS).table(ROWS)
    assert table.startswith('### pvt_tiny, 64 x 64\n')
    assert table.endswith('Copy 1.0 GB/s, matrix product 2.0 GMAC/s, load 0.2.')
    found = cells(table)
    assert found['saga']['ms'] == '2000 (1400 - 3200)' and found['saga']['runs'] == '3'
    # round by round, eager against eager and compiled against compiled
    assert found['saga']['x fused'] == '1 (1 - 1.6)' and found['saga']['x naive'] == '4 (4 - 4)'
    assert found['saga (compiled)']['x fused'] == '2 (2 - 3.2)' and found['saga (compiled)']['x naive'] == '-'
    assert found['fused']['x fused'] == '1 (1 - 1)'
    # 0.1 s of bytes and 0.2 s of arithmetic in 2 s
    assert found['saga']['of byte floor'] == '5 %' and found['saga']['of arithmetic'] == '10 %'
    assert found['saga']['live MiB'] == '3.0' and found['saga']['peak MiB'] == '5.0' and found['saga']['GMAC'] == '0.4'
    assert found['saga (compiled)']['live MiB'] == '-'
    assert found['rala']['ms'] == 'needs 9.0 GiB of the 8.0 that are free' and found['rala']['x fused'] == '-'
    assert 'with_cp MiB' not in found['saga']


def test_training_shows_checkpoints():
    rows = [row('saga', [1.0], backward=True, checkpointed_bytes=2 * MIB)]
    assert cells(report(rows, backward=True).table(rows))['saga']['with_cp MiB'] == '2.0'


def test_ratios_are_to_the_first_if_no_reference_runs():
    rows = [row('linear', [4.0]), row('saga', [2.0])]
    assert cells(report(rows).table(rows))['saga']['x linear'] == '2 (2 - 2)'


def test_configs_are_named_shortly():
    rows = [ResultRow(Case('model', '', f'coco/{name}.py', (8, 8)), samples=[1.0]) for name in 'ab']
    assert cells(report(rows).table(rows))['b']['x a'] == '1 (1 - 1)'


def test_floors():
    assert floors(ROWS[1]) == {'bytes': pytest.approx(0.05), 'macs': pytest.approx(0.1)}
    assert floors(ROWS[-1]) == {} and floors(replace(ROWS[1], ceilings=None)) == {}


def test_files(tmp_path):
    rows = [*ROWS, row('fused', [9.0], size=(96, 64)), row('saga', [3.0], size=(96, 64))]
    found = report(rows, out=tmp_path)
    found.failed[Case('backbone', 'pvt_tiny', 'mha', (64, 64))] = 'wrong: relative error 1.0e+00'
    found.interrupted = True
    json_file, text_file = found.write(tmp_path)
    stored, text = json.loads(json_file.read_text()), text_file.read_text()
    assert stored['interrupted'] and stored['machine'] == MACHINE and stored['options']['out'] == str(tmp_path)
    assert stored['failed'][0]['name'] == 'mha' and len(stored['rows']) == 8
    saga = stored['rows'][3]
    assert saga['samples'] == [1, 2, 4] and saga['seconds']['median'] == 2 and saga['faster']['fused']['median'] == 1
    assert saga['floors'] == floors(ROWS[3]) and saga['case']['size'] == [64, 64] and saga['peak_bytes'] == 5 * MIB
    assert stored['rows'][5]['seconds'] is None and stored['rows'][7]['faster']['fused']['median'] == 3
    assert 'Abacus, 2 threads on 4 cores, load before the start 0.5; torch 2.9' in text
    assert 'No figure for pvt_tiny mha: wrong: relative error' in text and 'Interrupted' in text
    assert text.startswith('Backbone, inference, batch 1, float32, cpu.') and '### pvt_tiny, 96 x 64' in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ['benchmark.json', 'benchmark.md']


def test_trace_tables():
    rows = [
        row(
            name,
            [],
            size=size,
            part=part,
            live_bytes=mib * MIB,
            checkpointed_bytes=mib * MIB // 2 if part == 'b' else None,
        )
        for part, size, name, mib in (
            ('a', (8, 8), 'fused', 2),
            ('a', (8, 8), 'saga', 1),
            ('a', (8, 16), 'fused', 8),
            ('b', (8, 8), 'fused', 4),
        )
    ]
    first, second, third = trace_tables(rows).split('### ')[1:]
    assert first.startswith('a: MiB alive at once, by trace')
    assert cells(first) == {
        '8 x 8': {'size': '8 x 8', 'fused': '2.0', 'saga': '1.0'},
        '8 x 16': {'size': '8 x 16', 'fused': '8.0', 'saga': '-'},
    }
    assert cells(second)['8 x 8']['fused'] == '4.0'
    assert third.startswith('b: MiB alive at once with with_cp') and cells(third)['8 x 8']['fused'] == '2.0'


def test_plots(tmp_path):
    rows = [replace(r, case=replace(r.case, part=part)) for part in ('core stage 1', 'layer stage 1') for r in ROWS]
    files = plot(rows, tmp_path)
    assert [file.name for file in files] == ['time.png', 'memory.png']
    assert all(file.read_bytes().startswith(b'\x89PNG') and file.stat().st_size > 5000 for file in files)
    assert [file.name for file in plot([row('saga', [])], tmp_path)] == ['memory.png']
    assert plot([row('saga', [], live_bytes=0)], tmp_path) == []


def test_time_left():
    rows = [row('fused', [], macs=10), row('saga', [], macs=10), row('saga', [], macs=30, size=(96, 64))]
    progress = BenchmarkProgress(rows, 3)
    assert progress.seconds_left is None
    progress.ran(rows[0].case, 2.0)
    # 2 more runs, 3 at the same pace, and 3 of thrice the work
    assert progress.seconds_left == pytest.approx(2 * 2 + 3 * 2 + 3 * 6)
    progress.ran(rows[1].case, 1.0)
    assert progress.seconds_left == pytest.approx(2 * 2 + 2 * 1 + 3 * 3)
    progress.dropped(rows[2].case)
    assert progress.seconds_left == pytest.approx(6)
    for _ in range(4):
        progress.ran(rows[0].case, 2.0)
    assert progress.seconds_left == pytest.approx(2)
    assert [readable(s) for s in (3.4, 100, 7200)] == ['3 s', '2 min', '2.0 h']


def test_progress_in_a_file_and_on_a_terminal(capsys, monkeypatch):
    progress = BenchmarkProgress([row('saga', [])], 2)
    progress.say('first')
    progress.say('at once')
    progress.clear()
    assert capsys.readouterr().err == 'first\n'
    progress = BenchmarkProgress([row('saga', [])], 2)
    monkeypatch.setattr(progress.stream, 'isatty', lambda: True, raising=False)
    progress.ran(row('saga', []).case, 5.0)
    progress.say('second')
    progress.clear()
    written = capsys.readouterr().err
    assert written.startswith('\rsecond, 5 s left ') and written.endswith('\r\033[K')
