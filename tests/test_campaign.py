"""The campaign's own parts: how outcomes are told apart, and how files are changed."""

import os
import select
import signal
from pathlib import Path
from random import Random

import pytest

from campaign import process
from campaign.kills import _difference
from campaign.malformed import Change, draw_change
from campaign.process import Result, Running
from campaign.tally import Tally
from campaign.world import photograph
from saga_mm.errors import SagaError


def result(status: int | None, output: str = '') -> Result:
    return Result(['tool'], status, output, 0.1)


@pytest.mark.parametrize(
    ('status', 'output', 'outcome'),
    [
        (0, '1 done', 'right'),
        (2, 'error: no such file', 'clear error'),
        (2, '', 'silent'),
        (1, 'Traceback (most recent call last):\n  File "a"\nValueError: b', 'traceback'),
        (0, 'Exception ignored in: <x>\nTraceback (most recent call last):', 'traceback'),
        (-signal.SIGSEGV, '', 'crash'),
        (None, '', 'hang'),
    ],
)
def test_outcomes_are_told_apart(status, output, outcome):
    assert result(status, output).outcome == outcome


def test_a_process_that_takes_too_long_hangs_and_is_ended():
    source, sink = os.pipe()
    os.set_blocking(source, False)
    number = os.fork()
    if not number:
        os.setsid()
        # whatever becomes of the test
        signal.alarm(60)
        os.write(sink, b'started')
        signal.pause()
    os.close(sink)
    # a process that has no group of its own yet would not be found
    select.select([source], [], [], 60)
    running = Running(['tool'], number, source, limit=0.2)
    ended = running.wait()
    assert ended.outcome == 'hang' and ended.output == 'started'
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_the_table_counts_and_failures_are_kept(tmp_path: Path, capsys):
    tally = Tally(tmp_path / 'cases.json')
    disk, kills = next(tally.jobs('disk', 1)), next(tally.jobs('kills', 1))
    disk.add('a', 'right')
    disk.add('b', 'silent', 'half a file')
    kills.add('c', 'clear error')
    assert not tally.cases
    disk.close()
    kills.close()
    tally.took('disk', 90)
    rows = [line.split() for line in tally.table().splitlines()]
    assert rows[-1] == ['all', '3', '1', '1', '0', '0', '0', '1', '1.5']
    assert tally.failures == [('disk', 'b', 'silent', 'half a file')] and 'half a file' in capsys.readouterr().err
    with pytest.raises(ValueError, match='fine'):
        disk.add('d', 'fine')


def test_a_resumed_campaign_does_what_is_left_and_what_went_wrong(tmp_path: Path):
    facts, drawn = {'seed': 3}, {}
    first = Tally(tmp_path / 'out/cases.json', seed=3)
    first.begin(facts, resumes=True)
    for job in first.jobs('disk', 4):
        drawn[job.number] = job.drawn.random()
        job.add(f'case {job.number}', 'silent' if job.number == 1 else 'right')
        if job.number == 3:
            break
        job.close()
    first.took('disk', 60)
    again = Tally(first.file, seed=3)
    again.begin(facts, resumes=True)
    assert [case[1] for case in again.cases] == ['case 0', 'case 2'] and again.seconds == {'disk': 60}
    left = list(again.jobs('disk', 5))
    assert [job.number for job in left] == [1, 3, 4]
    assert [job.drawn.random() for job in left[:2]] == [drawn[1], drawn[3]]
    again.minutes = 0
    assert not list(again.jobs('disk', 5)) and again.is_stopped
    with pytest.raises(SagaError, match='another --out'):
        Tally(first.file).begin({'seed': 4}, resumes=True)
    Tally(first.file).begin({'seed': 4}, resumes=False)
    assert first.file.read_text().splitlines() == ['{"seed": 4}']


def test_a_job_closes_when_its_steps_are_done():
    tally = Tally()
    job = next(tally.jobs('kills', 1))

    def steps():
        result = yield 'started'
        job.add(result, 'right')

    running = job.closing(steps())
    assert next(running) == 'started' and not tally.cases
    with pytest.raises(StopIteration):
        running.send('ended')
    assert [case[1] for case in tally.cases] == ['ended'] and ('kills', 0) in tally.finished


def test_what_runs_is_ended_with_the_campaign(monkeypatch):
    source, sink = os.pipe()
    os.set_blocking(source, False)
    number = os.fork()
    if not number:
        os.setsid()
        signal.pause()
    os.close(sink)
    monkeypatch.setattr(process, '_running', {Running(['tool'], number, source)})
    process.end_all()
    assert not process._running
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_changes_repeat_with_their_seed_and_change_the_file():
    content = photograph(9, 7).tobytes()
    changes = [[draw_change(Random(seed), len(content)) for seed in range(20)] for _ in range(2)]
    assert changes[0] == changes[1] and {change.kind for change in changes[0]} == {'flip', 'cut'}
    assert all(change.of(content) != content for change in changes[0])
    assert Change('flip', 9).of(b'\0\0') == b'\0\2' and Change('cut', 1).of(b'ab') == b'a'


def test_states_of_trainings_are_compared_to_the_bit():
    import torch

    first = {'state_dict': {'w': torch.tensor([1.0, 2.0])}, 'meta': {'iter': 3, 'time': 'a'}, 'log': [1, float('nan')]}
    same = {'state_dict': {'w': torch.tensor([1.0, 2.0])}, 'meta': {'iter': 3, 'time': 'b'}, 'log': [1, float('nan')]}
    assert _difference(first, same, 'x') == ''
    same['state_dict']['w'][1] = torch.nextafter(torch.tensor(2.0), torch.tensor(3.0))
    assert 'state_dict.w' in _difference(first, same, 'x')
    assert 'other' in _difference(first, {**first, 'other': 1}, 'x')
