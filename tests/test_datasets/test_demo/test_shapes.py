import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from saga_mm.datasets.demo.draw import draw_scene
from saga_mm.datasets.demo.outlines import DEMO_CLASSES, DEMO_PALETTE
from saga_mm.datasets.demo.shapes import PHOTOS, VERSION, ensure_demo_data, make_demo_shapes
from saga_mm.errors import SagaError

SIZES = {'num_train': 6, 'num_val': 2, 'size': 96}


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_shapes(tmp_path_factory.mktemp('demo') / 'shapes', **SIZES, progress=False)


def load(root: Path, split: str) -> dict:
    return json.loads((root / 'annotations' / f'instances_{split}.json').read_text())


def digest(root: Path) -> dict[str, str]:
    """Hash of each annotation file's text and of each picture's pixels."""
    found = {}
    for path in sorted(path for path in root.rglob('*') if path.is_file()):
        content = path.read_bytes()
        if path.suffix == '.png':
            content = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).tobytes()
        found[path.relative_to(root).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


@pytest.mark.parametrize(('split', 'number'), [('train', 6), ('val', 2)])
def test_files_are_coco_with_masks_of_the_visible_parts(root: Path, split: str, number: int):
    data = load(root, split)
    assert [category['name'] for category in data['categories']] == list(DEMO_CLASSES)
    assert len(data['images']) == number
    assert data['info']
    assert data['licenses']
    assert len({ann['id'] for ann in data['annotations']}) == len(data['annotations'])
    for image in data['images']:
        picture = cv2.imread(str(root / 'images' / split / image['file_name']), cv2.IMREAD_UNCHANGED)
        assert picture.shape == (96, 96, 3) == (image['height'], image['width'], 3)
        semantic = cv2.imread(str(root / 'semantic' / split / image['file_name']), cv2.IMREAD_UNCHANGED)
        assert semantic.dtype == np.uint8
        rebuilt = np.zeros((96, 96), np.uint8)
        anns = [ann for ann in data['annotations'] if ann['image_id'] == image['id']]
        assert 1 <= len(anns) <= 6
        for ann in anns:
            mask = coco_mask.decode(ann['segmentation'])
            rows, cols = np.nonzero(mask)
            box = [cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1]
            assert ann['bbox'] == box
            assert ann['area'] == mask.sum() >= 14
            assert ann['iscrowd'] == 0
            assert not rebuilt[mask > 0].any(), 'visible parts may not overlap'
            rebuilt[mask > 0] = ann['category_id']
        assert np.array_equal(rebuilt, semantic)


def test_same_seed_same_pixels_and_a_longer_set_starts_alike(root: Path, tmp_path: Path):
    again = digest(make_demo_shapes(tmp_path / 'again', **SIZES, progress=False))
    assert again == digest(root)
    longer = digest(make_demo_shapes(tmp_path / 'longer', **{**SIZES, 'num_train': 7}, progress=False))
    pictures = {name for name in again if name.endswith('.png')}
    assert {name: longer[name] for name in pictures} == {name: again[name] for name in pictures}
    other = digest(make_demo_shapes(tmp_path / 'other', **SIZES, seed=1, progress=False))
    assert all(other[name] != again[name] for name in pictures if name.startswith('images'))


def test_another_process_makes_the_same_with_neither_network_nor_scikit_image(root: Path, tmp_path: Path):
    code = (
        'import socket, sys\n'
        'def refuse(*a, **k): raise OSError("no network here")\n'
        'socket.socket.connect = refuse\n'
        'import saga_mm.datasets\n'
        'assert not {"skimage", "pooch", "mmdet", "pycocotools"} & set(sys.modules)\n'
        f'saga_mm.datasets.make_demo_shapes({str(tmp_path / "x")!r}, 6, 2, 96, progress=False)\n'
        'assert "skimage" not in sys.modules\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True, env={**os.environ, 'PYTHONHASHSEED': '7'})
    assert digest(tmp_path / 'x') == digest(root)


def test_every_class_appears_with_and_without_holes(tmp_path: Path):
    root = make_demo_shapes(tmp_path / 'shapes', num_train=40, num_val=1, size=96, progress=False)
    holes = {name: set() for name in DEMO_CLASSES}
    for ann in load(root, 'train')['annotations']:
        mask = np.pad(coco_mask.decode(ann['segmentation']), 1)
        outside = cv2.connectedComponents((mask == 0).astype(np.uint8), connectivity=4)[0] - 1
        holes[DEMO_CLASSES[ann['category_id'] - 1]].add(outside > 1)
    assert all(found == {True, False} for found in holes.values())


def test_a_change_of_the_pictures_raises_the_version():
    photos = [np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)]
    maps = [draw_scene(np.random.default_rng([0, i]), photos, 128).instances for i in range(4)]
    found = hashlib.sha256(np.stack(maps).tobytes()).hexdigest()[:8]
    assert (VERSION, found) == (4, '2d181f6b'), 'old data would be kept: raise VERSION, then correct this line'


def test_large_pictures_have_more_shapes_and_not_larger_ones(tmp_path: Path):
    spec = {'type': 'shapes_large', 'root': tmp_path / 'x', 'num_val': 1, 'height': 256, 'width': 768}
    ensure_demo_data({**spec, 'progress': False})
    picture = cv2.imread(str(tmp_path / 'x/images/val/000000.png'))
    semantic = cv2.imread(str(tmp_path / 'x/semantic/val/000000.png'), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (256, 768, 3) and semantic.shape == (256, 768) and semantic.max() <= len(DEMO_CLASSES)
    annotations = load(tmp_path / 'x', 'val')['annotations']
    assert 6 <= len(annotations) <= 18
    assert all(side < 180 for annotation in annotations for side in annotation['bbox'][2:])
    assert max(annotation['bbox'][0] for annotation in annotations) > 400, 'over the whole width'
    assert sorted(path.name for path in (tmp_path / 'x' / 'images').iterdir()) == ['val']
    for change, message in [
        ({'height': 250}, 'height must be an integer from 256'),
        ({'width': 300}, 'multiple of 256'),
    ]:
        with pytest.raises(SagaError, match=message):
            ensure_demo_data({**spec, **change})


def test_splits_share_no_photograph():
    assert not set(PHOTOS['train']) & set(PHOTOS['val'])
    assert len(DEMO_PALETTE) == len(DEMO_CLASSES)


def test_missing_scikit_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(SagaError, match='pip install scikit-image'):
        make_demo_shapes(tmp_path / 'x', **SIZES, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ({'num_train': 0}, 'num_train must be an integer from 1'),
        ({'num_val': 2.5}, 'num_val'),
        ({'size': 32}, 'size must be an integer from 64'),
        ({'size': 10**6}, 'size'),
        ({'seed': -1}, 'seed'),
        ({'seed': True}, 'seed'),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, args: dict, message: str):
    with pytest.raises(SagaError, match=message):
        make_demo_shapes(tmp_path / 'x', **args)
    assert not list(tmp_path.iterdir())


def test_ensure_makes_what_a_config_asks_for(root: Path, tmp_path: Path):
    ensure_demo_data({'type': 'shapes', 'root': str(tmp_path / 'x'), **SIZES, 'progress': False})
    assert digest(tmp_path / 'x') == digest(root)


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ({'type': 'shape', 'root': 'x'}, r"out of \['photos', 'shapes', 'shapes_large'\]"),
        ({'root': 'x'}, "with a 'type'"),
        (None, 'must be a dict'),
        ({'type': ['shapes'], 'root': 'x'}, "with a 'type'"),
        ({'type': 'shapes'}, "needs 'root'"),
        ({'type': 'shapes', 'root': 'x', 'sise': 96}, "does not know 'sise'. Its keys are root, num_train"),
    ],
)
def test_ensure_refuses_what_it_does_not_know(spec: dict, message: str):
    with pytest.raises(SagaError, match=message):
        ensure_demo_data(spec)


def test_mmdet_loads_the_same_masks(root: Path):
    from mmdet.datasets import CocoDataset
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    dataset = CocoDataset(
        data_root=str(root),
        ann_file='annotations/instances_train.json',
        data_prefix={'img': 'images/train/', 'seg': 'semantic/train/'},
        metainfo={'classes': DEMO_CLASSES},
        pipeline=[
            {'type': 'LoadImageFromFile'},
            {'type': 'LoadAnnotations', 'with_bbox': True, 'with_mask': True, 'with_seg': True},
        ],
    )
    assert len(dataset) == 6
    for sample in dataset:
        masks, labels = sample['gt_masks'].masks, sample['gt_bboxes_labels']
        assert not sample['gt_ignore_flags'].any()
        semantic = np.zeros((96, 96), np.uint8)
        for mask, label in zip(masks, labels):
            semantic[mask > 0] = label + 1
        assert np.array_equal(semantic, sample['gt_seg_map'])
