import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader

from saga_mm.engine.checkpoint import load_checkpoint, make_loading_safe
from saga_mm.engine.hooks import AtomicCheckpointHook
from saga_mm.engine.resume import find_newest
from saga_mm.errors import SagaError

TOY = Path(__file__).with_name('toy_training.py')
RUNNERS = ['Runner', 'FlexibleRunner']


@pytest.fixture(scope='module')
def toy_runner() -> Callable:
    return runpy.run_path(str(TOY))['toy_runner']


@pytest.fixture(scope='module', autouse=True)
def _safe() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '')
        patch.setattr(CheckpointLoader, '_schemes', CheckpointLoader._schemes.copy())
        make_loading_safe()
        yield


@pytest.fixture(scope='module')
def killed(tmp_path_factory) -> dict[tuple[str, int], Path]:
    """Folders of trainings that were killed during a write. Each epoch writes its checkpoint, the best one, and its
    checkpoint again: 4 to 6 are the writes of the second epoch."""
    folders = {
        case: tmp_path_factory.mktemp('killed') for case in [('Runner', 4), ('FlexibleRunner', 5), ('Runner', 6)]
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(TOY), str(folder), *map(str, case)], stdout=DEVNULL, stderr=PIPE, text=True
        )
        for case, folder in folders.items()
    ]
    for process in processes:
        errors = process.communicate(timeout=200)[1]
        assert process.returncode == -signal.SIGKILL, errors
    return folders


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth*'))


def test_is_found_by_the_name_that_configs_use():
    hook = HOOKS.build(dict(type='saga_mm.AtomicCheckpointHook', interval=3))
    assert isinstance(hook, AtomicCheckpointHook) and isinstance(hook, CheckpointHook) and hook.interval == 3


@pytest.mark.parametrize('runner_type', RUNNERS)
def test_leaves_what_the_stack_leaves(tmp_path, toy_runner, runner_type):
    for hook in (AtomicCheckpointHook, CheckpointHook):
        toy_runner(str(tmp_path / hook.__name__), runner_type, hook=hook).train()
        assert names(tmp_path / hook.__name__) == ['best_acc_epoch_4.pth', 'epoch_4.pth']
    ours, theirs = (tmp_path / hook.__name__ for hook in (AtomicCheckpointHook, CheckpointHook))
    assert (ours / 'last_checkpoint').read_text() == str(ours / 'epoch_4.pth')
    first, second = (load_checkpoint(folder / 'epoch_4.pth') for folder in (ours, theirs))
    assert first['state_dict'] == second['state_dict'] and first['meta']['iter'] == second['meta']['iter'] == 8
    assert first['meta']['epoch'] == 4
    assert first['message_hub']['runtime_info']['best_ckpt'] == str(ours / 'best_acc_epoch_4.pth')


@pytest.mark.parametrize(('case', 'left'), [(('Runner', 4), 1), (('FlexibleRunner', 5), 2), (('Runner', 6), 2)])
def test_kill_while_writing_loses_no_finished_checkpoint(toy_runner, killed, case, left):
    folder = killed[case]
    assert all(load_checkpoint(path) for path in folder.glob('*.pth'))
    assert len(list(folder.glob('*.part'))) == 1
    newest, broken = find_newest(folder)
    assert newest == folder / f'epoch_{left}.pth' and not broken
    assert (folder / 'best_acc_epoch_1.pth').exists()

    runner = toy_runner(str(folder), case[0], load_from=str(newest), resume=True)
    runner.train()
    assert runner.iter == 8
    assert (folder / 'epoch_4.pth').exists() and not list(folder.glob('*.part'))


def test_full_disk_is_said_in_one_line_and_leaves_the_earlier_ones(tmp_path, toy_runner, monkeypatch):
    put = LocalBackend.put

    def full(self: LocalBackend, obj: bytes, filepath: str) -> None:
        if 'epoch_3' in str(filepath):
            put(self, obj[:100], filepath)
            raise OSError(28, 'No space left on device')
        put(self, obj, filepath)

    monkeypatch.setattr(LocalBackend, 'put', full)
    with pytest.raises(SagaError, match=r'epoch_3\.pth: could not be written \(No space left on device\)'):
        toy_runner(str(tmp_path)).train()
    assert names(tmp_path) == ['best_acc_epoch_2.pth', 'epoch_2.pth']
    assert find_newest(tmp_path)[0] == tmp_path / 'epoch_2.pth'
