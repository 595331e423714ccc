import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CONFIG = """
default_scope = 'mmseg'
data = dict(
    type='BaseSegDataset',
    data_root='{root}',
    data_prefix=dict(img_path='images', seg_map_path='masks'),
    metainfo=dict(classes=('road', 'tree$^$'), palette=[(255, 0, 0), (0, 255, 0)]),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
)
model = dict(type='EncoderDecoder', decode_head=dict(type='FPNHead', num_classes=2))
train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=data))
val_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[data, data]))
test_dataloader = dict(dataset={{**data, 'type': 'BaseCDDataset'}})
train_cfg = val_cfg = test_cfg = val_evaluator = test_evaluator = optim_wrapper = dict()
"""


@pytest.fixture
def check_dataset(run_here):
    return partial(run_here, 'check_dataset.py')


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """``images``, ``masks`` of the classes 0 and 1 in equal halves, and ``config.py``."""
    monkeypatch.chdir(tmp_path)
    for name in ('images', 'masks'):
        (tmp_path / name).mkdir()
    for index in range(30):
        Image.new('RGB', (20 + index, 10)).save(tmp_path / 'images' / f'{index:02}.jpg')
        mask = np.zeros((10, 20 + index), np.uint8)
        mask[:5] = 1
        Image.fromarray(mask).save(tmp_path / 'masks' / f'{index:02}.png')
    (tmp_path / 'config.py').write_text(CONFIG.format(root=tmp_path))
    return tmp_path


def test_segmentation_folders(folders, check_dataset):
    # what matplotlib would take for a formula, and fail at
    for name in ('images/00.jpg', 'masks/00.png'):
        (folders / name).rename(folders / name.replace('00', '$^$'))
    out, err, status = check_dataset('config.py', '--split', 'train')
    assert status == 0 and not err
    assert '30 images, 20 x 10 (smallest), 35 x 10 (median), 49 x 10 (largest)' in out
    rows = [line.split() for line in out.splitlines() if line.startswith(('road', 'tree'))]
    assert rows == [[name, '5,175', '50.0', '%', '30', '#' * 30] for name in ('road', 'tree$^$')]
    assert 'no problems' in out
    pictures = folders / 'work_dirs/config/dataset/train'
    assert {path.name for path in pictures.iterdir()} == {'histogram.png', 'overlays.png'}
    colours = np.asarray(Image.open(pictures / 'overlays.png').convert('RGB')).reshape(-1, 3)
    # three fifths of the palette's colours on black pictures
    assert all((colours == colour).all(1).sum() > 1000 for colour in ((153, 0, 0), (0, 153, 0)))


def test_pages_and_where_they_go(folders, check_dataset):
    out, _, status = check_dataset('config.py', '--split', 'train', '--out', 'here', '--max-pictures', 25)
    assert status == 0 and 'train: ' in out and 'val' not in out
    names = {path.name for path in Path('here/train').iterdir()}
    assert names == {'histogram.png', 'overlays.png', 'overlays_2.png'}
    out, _, status = check_dataset('config.py', '--out', 'none', '--max-pictures', 0)
    assert status == 0 and all(f'\n{name}: ' in out for name in ('train', 'val_1', 'val_2'))
    assert sorted(str(path) for path in Path('none').glob('*/*')) == [
        f'none/{name}/histogram.png' for name in ('train', 'val_1', 'val_2')
    ]


