"""Trainings that are told to end, or killed, and go on."""

import json
import os
import runpy
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import CheckpointLoader

from saga_mm.engine.continuation import VALIDATED, ContinuationHook, MissedValidationHook
from saga_mm.engine.random_streams import begin_streams
from saga_mm.engine.stopping import StopHook
from saga_mm.loading.checkpoint import load_checkpoint, make_files_safe
from saga_mm.loading.work_dir import find_newest

toy_runner = runpy.run_path(str(Path(__file__).with_name('toy_training.py')))['toy_runner']


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch) -> Iterator[None]:
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '')
    monkeypatch.setattr(CheckpointLoader, '_schemes', CheckpointLoader._schemes.copy())
    make_files_safe()
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    after = signal.signal(signal.SIGTERM, before)
    assert after == signal.SIG_DFL


class At(Hook):
    """Does something at one iteration, before other hooks see its end."""

    priority = 'VERY_HIGH'

    def __init__(self, iteration: int, act: Callable[[], None]) -> None:
        self.iteration, self.act = iteration, act

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.iteration:
            self.act()


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def run(folder: Path, *hooks: Hook, **options: object):
    """A training with what tools add to mmengine's runner."""
    runner = toy_runner(str(folder), **options)
    for hook in (ContinuationHook(), MissedValidationHook(), StopHook(), *hooks):
        runner.register_hook(hook)
    runner.train()
    return runner


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


@pytest.mark.parametrize(('iteration', 'saved'), [(3, 'epoch_1_iter_3.pth'), (4, 'epoch_2.pth')])
def test_sigterm_ends_a_training_with_a_checkpoint_and_a_line(tmp_path, capsys, iteration, saved):
    with pytest.raises(SystemExit) as end:
        run(tmp_path, At(iteration, terminate))
    assert end.value.code == 143
    assert f'SIGTERM: saved {tmp_path / saved}; --resume goes on from there' in capsys.readouterr().out
    newest, broken = find_newest(tmp_path)
    assert newest == tmp_path / saved and not broken
    checkpoint = load_checkpoint(newest)
    assert checkpoint['meta']['iter'] == iteration and checkpoint['meta']['epoch'] == iteration // 2
    assert (tmp_path / 'last_checkpoint').read_text() == str(newest)


def test_the_checkpoint_of_a_signal_is_removed_once_the_training_has_gone_on(tmp_path):
    with pytest.raises(SystemExit):
        run(tmp_path, At(3, terminate))
    assert 'epoch_1_iter_3.pth' in names(tmp_path)
    run(tmp_path, load_from=str(tmp_path / 'epoch_1_iter_3.pth'), resume=True)
    assert [name for name in names(tmp_path) if not name.startswith('best_')] == ['epoch_4.pth']


def test_a_second_signal_ends_it_at_once(tmp_path):
    def twice() -> None:
        terminate()
        terminate()

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, At(3, twice))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert 'epoch_1_iter_3.pth' not in names(tmp_path)


def test_what_a_validation_found_is_not_lost_when_a_kill_follows_it(tmp_path, capsys):
    """The checkpoint was saved before the validation: of a result that is not the best it knows nothing."""
    whole = run(tmp_path / 'whole', epochs=2)
    shutil.copytree(tmp_path / 'whole', tmp_path / 'copy')
    file = tmp_path / 'copy' / 'epoch_2.pth'
    checkpoint = load_checkpoint(file)
    for fact in ('best_score', 'best_ckpt', 'validated'):
        del checkpoint['message_hub']['runtime_info'][fact]
    del checkpoint['message_hub']['log_scalars']['val/acc']
    torch.save(checkpoint, file)
    again = run(tmp_path / 'copy', epochs=2, load_from=str(file), resume=True)
    info = again.message_hub.runtime_info
    assert info['best_score'] == whole.message_hub.get_info('best_score') == 2.0
    assert info['best_ckpt'] == str(tmp_path / 'copy' / 'best_acc_epoch_2.pth')
    assert again.message_hub.get_scalar('val/acc').data[0].tolist() == [2.0]
    assert 'validating what' not in capsys.readouterr().out


