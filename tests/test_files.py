import errno
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from PIL import Image

from saga_mm import files
from saga_mm.errors import SagaError
from saga_mm.files import (
    Draft,
    full_disk_named,
    is_draft,
    locked_folder,
    make_folder,
    remove_leftovers,
    write_file,
    write_image,
)

# a process that holds a lock or a draft until it is killed
HOLD = """
import sys, time
from saga_mm.files import Draft, locked_folder
folder = sys.argv[2]
with Draft(folder + '/a.txt') if sys.argv[1] == 'draft' else locked_folder(folder, 'busy'):
    print('holds', flush=True)
    time.sleep(100)
"""


@pytest.fixture(autouse=True)
def _not_swept(monkeypatch) -> None:
    """Each test is the first that writes into its folders."""
    monkeypatch.setattr(files, '_swept', set())


@pytest.fixture
def hold(tmp_path) -> Iterator:
    """Start a process that holds something in the test's folder."""
    processes = []

    def start(what: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, '-c', HOLD, what, str(tmp_path)], stdout=PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == 'holds\n'
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize('content', [b'new', 'new', lambda file: file.write(b'new')])
def test_a_file_is_replaced_at_once(tmp_path, content):
    path = tmp_path / 'deeper' / 'a.txt'
    write_file(path, content)
    write_file(path, content)
    assert path.read_bytes() == b'new' and names(path.parent) == ['a.txt']


def test_the_earlier_file_is_there_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with Draft(path) as draft:
        draft.temporary.write_text('new')
        assert path.read_text() == 'old' and is_draft(draft.temporary) and not is_draft(path)
    assert path.read_text() == 'new'
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path)
    assert path.read_text() == 'new' and names(tmp_path) == ['a.txt']


def _interrupted(path: Path) -> None:
    with Draft(path) as draft:
        draft.temporary.write_text('half')
        raise KeyboardInterrupt


def test_a_full_disk_is_named_and_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.txt'
    path.write_text('old')

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    words = rf'^{path}: could not be written \(No space left on device: /\S* has [\d.,]+ of [\d,]+ MB left\)$'
    with pytest.raises(SagaError, match=words):
        write_file(path, 'new')
    assert path.read_text() == 'old' and names(tmp_path) == ['a.txt']
    with pytest.raises(SagaError, match=words), full_disk_named(path):
        full(0)
    with pytest.raises(PermissionError), full_disk_named(path):
        raise PermissionError


@pytest.mark.skipif(sys.platform == 'win32', reason='there are no such limits')
def test_a_limit_in_the_middle_of_a_file(tmp_path):
    (tmp_path / 'a.bin').write_bytes(b'old')
    code = f"""
        import resource
        from saga_mm.files import write_file
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        write_file({str(tmp_path / 'a.bin')!r}, bytes(20_000))
    """
    run = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True)
    assert run.returncode == 1 and 'could not be written (File too large)' in run.stderr
    assert names(tmp_path) == ['a.bin'] and (tmp_path / 'a.bin').read_bytes() == b'old'


def test_what_cannot_be_replaced_is_refused_before_the_work(tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').touch()
    os.mkfifo(tmp_path / 'pipe')
    for path, words in (
        (tmp_path / 'folder', 'it is a folder'),
        (tmp_path / 'pipe', 'it is no regular file'),
        (Path(os.devnull), 'it is no regular file'),
        (tmp_path / 'file' / 'a.txt', 'is no folder'),
        (tmp_path / ('n' * 300), 'too long'),
    ):
        with pytest.raises(SagaError, match=words):
            Draft(path)
    assert names(tmp_path) == ['file', 'folder', 'pipe'] and Path(os.devnull).is_char_device()


def test_permissions_are_those_of_a_new_or_of_the_earlier_file(tmp_path):
    before = os.umask(0o027)
    try:
        write_file(tmp_path / 'new', 'x')
        (tmp_path / 'old').touch()
        (tmp_path / 'old').chmod(0o604)
        write_file(tmp_path / 'old', 'x')
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ('new', 'old')] == [0o640, 0o604]


