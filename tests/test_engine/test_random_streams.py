import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import DataLoader, Dataset

from saga_mm.engine.random_streams import place_samples, set_streams, set_streams_of_file, streams


class Noisy(Dataset):
    metainfo = 'kept'

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[int, float, float, float]:
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))


def loader(sampler: type, workers: int = 0) -> DataLoader:
    data = Noisy()
    made = DataLoader(data, batch_size=2, sampler=sampler(data, seed=3), num_workers=workers)
    place_samples(made, 7)
    return made


def taken(made: DataLoader, count: int) -> list[list[float]]:
    found, epoch = [], made.batch_sampler.passes
    while len(found) < count:
        made.sampler.set_epoch(epoch)
        epoch += 1
        for batch in made:
            found.append(torch.stack([part.double() for part in batch]).tolist())
            if len(found) == count:
                break
    return found


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


@pytest.mark.parametrize('sampler', [DefaultSampler, InfiniteSampler])
@pytest.mark.parametrize('workers', [0, 2])
def test_samples_do_not_depend_on_who_loads_them_or_when(sampler, workers):
    whole = taken(loader(sampler), 8)
    assert len({str(batch) for batch in whole}) == 8
    draw()
    assert taken(loader(sampler, workers), 8) == whole
    for done in (1, 4, 7):
        later = loader(sampler, workers)
        later.batch_sampler.begin_after(0, done)
        rest = [torch.stack([part.double() for part in batch]).tolist() for batch, _ in zip(later, range(8 - done))]
        assert rest and rest == whole[done : done + len(rest)]


def test_loading_leaves_the_streams_of_the_model_alone():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    taken(loader(DefaultSampler), 3)
    assert draw() == expected
    assert loader(DefaultSampler).dataset.metainfo == 'kept'


def test_streams_go_on_from_a_file(tmp_path, capsys):
    torch.save({'state_dict': {'a': torch.ones(1)}, 'meta': {'random': streams()}}, tmp_path / 'w.pth')
    expected = draw()
    from saga_mm.loading.checkpoint import load_checkpoint

    set_streams(load_checkpoint(tmp_path / 'w.pth')['meta']['random'])
    assert draw() == expected
    set_streams_of_file({'python': [3, [1], None], 'numpy': 4})
    assert 'random state in the checkpoint is none' in capsys.readouterr().out
