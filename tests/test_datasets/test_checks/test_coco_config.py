import json
import shutil
from pathlib import Path

import pytest
from mmengine.config import ConfigDict

from saga_mm.datasets.checks.coco_config import check_dataset_cfg
from saga_mm.datasets.demo.outlines import DEMO_CLASSES
from saga_mm.datasets.demo.shapes import make_demo_shapes
from saga_mm.errors import SagaError


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_shapes(tmp_path_factory.mktemp('demo') / 'shapes', 4, 2, 96, progress=False)


def config(root: Path, split: str = 'train', **changes: object) -> dict:
    cfg = {
        'type': 'CocoDataset',
        'data_root': str(root),
        'ann_file': f'annotations/instances_{split}.json',
        'data_prefix': {'img': f'images/{split}/'},
        'metainfo': {'classes': DEMO_CLASSES},
        'pipeline': [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations', 'with_mask': True}],
    }
    return {**cfg, **changes}


def check(cfg: object) -> list:
    return check_dataset_cfg(cfg)


def test_paths_are_joined_as_mmengine_does(root: Path, monkeypatch: pytest.MonkeyPatch):
    assert [summary.num_images for summary in check(config(root))] == [4]
    assert check(ConfigDict(config(root, 'val')))[0].num_images == 2
    absolute = {
        'ann_file': str(root / 'annotations/instances_train.json'),
        'data_prefix': {'img': str(root / 'images/train')},
    }
    assert check(config('nowhere', **absolute))
    monkeypatch.chdir(root)
    assert check(config('', type='mmdet.CocoDataset'))
    assert check(config(None, data_root=None))


@pytest.mark.parametrize(
    ('wrap', 'sizes'),
    [
        (lambda train, val: {'type': 'RepeatDataset', 'times': 3, 'dataset': train}, [4]),
        (lambda train, val: {'type': 'ClassBalancedDataset', 'oversample_thr': 0.1, 'dataset': train}, [4]),
        (lambda train, val: {'type': 'MultiImageMixDataset', 'dataset': train, 'pipeline': []}, [4]),
        (lambda train, val: {'type': 'ConcatDataset', 'datasets': [train, val]}, [4, 2]),
        (
            lambda train, val: {
                'type': 'RepeatDataset',
                'dataset': {'type': 'ConcatDataset', 'datasets': (val, {'type': 'RepeatDataset', 'dataset': train})},
            },
            [2, 4],
        ),
        (lambda train, val: {'type': 'ADE20KDataset', 'data_root': 'nowhere'}, []),
        (lambda train, val: None, []),
    ],
)
def test_wrappers_are_opened(root: Path, wrap: object, sizes: list[int]):
    cfg = ConfigDict(cfg=wrap(config(root), config(root, 'val')))['cfg']
    assert [summary.num_images for summary in check(cfg)] == sizes


def test_remote_data_is_not_looked_at(root: Path):
    assert check(config('s3://bucket/data')) == []
    assert check(config(root, backend_args={'backend': 'petrel'})) == []
    assert check(config(root, backend_args={'backend': 'local'}))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'data_root': '/nowhere'}, 'Data root /nowhere does not exist'),
        ({'ann_file': 'annotations/none.json'}, r'none\.json does not exist.*instances_train\.json'),
        ({'ann_file': ''}, 'has no ann_file'),
        ({'ann_file': ['a.json']}, 'ann_file of a CocoDataset must be a string'),
        ({'data_prefix': {'img': 'images/none'}}, 'Image folder .*images/none .*does not exist'),
        ({'data_prefix': {'img': None}}, r"data_prefix\['img'\] of a CocoDataset must be a string"),
        ({'data_prefix': {}}, 'None of the listed images is there'),
        ({'metainfo': {'classes': ('disc', 'circle')}}, r"classes 'circle' of .*not in the file.*'disc', 'square'"),
        ({'metainfo': {'classes': ('disc', 'disc')}}, 'each class once'),
        ({'metainfo': {'classes': 'disc'}}, r"Write a tuple: \('disc',\) with a comma"),
        ({'metainfo': {'classes': ()}}, 'must be a tuple of names'),
        ({'metainfo': {'classes': (1, 2)}}, 'must be a tuple of names'),
        ({'metainfo': {'CLASSES': DEMO_CLASSES}}, "Write 'classes' instead"),
    ],
)
def test_what_does_not_fit_is_named(root: Path, changes: dict, message: str):
    with pytest.raises(SagaError, match=message):
        check(config(root, **changes))


def test_some_classes_and_a_file_of_classes_are_fine(root: Path, tmp_path: Path):
    assert check(config(root, metainfo={'classes': ('disc', 'star')}))
    (tmp_path / 'classes.txt').write_text('\n'.join(DEMO_CLASSES) + '\n')
    assert check(config(root, metainfo={'classes': str(tmp_path / 'classes.txt')}))


def test_without_metainfo_the_classes_of_coco_are_expected(root: Path):
    with pytest.raises(SagaError, match=r"'person', 'bicycle'.* and 60 more .*not in the file.*'disc'"):
        check(config(root, metainfo=None))


def test_the_pipeline_decides_what_is_needed(root: Path, tmp_path: Path):
    copy = Path(shutil.copytree(root, tmp_path / 'data'))
    file = copy / 'annotations' / 'instances_train.json'
    content = json.loads(file.read_text())
    del content['annotations'][0]['segmentation']
    file.write_text(json.dumps(content))
    with pytest.raises(SagaError, match='annotation without a mask'):
        check(config(copy))
    assert check(config(copy, pipeline=[{'type': 'LoadAnnotations', 'with_bbox': True}]))


def test_files_in_another_order_and_of_some_classes_to_evaluate_on(root: Path, tmp_path: Path):
    copy = Path(shutil.copytree(root, tmp_path / 'data'))
    file = copy / 'annotations' / 'instances_train.json'
    content = json.loads(file.read_text())
    content['categories'].reverse()
    file.write_text(json.dumps(content))
    assert check(config(copy))
    gone = content['categories'].pop()
    content['annotations'] = [each for each in content['annotations'] if each['category_id'] != gone['id']]
    file.write_text(json.dumps(content))
    assert check(config(copy, test_mode=True))
    with pytest.raises(SagaError, match='not in the file'):
        check(config(copy))
    content['categories'].append({'id': 99, 'name': 'a new one'})
    file.write_text(json.dumps(content))
    with pytest.raises(SagaError, match='not in the file'):
        check(config(copy, test_mode=True))
