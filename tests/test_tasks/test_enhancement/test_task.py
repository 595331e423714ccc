from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.loading.config import load_config
from saga_mm.tasks import task_of
from saga_mm.tasks.enhancement.evaluation import EnhancementEvaluation
from saga_mm.tasks.own_data import OwnData, use_own_data

DEMO, PAIRS = 'saga_lowlight.py', 'lol/saga-unet_150k_lol-v1.py'


@pytest.fixture
def folders(tmp_path) -> Path:
    for name in ('low', 'high', 'photos'):
        (tmp_path / name).mkdir()
        for index in range(25 if name == 'photos' else 3):
            Image.new('RGB', (4, 4)).save(tmp_path / name / f'{index}.png')
    return tmp_path


def steps(cfg, loader):
    return [step['type'].removeprefix('saga_mm.') for step in cfg[f'{loader}_dataloader'].dataset.pipeline]


def test_a_config_says_its_task():
    task = task_of(load_config(DEMO))
    assert task.name == 'low-light enhancement'
    assert task_of(Config({})).name == task_of(load_config('saga_maskrcnn.py')).name == 'detection'
    assert task_of(load_config('saga_upernet.py')).name == 'segmentation'


@pytest.mark.parametrize('config', [DEMO, PAIRS])
def test_two_folders_are_pairs(folders, config):
    cfg = load_config(config)
    use_own_data(cfg, OwnData(str(folders), train_low='low', train_high='high', val_low='low', val_high='high'))
    for loader in ('train', 'val', 'test'):
        dataset = cfg[f'{loader}_dataloader'].dataset
        assert dataset.type == 'saga_mm.PairedLowLightDataset' and not {'layout', 'hold_out', 'split'} & set(dataset)
        assert Path(dataset.data_root, dataset.low) == folders / 'low'
        assert Path(dataset.data_root, dataset.high) == folders / 'high'
        assert 'SynthesizeLowLight' not in steps(cfg, loader)
    assert steps(cfg, 'train')[1] == 'PairRandomCrop' and cfg.test_dataloader.dataset.test_mode
    assert 'demo_data' not in cfg


@pytest.mark.parametrize('config', [DEMO, PAIRS])
def test_one_folder_is_darkened_and_some_of_it_held_out(folders, config):
    cfg = load_config(config)
    use_own_data(cfg, OwnData(train_high=str(folders / 'photos')))
    for loader, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{loader}_dataloader'].dataset
        assert dataset.low is None and Path(dataset.data_root, dataset.high) == folders / 'photos'
        assert (dataset.hold_out, dataset.split) == (2, split)
        (made,) = [step for step in dataset.pipeline if step['type'] == 'saga_mm.SynthesizeLowLight']
        assert made.get('seed') == (None if loader == 'train' else 0)
    assert steps(cfg, 'train')[:4] == ['LoadPair', 'PairRandomCrop', 'PairRandomFlip', 'SynthesizeLowLight']
    assert steps(cfg, 'val') == ['LoadPair', 'SynthesizeLowLight', 'PackLowLightInputs']


def test_pairs_to_evaluate_on_beside_photographs_to_darken(folders):
    cfg = load_config(DEMO)
    given = {name: str(folders / path) for name, path in PARTS.items()}
    use_own_data(cfg, OwnData(**given))
    assert 'hold_out' not in cfg.train_dataloader.dataset and 'SynthesizeLowLight' in steps(cfg, 'train')
    assert cfg.val_dataloader.dataset.low == str(folders / 'low') and 'SynthesizeLowLight' not in steps(cfg, 'val')


PARTS = {'train_high': 'photos', 'val_low': 'low', 'val_high': 'high'}


@pytest.mark.parametrize(
    ('given', 'training', 'words'),
    [
        (dict(train_low='low'), True, r'^--train-low needs --train-high as well: the folder of the bright pictures to'),
        (dict(train_high='high', val_low='low'), True, r'^--train-high, --val-low needs --val-high as well'),
        (dict(train_high='high'), False, '^--train-high needs --val-high as well'),
        (dict(train_high='gone'), True, 'gone'),
        (dict(train_high='one'), True, 'holds 1 pictures to train on, of which none can be held out; name --val-high'),
        (
            dict(train_img='low'),
            True,
            r'^--train-img: for detection, segmentation and classification, and config .*saga_lowlight\.py',
        ),
        (
            dict(classes='c.txt', train_ann='a.json'),
            True,
            '^--classes: for segmentation and classification, and config',
        ),
    ],
)
def test_what_does_not_go_together(folders, given, training, words):
    (folders / 'one').mkdir()
    Image.new('RGB', (4, 4)).save(folders / 'one' / 'a.png')
    with pytest.raises(SagaError, match=words) as caught:
        use_own_data(load_config(DEMO), OwnData(**{key: str(folders / path) for key, path in given.items()}), training)
    assert '\n' not in str(caught.value)


def test_other_tasks_refuse_folders_of_dark_pictures(folders):
    with pytest.raises(SagaError, match=r'^--val-low: for low-light enhancement, and config .* is for detection'):
        use_own_data(load_config('saga_maskrcnn.py'), OwnData(val_low='a'))
    with pytest.raises(SagaError, match=r'^--train-high: for low-light enhancement, and config .* is for segmentation'):
        use_own_data(load_config('saga_upernet.py'), OwnData(train_high='a'))


def test_drawn_pictures_stand_beside_each_other(tmp_path):
    import torch

    from saga_mm.datasets.low_light.sample import LowLightSample

    packed = torch.zeros(3, 20, 40, dtype=torch.uint8)
    packed[0] = 200
    sample = LowLightSample()
    sample.pred_img = torch.full((3, 20, 40), 1.3)
    task = EnhancementEvaluation()
    image = task.image_of(sample, packed)
    assert image.shape == (20, 40, 3) and image[0, 0].tolist() == [0, 0, 200]
    task.draw(None, sample, image, tmp_path / 'two.png')
    sample.gt_img = torch.full((3, 20, 40), 0.5)
    task.draw(None, sample, image, tmp_path / 'three.png')
    two, three = (np.array(Image.open(tmp_path / name))[-20:] for name in ('two.png', 'three.png'))
    assert two.shape == (20, 80, 3) and three.shape == (20, 120, 3)
    assert [three[5, x].tolist() for x in (5, 45, 85)] == [[0, 0, 200], [255] * 3, [128] * 3]


@pytest.mark.parametrize('name', ['EnhancementMetric', 'saga_mm.EnhancementMetric'])
def test_figures_of_each_picture_whatever_the_scope(name, tmp_path):
    cfg = Config(dict(test_evaluator=[dict(type=name)]))
    EnhancementEvaluation().set_up(cfg, tmp_path / 'found.json')
    assert cfg.test_evaluator[0].out_file == str(tmp_path / 'found.csv')
