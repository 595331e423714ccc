import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS as ROOT_DATASETS
from torch.utils.data import DataLoader

from saga_mm.datasets.low_light.pairs import PairedLowLightDataset, UnpairedDataset, read_scene_groups
from saga_mm.datasets.low_light.sample import LowLightSample
from saga_mm.errors import SagaError

LOAD = [{'type': 'saga_mm.LoadPair'}, {'type': 'saga_mm.PackLowLightInputs'}]
# six pairs in four groups
GROUPS = {'1.png': 0, '2.png': 0, '3.png': 1, '4.png': 2, '5.png': 2, '6.png': 10}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for side, level in (('low', 10), ('high', 100)):
        (tmp_path / side).mkdir()
        for index in range(1, 7):
            cv2.imwrite(str(tmp_path / side / f'{index}.png'), np.full((6, 8, 3), level + index, np.uint8))
    (tmp_path / 'groups.json').write_text(json.dumps(GROUPS))
    return tmp_path


def names(root: Path, **options: object) -> list[str]:
    # lazily, as packing the list collects garbage, which takes long beside a large library
    dataset = PairedLowLightDataset(str(root), lazy_init=True, **options)
    return [Path(record['gt_path']).stem for record in dataset.load_data_list()]


def test_pairs_come_packed(root: Path):
    dataset = ROOT_DATASETS.build({'type': 'saga_mm.PairedLowLightDataset', 'data_root': str(root), 'pipeline': LOAD})
    assert len(dataset) == 6
    item = dataset[2]
    assert item['inputs'].shape == (3, 6, 8) and item['inputs'].dtype == torch.uint8 and (item['inputs'] == 13).all()
    sample = item['data_samples']
    assert isinstance(sample, LowLightSample) and (sample.gt_img == 103).all() and sample.gt_img.dtype == torch.uint8
    assert sample.img_path == str(root / 'low/3.png') and sample.gt_path == str(root / 'high/3.png')
    assert sample.ori_shape == (6, 8)


def test_samples_are_what_metrics_and_models_expect():
    sample = LowLightSample(gt_img=torch.ones(3, 4, 5), metainfo={'img_path': 'x'})
    assert 'gt_img' in sample and 'pred_img' not in sample
    sample.pred_img = torch.zeros(3, 4, 5)
    assert set(sample.to_dict()) == {'gt_img', 'pred_img', 'img_path'}
    assert sample.to(torch.float64).pred_img.dtype == torch.float64


def test_bright_pictures_alone_are_darkened_by_the_pipeline(root: Path):
    pipeline = [LOAD[0], {'type': 'saga_mm.SynthesizeLowLight', 'seed': 1}, LOAD[1]]
    item = PairedLowLightDataset(str(root), low=None, pipeline=pipeline)[0]
    assert item['inputs'].float().mean() < item['data_samples'].gt_img.float().mean() / 2
    assert item['data_samples'].img_path == item['data_samples'].gt_path == str(root / 'high/1.png')
    with pytest.raises(SagaError, match=r'there is no dark picture\. .*SynthesizeLowLight'):
        PairedLowLightDataset(str(root), low=None, pipeline=LOAD)[0]


def test_pictures_without_answers(root: Path):
    dataset = UnpairedDataset(str(root / 'low'), pipeline=LOAD, indices=2)
    assert [Path(dataset[i]['data_samples'].img_path).name for i in range(len(dataset))] == ['1.png', '2.png']
    assert 'gt_img' not in dataset[0]['data_samples'] and 'gt_path' not in dataset[0]['data_samples']
    assert len(UnpairedDataset(str(root / 'low/4.png'))) == 1
    with pytest.raises(SagaError, match='no such picture or folder'):
        UnpairedDataset(str(root / 'absent'))


def test_whole_groups_are_held_out(root: Path):
    options = {'scene_groups': 'groups.json', 'hold_out': [0, 10]}
    assert names(root, **options) == ['3', '4', '5']
    assert names(root, **options, split='val') == ['1', '2', '6']
    assert names(root, scene_groups=str(root / 'groups.json'), hold_out=['2'], split='val') == ['4', '5']
    assert names(root) == ['1', '2', '3', '4', '5', '6']


def test_groups_are_drawn_by_the_seed(root: Path):
    drawn = []
    for seed in range(8):
        options = {'scene_groups': 'groups.json', 'hold_out': 2, 'hold_out_seed': seed}
        train, val = names(root, **options), names(root, **options, split='val')
        assert sorted(train + val) == ['1', '2', '3', '4', '5', '6']
        groups = [{GROUPS[f'{name}.png'] for name in part} for part in (train, val)]
        assert not groups[0] & groups[1] and len(groups[1]) == 2
        assert names(root, **options, split='val') == val
        drawn.append(tuple(val))
    assert len(set(drawn)) > 1


