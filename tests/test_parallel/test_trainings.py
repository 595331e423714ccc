"""``saga-mm train`` on several processes against one: see ``trainings.py``."""

import json
import re
from pathlib import Path

import pytest
import torch

from saga_mm.loading.checkpoint import load_checkpoint, state_of


@pytest.fixture(scope='module')
def folder(tmp_path_factory, forker):
    folder = tmp_path_factory.mktemp('trainings')
    forker.run(Path(__file__).with_name('trainings.py'), folder)
    return folder


def losses_of(folder: Path) -> list[dict]:
    (log,) = folder.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [{name: value for name, value in row.items() if 'loss' in name or 'acc' in name} for row in rows]


@pytest.mark.parametrize('name', ['segmentation-4', 'enhancement-2', 'detection-2'])
def test_images_in_bands_train_as_in_one_process(name, folder):
    task, said = name.split('-')[0], (folder / f'{name}-0.txt').read_text()
    assert 'training is complete' in said, said[-2000:]
    one, several = (state_of(load_checkpoint(folder / run / 'iter_2.pth')) for run in (f'{task}-1', name))
    assert one.keys() == several.keys()
    for key, value in one.items():
        assert torch.allclose(several[key].double(), value.double(), rtol=1e-5, atol=2e-6), key
    # of two images at once, the log has the losses of one
    if name != 'segmentation-4':
        losses = losses_of(folder / name)
        assert any(losses) and len(losses) == len(losses_of(folder / f'{task}-1'))
        for row, expected in zip(losses, losses_of(folder / f'{task}-1')):
            assert row == pytest.approx(expected, rel=1e-5)


def test_divided_parameters_go_on_from_an_ordinary_checkpoint_and_write_one(folder):
    runs = [folder / f'segmentation-{kind}-2' for kind in ('replicas', 'shard')]
    for run in runs:
        said = run.with_name(f'{run.name}-0.txt').read_text()
        assert 'training is complete' in said, said[-2000:]
    whole, divided = (load_checkpoint(run / 'iter_4.pth') for run in runs)
    assert whole['state_dict'].keys() == divided['state_dict'].keys()
    for key, value in whole['state_dict'].items():
        assert type(divided['state_dict'][key]) is torch.Tensor
        assert torch.allclose(divided['state_dict'][key], value, rtol=1e-5, atol=1e-6), key
    for index, entry in whole['optimizer']['state'].items():
        for key, value in entry.items():
            found = divided['optimizer']['state'][index][key]
            assert torch.allclose(found, value, rtol=1e-4, atol=1e-6), (index, key)


def test_each_of_two_processes_takes_its_images_and_one_of_them_speaks(folder):
    said = [(folder / f'segmentation-replicas-2-{rank}.txt').read_text() for rank in (0, 1)]
    assert 'training is complete' in said[0] and 'training is complete' not in said[1]
    assert not re.search(r'warn|deprecat|OneDL|INFO|Traceback', ''.join(said), re.IGNORECASE)
    # six images, two for each process at a time
    assert load_checkpoint(folder / 'segmentation-replicas-2' / 'iter_4.pth')['meta']['iter'] == 4
    assert '2 epochs of 2 iterations' in said[0]


def test_a_killed_training_goes_on_from_its_last_checkpoint(folder):
    assert 'training is complete' not in (folder / 'killed-1-0.txt').read_text()
    said = (folder / 'resumed-1-0.txt').read_text()
    path, iteration = re.search(r'resuming from (\S+), iteration (\d+)\n', said).groups()
    assert path.endswith(f'killed-1/iter_{iteration}.pth') and 'training is complete' in said
    assert load_checkpoint(folder / 'killed-1' / f'iter_{int(iteration) + 2}.pth')['meta']['iter'] == int(iteration) + 2


def test_processes_that_are_told_other_things_end(folder):
    first, second = ((folder / f'disagree-2-{rank}.txt').read_text() for rank in (0, 1))
    assert 'error: the processes disagree about the optim_wrapper of the config: process 0 has one of digest' in first
    assert 'error' not in second and 'Traceback' not in second


def test_averages_of_divided_parameters_are_refused(folder):
    assert 'error: --shard: weights are not averaged (EMAHook)' in (folder / 'averages-2-0.txt').read_text()


def test_more_bands_than_processes(folder):
    first = (folder / 'too-many-bands-2-0.txt').read_text()
    assert first.splitlines()[-1] == (
        'error: bands=3: must divide the number of processes, 2; start another number of them'
    )


def test_a_process_that_does_not_come_is_named(folder):
    (line,) = [line for line in (folder / 'absent-2-0.txt').read_text().splitlines() if 'error' in line]
    assert '2 processes were to meet at 127.0.0.1:' in line and 'within 1 s (process 1 did not)' in line
    assert 'SAGA_MM_TIMEOUT=SECONDS waits longer' in line