@pytest.mark.parametrize('text', ['', '4', '[]', '{"iter": 4}', '{"iter": 4, "scalars": {"a": "b"}, "best": {}}'])
def test_a_damaged_record_of_a_validation_is_made_up_for(tmp_path, capsys, text):
    run(tmp_path, epochs=2)
    checkpoint = load_checkpoint(tmp_path / 'epoch_2.pth')
    del checkpoint['message_hub']['runtime_info']['validated']
    torch.save(checkpoint, tmp_path / 'epoch_2.pth')
    (tmp_path / VALIDATED).write_text(text)
    run(tmp_path, epochs=2, load_from=str(tmp_path / 'epoch_2.pth'), resume=True)
    assert 'validating what iteration 4 left' in capsys.readouterr().out
    assert json.loads((tmp_path / VALIDATED).read_text())['scalars'] == {'acc': 1.0}


def test_superfluous_checkpoints_of_a_killed_training_are_removed(tmp_path):
    """A kill between a checkpoint and the removal of the one that it supersedes leaves both."""
    run(tmp_path, epochs=2)
    kept = load_checkpoint(tmp_path / 'epoch_2.pth')
    for name in ('epoch_1.pth', 'best_acc_epoch_1.pth'):
        shutil.copy(tmp_path / 'epoch_2.pth', tmp_path / name)
    other = tmp_path / 'epoch_7.pth.bak'
    other.write_text('mine')
    inner = tmp_path / 'inner'
    inner.mkdir()
    (inner / 'epoch_1.pth').write_text('mine')
    kept['meta']['superseded'] = ['epoch_1.pth', 'best_acc_epoch_1.pth', 'inner/epoch_1.pth', other.name, '..', 3]
    torch.save(kept, tmp_path / 'epoch_2.pth')
    run(tmp_path, epochs=2, load_from=str(tmp_path / 'epoch_2.pth'), resume=True)
    assert names(tmp_path) == ['best_acc_epoch_2.pth', 'epoch_2.pth']
    assert other.read_text() == 'mine' and (inner / 'epoch_1.pth').read_text() == 'mine'


def test_a_checkpoint_of_another_folder_removes_nothing_here(tmp_path):
    run(tmp_path / 'a', epochs=2)
    start = load_checkpoint(tmp_path / 'a' / 'epoch_2.pth')
    start['meta']['superseded'] = ['epoch_9.pth']
    torch.save(start, tmp_path / 'a' / 'epoch_2.pth')
    here = tmp_path / 'b' / 'epoch_9.pth'
    here.parent.mkdir()
    here.write_text('mine')
    run(tmp_path / 'b', epochs=3, load_from=str(tmp_path / 'a' / 'epoch_2.pth'), resume=True)
    assert here.read_text() == 'mine'


def test_the_streams_of_each_process_depend_on_its_number_and_the_step():
    drawn = {}
    for place in [(1, 0, 5), (1, 1, 5), (1, 0, 6), (1, 0, 5)]:
        begin_streams(*place)
        drawn.setdefault(place, []).append(torch.rand(3).tolist())
    assert drawn[1, 0, 5][0] == drawn[1, 0, 5][1]
    assert len({tuple(values[0]) for values in drawn.values()}) == 3


def test_a_validation_that_is_made_up_for_leaves_what_the_uninterrupted_training_leaves(tmp_path):
    run(tmp_path, epochs=1)
    file = tmp_path / 'epoch_1.pth'
    whole = load_checkpoint(file)
    before = load_checkpoint(file)
    for fact in ('best_score', 'best_ckpt', 'validated'):
        del before['message_hub']['runtime_info'][fact]
    del before['message_hub']['log_scalars']['val/acc']
    torch.save(before, file)
    (tmp_path / VALIDATED).unlink()
    run(tmp_path, epochs=1, load_from=str(file), resume=True)
    again = load_checkpoint(file)
    assert again['message_hub']['log_scalars']['val/acc'].data[0].tolist() == [1.0]
    facts = ('best_score', 'best_ckpt', 'validated', 'epoch', 'iter')
    first, second = (checkpoint['message_hub']['runtime_info'] for checkpoint in (whole, again))
    assert {fact: first[fact] for fact in facts} == {fact: second[fact] for fact in facts}
