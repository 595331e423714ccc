import itertools
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader

from saga_mm.engine.hooks import AtomicCheckpointHook
from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint, make_files_safe
from saga_mm.loading.work_dir import find_newest

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
        make_files_safe()
        yield


@pytest.fixture(scope='module')
def killed(tmp_path_factory, forker) -> dict[tuple[str, int], Path]:
    """Folders of trainings that were killed during a write. Each epoch writes its checkpoint, the best one, and its
    checkpoint again: 4 to 6 are the writes of the second epoch."""
    folders = {
        case: tmp_path_factory.mktemp('killed') for case in [('Runner', 4), ('FlexibleRunner', 5), ('Runner', 6)]
    }
    cases = [f'{folder},{runner},{number}' for (runner, number), folder in folders.items()]
    forker.run(TOY, *cases)
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
    put, numbers = LocalBackend.put, itertools.count(1)

    def full(self: LocalBackend, obj: bytes, filepath: str) -> None:
        # each epoch writes three times
        if next(numbers) == 7:
            put(self, obj[:100], filepath)
            raise OSError(28, 'No space left on device')
        put(self, obj, filepath)

    monkeypatch.setattr(LocalBackend, 'put', full)
    with pytest.raises(
        SagaError, match=r'epoch_3\.pth: could not be written \(No space left on device: .* left\); the earlier'
    ):
        toy_runner(str(tmp_path)).train()
    assert names(tmp_path) == ['best_acc_epoch_2.pth', 'epoch_2.pth']
    assert find_newest(tmp_path)[0] == tmp_path / 'epoch_2.pth'


@pytest.fixture(scope='module')
def trained(tmp_path_factory, toy_runner) -> Path:
    """Folder of a training of two epochs, whose best result is better than any that follows."""
    folder = tmp_path_factory.mktemp('trained') / 'work'
    toy_runner(str(folder), epochs=2).train()
    return folder


def changed(source: Path, target: Path, change: Callable[[dict], None]) -> Path:
    """A checkpoint whose facts of the run are changed."""
    checkpoint = load_checkpoint(source)
    change(checkpoint)
    torch.save(checkpoint, target)
    return target


@pytest.mark.parametrize('runner_type', RUNNERS)
def test_a_checkpoint_removes_nothing_outside_the_work_folder(tmp_path, toy_runner, trained, runner_type):
    outside = tmp_path / 'outside'
    (outside / 'folder').mkdir(parents=True)
    for name in ('file', 'best_acc_epoch_1.pth', 'folder/file'):
        (outside / name).write_text('precious')
    work = tmp_path / 'work'
    work.mkdir()
    (work / 'best_link.pth').symlink_to(outside / 'file')
    (work / 'config.py').touch()
    (work / 'best_notes.txt').touch()
    paths = [outside / 'file', outside / 'folder', outside / 'best_acc_epoch_1.pth', work / 'best_link.pth']
    paths += [work / 'config.py', work / 'best_notes.txt', work / '..' / 'outside' / 'file', 7]
    for path in paths:

        def name_best(checkpoint: dict, path: object = path) -> None:
            info = checkpoint['message_hub']['runtime_info']
            info.update(best_ckpt=path if isinstance(path, int) else str(path), best_score=0.0)
            info['keep_ckpt_ids'] = ['../../outside/file', -1, 2.5, None, 1, 2]

        start = changed(trained / 'epoch_2.pth', tmp_path / 'start.pth', name_best)
        runner = toy_runner(str(work), runner_type, epochs=3, load_from=str(start), resume=True)
        runner.train()
        assert (work / 'best_acc_epoch_3.pth').is_file() and (work / 'epoch_3.pth').is_file()
        assert (work / 'config.py').is_file() and (work / 'best_notes.txt').is_file()
        assert sorted(outside.rglob('*')) == sorted(
            outside / name for name in ('file', 'best_acc_epoch_1.pth', 'folder', 'folder/file')
        )


def test_a_training_that_goes_on_elsewhere_leaves_the_first_folder(tmp_path, toy_runner, trained):
    before = names(trained)
    toy_runner(str(tmp_path), epochs=4, load_from=str(trained / 'epoch_2.pth'), resume=True).train()
    assert names(trained) == before == ['best_acc_epoch_2.pth', 'epoch_2.pth']
    # the toy's figures begin anew, and none is better than the best of the first folder
    assert names(tmp_path) == ['epoch_4.pth']


