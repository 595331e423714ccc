"""Trainings with accumulated or clipped gradients go on to the same bits, and say what is no longer the same."""

import runpy
import shutil
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from saga_mm.engine.continuation import ContinuationHook
from saga_mm.engine.hooks import AtomicCheckpointHook
from saga_mm.engine.update_hook import GRADIENTS, PENDING, UpdateHook, update_settings
from saga_mm.loading.checkpoint import load_checkpoint, make_files_safe

toy_runner = runpy.run_path(str(Path(__file__).with_name('toy_training.py')))['toy_runner']
SGD = dict(type='SGD', lr=0.01, momentum=0.5)


@pytest.fixture(autouse=True)
def _safe(monkeypatch) -> None:
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '')
    make_files_safe()


def run(folder: Path, batch: int = 1, pictures: int = 4, **options):
    """Four epochs of samples that differ."""
    wrapper = dict(optimizer=SGD, **{name: options.pop(name) for name in list(options) if name in OF_WRAPPER})
    samples = torch.linspace(1, 3, pictures)[:, None]
    loader = DataLoader(TensorDataset(samples), batch_size=batch)
    runner = toy_runner(str(folder), optim_wrapper=wrapper, train_dataloader=loader, keep=-1, **options)
    for hook in (ContinuationHook(), UpdateHook()):
        runner.register_hook(hook)
    runner.train()
    return runner


OF_WRAPPER = ('accumulative_counts', 'clip_grad', 'type', 'dtype')


def resumed(file: Path, folder: Path, **options):
    folder.mkdir()
    shutil.copy(file, folder)
    return run(folder, load_from=str(folder / file.name), resume=True, **options)


@pytest.mark.parametrize(
    'options',
    [
        dict(accumulative_counts=3),
        dict(clip_grad=dict(max_norm=0.02)),
        dict(accumulative_counts=3, clip_grad=dict(max_norm=0.02)),
    ],
)
def test_a_resumed_training_goes_on_to_the_same_bits(tmp_path, capsys, options):
    # sixteen iterations of which each epoch ends inside an accumulation
    whole = run(tmp_path / 'whole', **options)
    for epoch in (1, 2, 3):
        again = resumed(tmp_path / 'whole' / f'epoch_{epoch}.pth', tmp_path / str(epoch), **options)
        assert torch.equal(again.model.weight, whole.model.weight)
        states = [
            load_checkpoint(tmp_path / name / 'epoch_4.pth')['optimizer']['state'] for name in ('whole', str(epoch))
        ]
        assert torch.equal(states[0][0]['momentum_buffer'], states[1][0]['momentum_buffer'])
    assert 'were not applied' not in capsys.readouterr().out


def test_gradients_are_kept_where_they_are_not_applied_alone(tmp_path):
    run(tmp_path, accumulative_counts=3)
    files = [load_checkpoint(tmp_path / f'epoch_{epoch}.pth') for epoch in (1, 2, 3, 4)]
    assert [file['meta'][PENDING] for file in files] == [1, 2, 0, 0]
    assert [set(file.get(GRADIENTS, ())) for file in files] == [{'weight'}, {'weight'}, set(), set()]


@pytest.mark.parametrize(
    'gradients',
    [None, [], {'weight': 1.0}, {'weight': torch.ones(7)}, {'other': torch.ones(1)}, {'weight': torch.ones(1).half()}],
)
def test_gradients_of_another_kind_are_left_out_with_a_line(tmp_path, capsys, gradients):
    run(tmp_path / 'whole', accumulative_counts=3)
    file = tmp_path / 'whole/epoch_2.pth'
    checkpoint = load_checkpoint(file)
    checkpoint[GRADIENTS] = gradients
    torch.save(checkpoint, file)
    resumed(file, tmp_path / 'again', accumulative_counts=3)
    assert 'the gradients of the last 2 iterations were not applied yet' in capsys.readouterr().out


def test_what_is_no_longer_the_same_is_named(tmp_path, capsys):
    run(tmp_path / 'whole', accumulative_counts=3, clip_grad=dict(max_norm=2.0), pictures=6)
    capsys.readouterr()
    file = tmp_path / 'whole/epoch_1.pth'
    # three epochs of two iterations are left, the second of which ends an accumulation
    again = resumed(
        file, tmp_path / 'again', accumulative_counts=2, batch=2, clip_grad=dict(type='value', clip_value=1.0)
    )
    told = capsys.readouterr().out
    assert 'accumulative_counts 2 instead of 3' in told
    assert "clip_grad {'grad_value': {'clip_value': 1.0}} instead of {'grad_norm': {'max_norm': 2.0}}" in told
    assert 'pictures a step 2 instead of 1' in told and 'training pictures 4 instead of 6' in told
    assert again.iter == again.max_iters == again.optim_wrapper._inner_count == 8
    # six of three were all applied
    assert 'were not applied' not in told


def test_an_accumulation_of_another_length_begins_anew(tmp_path, capsys):
    run(tmp_path / 'whole', accumulative_counts=3)
    resumed(tmp_path / 'whole/epoch_2.pth', tmp_path / 'again', accumulative_counts=4)
    assert 'the gradients of the last 2 iterations were not applied yet' in capsys.readouterr().out


@pytest.mark.parametrize('settings', [None, 3, {'clip_grad': [1]}, {'pictures a step': '9' * 1000}])
def test_settings_of_any_kind_in_a_file(tmp_path, capsys, settings):
    run(tmp_path / 'whole')
    file = tmp_path / 'whole/epoch_2.pth'
    checkpoint = load_checkpoint(file)
    checkpoint['meta']['settings'] = settings
    torch.save(checkpoint, file)
    runner = resumed(file, tmp_path / 'again')
    told = [line for line in capsys.readouterr().out.splitlines() if 'instead of' in line]
    assert runner.iter == 16 and all(len(line) < 300 for line in told)
    assert update_settings(runner)['optim_wrapper'] == 'OptimWrapper'


@pytest.mark.parametrize(('batch', 'later'), [(1, 2), (2, 1), (1, 4)])
def test_a_training_by_epochs_goes_on_with_other_batches_to_the_end_of_its_schedule(tmp_path, batch, later):
    schedule = dict(type='LinearLR', start_factor=1.0, end_factor=0.1, by_epoch=False, begin=0)
    run(tmp_path / 'whole', batch=batch, param_scheduler=dict(**schedule, end=16 // batch))
    options = dict(batch=later, param_scheduler=dict(**schedule, end=16 // later))
    again = resumed(tmp_path / 'whole/epoch_2.pth', tmp_path / 'again', **options)
    assert again.epoch == 4 and again.iter == again.max_iters == 16 // later
    straight = run(tmp_path / 'straight', **options)
    assert again.optim_wrapper.get_lr() == straight.optim_wrapper.get_lr()
    files = [load_checkpoint(tmp_path / name / 'epoch_4.pth')['meta']['iter'] for name in ('again', 'straight')]
    assert files[0] == files[1]


def test_a_training_by_iterations_goes_on_by_epochs(tmp_path):
    loop = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=100)
    hook = AtomicCheckpointHook(interval=4, by_epoch=False)
    run(tmp_path / 'whole', train_cfg=loop, default_hooks=dict(checkpoint=hook, logger=None))
    again = resumed(tmp_path / 'whole/iter_8.pth', tmp_path / 'again')
    assert again.epoch == 4 and again.iter == again.max_iters == 16