def test_names_of_any_length_and_bytes(tmp_path):
    for name in ('n' * 255, 'caf\udce9.txt', 'ä' * 100):
        write_file(tmp_path / name, name)
        assert (tmp_path / name).is_file()
    assert (tmp_path / 'caf\udce9.txt').read_text() == r'caf\udce9.txt'


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path, hold):
    hold('draft')
    killed = hold('draft')
    (tmp_path / 'download.part').touch()
    (tmp_path / '.saga_mm-notes.part').touch()
    assert len(names(tmp_path)) == 4
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    remove_leftovers(tmp_path)
    left = [name for name in names(tmp_path) if is_draft(name)]
    # the other one is being written
    assert len(left) == 1 and {'download.part', '.saga_mm-notes.part'} < set(names(tmp_path))


def test_links_in_place_of_leftovers_lead_nowhere(tmp_path):
    (tmp_path / 'kept').touch()
    (tmp_path / f'{files.PREFIX}0123456789ab{files.SUFFIX}').symlink_to(tmp_path / 'kept')
    remove_leftovers(tmp_path)
    assert (tmp_path / 'kept').exists()


def test_two_write_the_same_file(tmp_path):
    first, second = Draft(tmp_path / 'a.txt'), Draft(tmp_path / 'a.txt')
    first.temporary.write_text('first')
    second.temporary.write_text('second')
    first.publish()
    assert (tmp_path / 'a.txt').read_text() == 'first'
    second.publish()
    assert (tmp_path / 'a.txt').read_text() == 'second' and names(tmp_path) == ['a.txt']


def test_pictures_by_their_ending(tmp_path):
    for name, kind in (('a.jpg', 'JPEG'), ('a.png', 'PNG'), ('a.tif', 'TIFF')):
        write_image(tmp_path / name, Image.new('RGB', (3, 2)).save)
        with Image.open(tmp_path / name) as image:
            assert image.format == kind


def test_a_folder_for_results(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert make_folder(Path('~/a/b')) == tmp_path / 'a' / 'b' and (tmp_path / 'a' / 'b').is_dir()
    (tmp_path / 'file').write_text('')
    # who makes one need not have been told by an option
    with pytest.raises(SagaError, match=rf'^{re.escape(str(tmp_path))}/file/c: cannot be made \(Not a directory\)'):
        make_folder(tmp_path / 'file' / 'c')


def test_a_folder_is_locked_as_long_as_its_process_lives(tmp_path, hold):
    process = hold('lock')
    with pytest.raises(SagaError, match='busy'), locked_folder(tmp_path, 'busy'):
        pass
    process.kill()
    process.wait()
    with locked_folder(tmp_path, 'busy'):
        assert names(tmp_path) == []
        # of one process too
        with pytest.raises(SagaError, match='busy'), locked_folder(tmp_path, 'busy'):
            pass
    with locked_folder(tmp_path / 'new', 'busy'):
        pass


def test_without_locks_an_error_of_what_is_done_stays_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'fcntl', None)
    with pytest.raises(FileNotFoundError, match='gone'), locked_folder(tmp_path, 'busy'):
        raise FileNotFoundError('gone')


def test_a_forked_process_does_not_hold_the_lock_on(tmp_path):
    with locked_folder(tmp_path, 'busy'):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        with locked_folder(tmp_path, 'busy'):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_forked_process_leaves_the_draft_of_its_parent(tmp_path):
    with Draft(tmp_path / 'a.txt') as draft:
        draft.temporary.write_text('new')
        child = os.fork()
        if child == 0:
            draft.discard()
            os._exit(0)
        os.waitpid(child, 0)
    assert (tmp_path / 'a.txt').read_text() == 'new'