def test_all_problems_are_listed_and_the_status_says_so(folders, check_dataset):
    (folders / 'masks/00.png').unlink()
    (folders / 'masks/01.png').write_bytes(b'\x89PNG')
    Image.fromarray(np.full((10, 22), 7, np.uint8)).save(folders / 'masks/02.png')
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folders / 'masks/03.png')
    content = (folders / 'images/04.jpg').read_bytes()
    (folders / 'images/04.jpg').write_bytes(content[: len(content) // 2])
    Image.new('CMYK', (25, 10)).save(folders / 'images/05.jpg')
    out, err, status = check_dataset('config.py', '--max-pictures', 3)
    assert status == 1 and not err
    train, val = out[: out.index('val_1: ')], out[out.index('val_1: ') :]
    for text in (
        'image without a mask',
        'unreadable mask: 01.jpg',
        'mask with ids beyond the 2 classes: 02.jpg (7)',
        'mask of another size than its image: 03.jpg (9 x 9, its image 23 x 10)',
        'unreadable image: 04.jpg',
        'CMYK image: 05.jpg',
        'no class',
    ):
        assert text in train and text in val
    assert out.count('\nproblems\n') == 3 and 'no problems' not in out


def test_own_data_in_masks(folders, check_dataset):
    (folders / 'classes.txt').write_text('water\nland\n')
    kinds = {'img': 'images', 'mask': 'masks'}
    options = [f'--{part}-{kind}={folder}' for part in ('train', 'val') for kind, folder in kinds.items()]
    options += ['--classes', 'classes.txt', '--cfg-options', 'val_dataloader=None', '--max-pictures', 1]
    out, err, status = check_dataset('config.py', '--data-root', folders, *options)
    assert status == 0, err
    assert [line.split()[1] for line in out.splitlines() if line.startswith(('land', 'water'))] == ['5,175'] * 2


def test_data_that_is_not_looked_at(folders, check_dataset):
    out, _, status = check_dataset('config.py', '--split', 'test')
    assert status == 0 and 'test: BaseCDDataset, not looked at' in out


def test_nothing_to_look_at(folders, check_dataset):
    option = 'train_dataloader.dataset.dataset.data_root=none'
    out, _, status = check_dataset('config.py', '--cfg-options', option, '--max-pictures', 1)
    assert status == 1 and 'problems\n- Data root none does not exist' in out and out.count('no problems') == 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--max-pictures', '-1'), '--max-pictures -1: must be at least 0'),
        (('--train-ann', 'x.json'), '--train-ann'),
        (('--cfg-options', 'val_dataloader=None', '--split', 'val'), 'has no val_dataloader'),
        (('--out', 'config.py'), '--out config.py'),
    ],
)
def test_wrong_options(folders, check_dataset, options, message):
    _, err, status = check_dataset('config.py', *options)
    assert status == 2 and message in err and 'Traceback' not in err


def test_detection(tiny, tmp_path, monkeypatch, check_dataset):
    monkeypatch.chdir(tmp_path)
    out, _, status = check_dataset(tiny, '--max-pictures', 3)
    assert status == 0 and '6 images, 96 x 96\n' in out and out.count('no problems') == 2
    content = json.loads(Path('data/tiny/annotations/instances_train.json').read_text())
    rows = [line.split() for line in out[: out.index('val: ')].splitlines() if '#' in line]
    assert sum(int(row[1]) for row in rows) == len(content['annotations'])
    assert all(Path(f'work_dirs/tiny/dataset/{split}/overlays.png').exists() for split in ('train', 'val'))

    content['annotations'][0]['category_id'] = 9
    content['images'][0]['file_name'] = 'none.png'
    Path('own.json').write_text(json.dumps(content))
    train = ('--train-ann', 'own.json', '--train-img', 'data/tiny/images/train')
    val = ('--val-ann', 'data/tiny/annotations/instances_val.json', '--val-img', 'data/tiny/images/val')
    out, err, status = check_dataset(tiny, *train, *val, '--max-pictures', 0)
    assert status == 1 and not err and out.count('no problems') == 1
    assert 'annotation of an unknown category_id' in out and 'image listed but absent' in out


def test_as_a_user_runs_it(folders, monkeypatch, run_here):
    (folders / 'masks/00.png').unlink()
    monkeypatch.chdir(folders)
    out, err, status = run_here('check_dataset.py', 'config.py', '--split', 'train', '--max-pictures', 0)
    assert status == 1 and not err
    assert out.splitlines()[1] == f'train: {folders}/images'
