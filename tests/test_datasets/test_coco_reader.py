import json
from pathlib import Path

import pytest

pytest.importorskip('mmdet')

import torch
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmdet.evaluation.metrics import coco_metric
from pycocotools import mask as coco_mask

from saga_mm.datasets.coco_reader import CocoFile, use_coco_file


@pytest.fixture(autouse=True)
def read_by_us(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(CocoDataset, 'COCOAPI', CocoDataset.COCOAPI)
    for name in ('COCO', 'COCOeval', 'COCOevalMP'):
        monkeypatch.setattr(coco_metric, name, getattr(coco_metric, name))
    use_coco_file()


def content(ids: list, first_image: int = 1, first_category: int = 1) -> dict:
    annotations = []
    for index, own in enumerate(ids):
        x = 10 + 5 * index
        annotation = dict(image_id=first_image + index, category_id=first_category, bbox=[x, 20, 40, 30], area=1200)
        annotation.update(iscrowd=0, segmentation=[[x, 20, x + 40, 20, x + 40, 50, x, 50]])
        annotations.append(annotation if own is None else {'id': own, **annotation})
    images = [dict(id=first_image + i, file_name=f'{i}.png', width=96, height=96) for i in range(len(ids))]
    return dict(images=images, annotations=annotations, categories=[dict(id=first_category, name='bäx')])


def precision(path: Path, data: dict) -> tuple[float, float]:
    """AP of boxes and masks of the ground truth itself."""
    metric = CocoMetric(ann_file=str(path), metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=('bäx',))
    for image in data['images']:
        own = [a for a in data['annotations'] if a['image_id'] == image['id']]
        boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in own)], dtype=torch.float32)
        masks = [coco_mask.merge(coco_mask.frPyObjects(a['segmentation'], 96, 96)) for a in own]
        labels = torch.zeros(len(own), dtype=torch.long)
        found = dict(bboxes=boxes, scores=torch.ones(len(own)), labels=labels, masks=masks)
        metric.process({}, [dict(pred_instances=found, img_id=image['id'], ori_shape=(96, 96))])
    figures = metric.evaluate(size=len(data['images']))
    return figures['coco/bbox_mAP'], figures['coco/segm_mAP']


@pytest.mark.parametrize('ids', [[1, 2, 3], [0, 1, 2], [0], [-1, 0, 1], [7, 7, 7], ['a', 'b', 'a'], [None, None, None]])
def test_ap_does_not_depend_on_ids_of_annotations(tmp_path: Path, ids: list):
    path = tmp_path / 'ann.json'
    data = content(ids)
    path.write_text(json.dumps(data))
    assert precision(path, data) == (1.0, 1.0)


@pytest.mark.parametrize('first', [0, -3])
def test_ids_of_images_and_categories_from_0_and_below(tmp_path: Path, first: int):
    path = tmp_path / 'ann.json'
    data = content([1, 2, 3], first, first)
    path.write_text(json.dumps(data))
    assert precision(path, data) == (1.0, 1.0)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32'])
def test_files_are_read_in_any_encoding_of_unicode(tmp_path: Path, encoding: str):
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(content([0, 1]), ensure_ascii=False), encoding=encoding)
    options = dict(data_prefix=dict(img=''), metainfo=dict(classes=('bäx',)), pipeline=[])
    dataset = CocoDataset(ann_file=str(path), **options)
    assert len(dataset) == 2
    assert dataset.metainfo['classes'] == ('bäx',)
    assert [len(dataset.get_data_info(index)['instances']) for index in (0, 1)] == [1, 1]


def test_what_is_not_read_does_no_harm(tmp_path: Path):
    path = tmp_path / 'ann.json'
    data = content([0, 1])
    path.write_text(json.dumps({**data, 'info': [[[1]]], 'licenses': None}))
    assert precision(path, data) == (1.0, 1.0)
    assert set(CocoFile(str(path)).dataset) == {'images', 'annotations', 'categories'}


@pytest.mark.parametrize('change', [lambda record: record.pop('iscrowd'), lambda record: record.update(iscrowd=None)])
def test_annotations_that_do_not_say_whether_they_are_a_crowd(tmp_path: Path, change):
    path = tmp_path / 'ann.json'
    data = content([0, 1])
    for record in data['annotations']:
        change(record)
    path.write_text(json.dumps(data))
    assert precision(path, data) == (1.0, 1.0)


def of_classes(names: tuple[str, ...]) -> dict:
    """A picture with an object of each class, whose categories are listed in the order of ``names``."""
    places = {'a': 5, 'b': 35, 'c': 65}
    # ids that fall, as some programs write them
    categories = [dict(id=9 - index, name=name) for index, name in enumerate(names)]
    annotations = []
    for index, name in enumerate(names):
        x = places[name]
        annotation = dict(id=index, image_id=1, category_id=categories[index]['id'], bbox=[x, 20, 20, 30], area=600)
        annotations.append(annotation | dict(iscrowd=0, segmentation=[[x, 20, x + 20, 20, x + 20, 50, x, 50]]))
    return dict(
        images=[dict(id=1, file_name='1.png', width=96, height=96)], annotations=annotations, categories=categories
    )


@pytest.mark.parametrize('names', ['abc', 'cab', 'cb', 'a', 'bca'])
def test_labels_follow_the_classes_of_the_config(tmp_path: Path, names: str):
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(of_classes(tuple(names))))
    classes = ('a', 'b', 'c')
    dataset = CocoDataset(
        ann_file=str(path), data_prefix=dict(img=''), metainfo=dict(classes=classes), pipeline=[], test_mode=True
    )
    instances = dataset.get_data_info(0)['instances']
    assert {classes[each['bbox_label']]: each['bbox'][0] for each in instances} == {
        name: {'a': 5, 'b': 35, 'c': 65}[name] for name in names
    }
    metric = CocoMetric(ann_file=str(path), metric=['bbox'], classwise=True)
    metric.dataset_meta = dataset.metainfo
    boxes = torch.tensor([[5.0, 20, 25, 50], [35, 20, 55, 50], [65, 20, 85, 50]])
    found = dict(bboxes=boxes, scores=torch.ones(3), labels=torch.arange(3))
    metric.process({}, [dict(pred_instances=found, img_id=1, ori_shape=(96, 96))])
    figures = metric.evaluate(size=1)
    # of a class without an object nothing is found, which does not count
    assert figures['coco/bbox_mAP'] == 1.0
    assert [figures[f'coco/{name}_precision'] == 1.0 for name in classes] == [name in names for name in classes]


@pytest.mark.parametrize(
    ('area', 'box', 'right'), [(0, None, 1.0), (0, [5, 5, 0, 0], 0.663), (0, [60, 60, 9, 9], 0.663)]
)
def test_objects_without_an_area_are_looked_for_as_by_coco(tmp_path: Path, area: float, box: list | None, right: float):
    """Its evaluation of all sizes keeps areas from 0 on: what nobody finds is missed, also without an area."""
    path, data = tmp_path / 'ann.json', content([1, 2])
    found = json.loads(json.dumps(data))
    if box is None:
        data['annotations'][0]['area'] = area
    else:
        left, top, width, height = box
        corners = [left, top, left + width, top, left + width, top + height, left, top + height]
        data['annotations'].append(
            {**data['annotations'][0], 'id': 3, 'bbox': box, 'area': area, 'segmentation': [corners]}
        )
    path.write_text(json.dumps(data))
    assert precision(path, found) == (right, right)
