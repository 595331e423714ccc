"""Files divided among processes that are killed at any time: nothing is lost, nothing is done twice without need."""

import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from saga_mm.parallel import SharedWork, this_process

NAMES = [f'picture {i}.png' for i in range(120)]
WORLD = 4


def start(index: int, folder: Path, seconds: float) -> int:
    child = os.fork()
    if child:
        return child

    def do(name: str) -> dict:
        time.sleep(seconds)
        with (folder / 'log').open('a') as log:
            log.write(f'{index} {name}\n')
        return {'by': index}

    try:
        SharedWork(folder, 'key').run(NAMES, do, (index, WORLD))
    finally:
        os._exit(0)


def log_of(folder: Path) -> Counter:
    return Counter(line.split(' ', 1)[1] for line in (folder / 'log').read_text().splitlines())


def refuse(name: str) -> dict:
    raise AssertionError(f'{name} is done again')


def test_everything_is_done_once_by_all(tmp_path):
    for child in [start(index, tmp_path, 0.02) for index in range(WORLD)]:
        os.waitpid(child, 0)
    assert log_of(tmp_path) == Counter(NAMES)
    records = SharedWork(tmp_path, 'key').run(NAMES, refuse, (0, 1))
    assert list(records) == NAMES and len({record['by'] for record in records.values()}) == WORLD


def test_what_killed_processes_leave_is_done_by_others(tmp_path):
    chance, kills = random.Random(0), 20
    children = {index: start(index, tmp_path, 0.02) for index in range(WORLD)}
    for _ in range(kills):
        time.sleep(chance.uniform(0, 0.05))
        index = chance.randrange(WORLD)
        os.kill(children[index], signal.SIGKILL)
        os.waitpid(children[index], 0)
        children[index] = start(index, tmp_path, 0.02)
    for child in children.values():
        os.waitpid(child, 0)
    assert list(SharedWork(tmp_path, 'key').run(NAMES, refuse, (0, 1))) == NAMES
    log = log_of(tmp_path)
    # a picture is done once more where its process was killed before it could say so
    assert set(log) == set(NAMES) and log.total() <= len(NAMES) + kills


def test_one_alone_and_another_key(tmp_path):
    done: list[str] = []
    counts: list[int] = []

    def do(name: str) -> dict:
        done.append(name)
        return {}

    SharedWork(tmp_path, 'one').run(NAMES[:3], do, (0, 1), counts.append)
    SharedWork(tmp_path, 'one').run(NAMES[:4], do, (0, 1))
    assert done == NAMES[:4] and counts == [1, 2, 3]
    SharedWork(tmp_path, 'other').run(NAMES[:1], do, (0, 1))
    assert done[4:] == NAMES[:1]


def test_a_damaged_record_counts_for_nothing(tmp_path):
    SharedWork(tmp_path, 'key').run(NAMES[:1], lambda name: {'a': 1}, (0, 1))
    (record,) = (tmp_path / '.saga_mm-work').glob('*.json')
    for damaged in ('', '[]', '{"key": 1', json.dumps({'key': 'other', 'name': NAMES[0], 'record': {}})):
        record.write_text(damaged)
        assert SharedWork(tmp_path, 'key').run(NAMES[:1], lambda name: {'a': 2}, (0, 1)) == {NAMES[0]: {'a': 2}}


def test_records_are_removed_when_all_processes_have_finished(tmp_path, monkeypatch):
    def finish(index: int, wait: float = 30.0) -> None:
        monkeypatch.setattr('saga_mm.parallel.claims.LONGEST_END', wait)
        work = SharedWork(tmp_path, 'key')
        work.run(NAMES[:2], lambda name: {}, (index, 2))
        work.finish((index, 2))

    # the other process has not finished
    finish(0, wait=0)
    assert (tmp_path / '.saga_mm-work').is_dir()
    finish(1)
    assert SharedWork(tmp_path, 'key').run(NAMES[:2], refuse, (1, 2))
    finish(0)
    assert not list(tmp_path.iterdir())
    # a mark of another start counts for nothing
    finish(1)
    monkeypatch.setenv('MASTER_PORT', '12345')
    finish(0, wait=0)
    assert (tmp_path / '.saga_mm-work').is_dir()


@pytest.mark.parametrize(
    ('variables', 'expected'),
    [
        ({}, (0, 1)),
        ({'RANK': '3', 'WORLD_SIZE': '4'}, (3, 4)),
        ({'SLURM_PROCID': '2', 'SLURM_STEP_NUM_TASKS': '8', 'SLURM_LOCALID': '1'}, (2, 8)),
        # a batch script asks for tasks that srun has not started
        ({'SLURM_PROCID': '0', 'SLURM_NTASKS': '8', 'SLURM_STEP_NUM_TASKS': '1'}, (0, 1)),
    ],
)
def test_which_process_this_is(variables, expected, monkeypatch):
    monkeypatch.setattr(os, 'environ', variables)
    assert this_process() == expected


@pytest.mark.parametrize(
    ('nodes', 'first'),
    [('gpu07', 'gpu07'), ('gpu[03-05,9],x1', 'gpu03'), ('n1,n2', 'n1'), ('r[2,4]-gpu', 'r2-gpu'), ('', '127.0.0.1')],
)
def test_where_processes_of_slurm_meet(nodes, first, monkeypatch):
    told = {'SLURM_PROCID': '1', 'SLURM_STEP_NUM_TASKS': '4', 'SLURM_LOCALID': '1', 'SLURM_JOB_ID': '123456'}
    monkeypatch.setattr(os, 'environ', {**told, 'SLURM_STEP_NODELIST': nodes})
    assert this_process() == (1, 4)
    assert (os.environ['MASTER_ADDR'], os.environ['MASTER_PORT'], os.environ['LOCAL_RANK']) == (first, '23456', '1')


def test_the_module_loads_where_a_system_has_no_posix(monkeypatch):
    monkeypatch.setitem(sys.modules, 'fcntl', None)
    spec = importlib.util.find_spec(SharedWork.__module__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.fcntl is None and module.SharedWork is not SharedWork