def test_without_groups_each_pair_is_one(root: Path):
    assert names(root, hold_out=['2', 5], split='val') == ['2', '5']
    assert len(names(root, hold_out=2, split='val')) == 2
    assert len(names(root, hold_out=2)) == 4


def test_the_test_part_of_a_layout_knows_no_hold_out(tmp_path: Path):
    for part, count in (('our485', 3), ('eval15', 2)):
        for side in ('low', 'high'):
            (tmp_path / part / side).mkdir(parents=True)
            for index in range(count):
                (tmp_path / part / side / f'{index}.png').touch()
    options = {'layout': 'lol_v1', 'hold_out': ['1']}
    assert names(tmp_path, **options) == ['0', '2']
    assert names(tmp_path, **options, split='val') == ['1']
    assert names(tmp_path, **options, split='test') == ['0', '1']
    assert names(tmp_path, layout='lol_v1', split='test') == ['0', '1']


def test_names_with_a_word_for_the_side_take_the_group_of_the_dark_one(root: Path):
    for path in (root / 'low').iterdir():
        path.rename(path.with_name(f'low{path.name}'))
    (root / 'groups.json').write_text(json.dumps({f'low{index}': index % 2 for index in range(1, 7)}))
    assert names(root, scene_groups='groups.json', hold_out=[1], split='val') == ['1', '3', '5']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'split': 'eval'}, "split must be one of train, val, test, not 'eval'"),
        ({'split': 'val'}, 'Set hold_out, or name the folders'),
        ({'low': None, 'layout': 'lol_v1'}, 'low=None takes no layout'),
        ({'hold_out': 6}, 'hold_out=6 must be from 1 to 5'),
        ({'hold_out': 0}, 'hold_out=0 must be'),
        ({'hold_out': []}, 'hold_out is empty'),
        ({'hold_out': [7]}, r"names '7', which are no groups\. Groups are '1', '2'"),
        ({'hold_out': [str(i) for i in range(1, 7)]}, "no picture in split='train'. Hold out fewer"),
        ({'hold_out': 1, 'scene_groups': 'absent.json'}, 'absent.json: cannot be read'),
        ({'low': 'night'}, 'Folder .*night does not exist'),
    ],
)
def test_options_that_do_not_fit(root: Path, options: dict, message: str):
    with pytest.raises(SagaError, match=message) as caught:
        PairedLowLightDataset(str(root), **options)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'malformed JSON'),
        ('[["1", "2"]]', 'is of another form'),
        ('{"1": [0]}', 'is of another form'),
        ('{"1.png": 0, "1.jpg": 1}', "gives '1' two groups"),
        ('{"1.png": 0, "2.png": 1}', "gives no group to '3', '4', '5' and 1 more"),
    ],
)
def test_group_files_that_do_not_fit(root: Path, content: str, message: str):
    (root / 'groups.json').write_text(content)
    with pytest.raises(SagaError, match=message):
        PairedLowLightDataset(str(root), scene_groups='groups.json', hold_out=1)


def test_names_in_group_files(root: Path):
    assert read_scene_groups(root / 'groups.json') == {str(i): str(GROUPS[f'{i}.png']) for i in range(1, 7)}


def test_a_missing_partner_stops_the_training(root: Path):
    (root / 'high/4.png').unlink()
    with pytest.raises(
        SagaError, match=r'dark picture without a bright partner: .*low/4\.png\. Names must be the same'
    ):
        PairedLowLightDataset(str(root))


def test_workers_draw_differently_and_the_same_again(root: Path):
    from mmengine.dataset import worker_init_fn

    pipeline = [LOAD[0], {'type': 'saga_mm.SynthesizeLowLight', 'quality': None}, LOAD[1]]
    dataset = PairedLowLightDataset(str(root), low=None, pipeline=pipeline, indices=[0, 0])

    def draw() -> list[torch.Tensor]:
        loader = DataLoader(
            dataset,
            num_workers=2,
            collate_fn=pseudo_collate,
            worker_init_fn=lambda worker: worker_init_fn(worker, 2, 0, 5),
        )
        return [batch['inputs'][0] for batch in loader]

    first, again = draw(), draw()
    assert not torch.equal(*first)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