def test_a_copied_folder_removes_its_own_best_checkpoint(tmp_path, toy_runner, trained):
    copy = tmp_path / 'copy'
    shutil.copytree(trained, copy)
    start = changed(
        copy / 'epoch_2.pth', copy / 'epoch_2.pth', lambda c: c['message_hub']['runtime_info'].update(best_score=0.5)
    )
    runner = toy_runner(str(copy), epochs=3, load_from=str(start), resume=True)
    runner.train()
    assert names(copy) == ['best_acc_epoch_3.pth', 'epoch_3.pth'] and (trained / 'best_acc_epoch_2.pth').is_file()
    assert runner.message_hub.get_info('best_ckpt') == str(copy / 'best_acc_epoch_3.pth')


def test_fewer_checkpoints_are_kept_after_a_change_of_the_setting(tmp_path, toy_runner):
    toy_runner(str(tmp_path), epochs=3, keep=3).train()
    assert [name for name in names(tmp_path) if name[0] == 'e'] == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    toy_runner(str(tmp_path), load_from=str(tmp_path / 'epoch_3.pth'), resume=True).train()
    assert [name for name in names(tmp_path) if name[0] == 'e'] == ['epoch_4.pth']


def test_a_folder_with_the_name_of_a_checkpoint_stays(tmp_path, toy_runner):
    (tmp_path / 'epoch_1.pth' / 'inside').mkdir(parents=True)
    start = tmp_path / 'epoch_2.pth'
    toy_runner(str(tmp_path / 'a'), epochs=2).train()
    changed(
        tmp_path / 'a' / 'epoch_2.pth', start, lambda c: c['message_hub']['runtime_info'].update(keep_ckpt_ids=[1, 2])
    )
    toy_runner(str(tmp_path), epochs=3, load_from=str(start), resume=True).train()
    assert (tmp_path / 'epoch_1.pth' / 'inside').is_dir()


def test_what_others_left_unfinished_stays(tmp_path, toy_runner):
    (tmp_path / 'download.part').write_text('of a browser')
    (tmp_path / 'epoch_9.pth.part').write_text('of somebody')
    toy_runner(str(tmp_path), epochs=1).train()
    assert names(tmp_path) == ['best_acc_epoch_1.pth', 'epoch_1.pth', 'epoch_9.pth.part']
    assert (tmp_path / 'download.part').exists()


def test_what_a_kill_left_beside_a_log_is_removed(tmp_path, toy_runner):
    logs = tmp_path / '20260101_000000' / 'vis_data'
    logs.mkdir(parents=True)
    for name in ('.saga_mm-0123456789ab.part', 'download.part'):
        (logs / name).write_text('half')
    toy_runner(str(tmp_path), epochs=1).train()
    assert [path.name for path in logs.iterdir()] == ['download.part']


@pytest.mark.parametrize('runner_type', RUNNERS)
def test_the_state_of_another_optimizer_is_refused(tmp_path, toy_runner, trained, runner_type):
    def enlarge(checkpoint: dict) -> None:
        checkpoint['optimizer']['state'][0]['momentum_buffer'] = torch.zeros(1000)

    for change, words in (
        (enlarge, 'momentum_buffer has the shape'),
        (lambda checkpoint: checkpoint['meta'].update(parameters=['other']), 'other where the model has weight'),
    ):
        start = changed(trained / 'epoch_2.pth', tmp_path / 'start.pth', change)
        with pytest.raises(SagaError, match=words):
            toy_runner(str(tmp_path / 'work'), runner_type, load_from=str(start), resume=True).train()


def test_published_files_are_whole(tmp_path, toy_runner):
    toy_runner(str(tmp_path), epochs=1, published_keys=['meta', 'state_dict']).train()
    files = [name for name in names(tmp_path) if name.startswith('epoch_1-')]
    assert len(files) == 1 and load_checkpoint(tmp_path / files[0]).keys() == {'meta', 'state_dict'}


def test_a_best_result_that_no_evaluation_gives_is_named(tmp_path, toy_runner):
    """mmengine ends with the name alone, as a KeyError, after the first epoch."""

    def hook(**options):
        return AtomicCheckpointHook(**{**options, 'save_best': 'coco/acc'})

    runner = toy_runner(str(tmp_path), hook=hook)
    with pytest.raises(SagaError, match=r"checkpoint\.save_best is 'coco/acc', and the evaluation gives acc; name one"):
        runner.train()
    # and the epoch is not lost
    assert (tmp_path / 'epoch_1.pth').is_file()
