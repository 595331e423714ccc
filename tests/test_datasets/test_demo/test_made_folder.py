import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from saga_mm.datasets.demo.made_folder import is_complete, make_once
from saga_mm.errors import SagaError

META = {'generator': 'test data', 'version': 1, 'arguments': {'number': 2}}
OTHER = {**META, 'version': 2}


def fill(folder: Path) -> None:
    (folder / 'sub').mkdir()
    for name in ('a.txt', 'sub/b.txt'):
        (folder / name).write_text(name)


def forbid(folder: Path) -> None:
    raise AssertionError('made twice')


def make(root: Path, meta: dict = META, work=fill) -> Path:
    return make_once(root, meta, work, announce=False)


def test_second_call_finds_it(tmp_path: Path):
    root = make(tmp_path / 'deep' / 'data')
    assert (root / 'sub' / 'b.txt').read_text() == 'sub/b.txt'
    assert is_complete(root, META)
    make(root, work=forbid)
    assert [path.name for path in root.parent.iterdir()] == ['data'], 'nothing may stay beside it'


def test_other_settings_or_a_lost_file_make_it_anew(tmp_path: Path, capsys: pytest.CaptureFixture):
    root = make(tmp_path / 'data')
    make_once(root, OTHER, fill)
    assert 'other settings' in capsys.readouterr().out
    assert is_complete(root, OTHER)
    (root / 'a.txt').unlink()
    assert not is_complete(root, OTHER)
    make(root, OTHER)
    assert is_complete(root, OTHER)
    assert os.listdir(tmp_path) == ['data']


def test_an_empty_folder_is_filled_and_a_link_is_kept(tmp_path: Path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'data').symlink_to(tmp_path / 'disk')
    make(tmp_path / 'data')
    assert (tmp_path / 'data').is_symlink()
    assert is_complete(tmp_path / 'disk', META)


def test_what_was_not_made_here_is_left_alone(tmp_path: Path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(SagaError, match='is a file'):
        make(tmp_path / 'file')

    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('x')
    with pytest.raises(SagaError, match='left alone'):
        make(tmp_path / 'mine')
    assert (tmp_path / 'mine' / 'thesis.txt').read_text() == 'x'

    foreign = tmp_path / 'foreign'
    foreign.mkdir()
    (foreign / 'meta.json').write_text('{"generator": "somebody else"}')
    with pytest.raises(SagaError, match='left alone'):
        make(foreign)

    root = make(tmp_path / 'data')
    (root / 'sub' / 'notes.txt').write_text('x')
    make(root, work=forbid)
    with pytest.raises(SagaError, match='left alone'):
        make(root, OTHER)
    assert (root / 'sub' / 'notes.txt').is_file()


def test_a_failure_leaves_the_old_data_and_no_rest(tmp_path: Path):
    root = make(tmp_path / 'data')
    with pytest.raises(AssertionError):
        make(root, OTHER, forbid)
    assert is_complete(root, META)
    assert os.listdir(tmp_path) == ['data']


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(SagaError, match=r'Cannot write .*data.*Choose another folder'):
        make(tmp_path / 'file' / 'data')


def _slow(folder: Path) -> None:
    fill(folder)
    (folder.parent / f'started-{os.getpid()}').touch()
    time.sleep(0.4)


def _make_slowly(root: Path) -> None:
    make(root, work=_slow)


def _hang(root: Path) -> None:
    make(root, work=lambda folder: (fill(folder), (root.parent / 'started').touch(), time.sleep(60)))


def test_of_two_processes_one_makes_it(tmp_path: Path):
    context = multiprocessing.get_context('fork')
    workers = [context.Process(target=_make_slowly, args=(tmp_path / 'data',)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert is_complete(tmp_path / 'data', META)
    assert len(list(tmp_path.glob('started-*'))) == 1


def test_without_locks_the_first_to_end_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fcntl = pytest.importorskip('fcntl')

    def refuse(*args: object) -> None:
        raise OSError('no locks on this file system')

    monkeypatch.setattr(fcntl, 'flock', refuse)
    root = tmp_path / 'data'

    def meanwhile(folder: Path) -> None:
        fill(folder)
        make(root)
        (root / 'first').touch()

    make(root, work=meanwhile)
    assert is_complete(root, META)
    assert (root / 'first').is_file()
    assert os.listdir(tmp_path) == ['data']


def test_a_killed_run_leaves_no_half_data(tmp_path: Path):
    root = tmp_path / 'data'
    worker = multiprocessing.get_context('fork').Process(target=_hang, args=(root,))
    worker.start()
    while not (tmp_path / 'started').exists():
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert not root.exists()
    assert list(tmp_path.glob('.data.tmp-*'))
    make(root)
    assert is_complete(root, META)
    assert not list(tmp_path.glob('.data.tmp-*'))
