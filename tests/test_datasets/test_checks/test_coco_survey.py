import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saga_mm.datasets.checks.coco_survey import survey_coco
from saga_mm.datasets.checks.survey import Survey
from saga_mm.datasets.demo.outlines import DEMO_CLASSES
from saga_mm.datasets.demo.shapes import make_demo_shapes
from saga_mm.errors import SagaError


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_shapes(tmp_path_factory.mktemp('demo') / 'shapes', 5, 1, 96, progress=False)


class Data:
    """A data set to spoil: ``content`` is written before each look."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ann_file = root / 'annotations' / 'instances_train.json'
        self.images = root / 'images' / 'train'
        self.content = json.loads(self.ann_file.read_text())

    def survey(self, need_annotations: bool = True, **changes: object) -> Survey | None:
        self.ann_file.write_text(json.dumps(self.content))
        cfg = {
            'type': 'CocoDataset',
            'data_root': str(self.root),
            'ann_file': 'annotations/instances_train.json',
            'data_prefix': {'img': 'images/train'},
            'metainfo': {'classes': DEMO_CLASSES},
            **changes,
        }
        return survey_coco(cfg, need_annotations=need_annotations)


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Data:
    return Data(Path(shutil.copytree(made, tmp_path / 'data')))


def test_what_there_is_is_counted(data: Data):
    survey = data.survey()
    names = {record['id']: record['name'] for record in data.content['categories']}
    records = [(ann['image_id'], names[ann['category_id']]) for ann in data.content['annotations']]
    counted, occurs = Counter(name for _, name in records), Counter(name for _, name in set(records))
    assert survey.per_class == {name: counted[name] for name in DEMO_CLASSES} and survey.total == len(records)
    assert survey.images_per_class == {name: occurs[name] for name in DEMO_CLASSES}
    assert survey.size_range() == ((96, 96),) * 3 and len(survey.samples) == 5
    assert not survey.problems


def test_classes_that_a_config_leaves_out(data: Data):
    survey = data.survey(metainfo={'classes': DEMO_CLASSES[:2]})
    assert list(survey.per_class) == list(DEMO_CLASSES[:2])
    assert survey.total == len(data.content['annotations']) and survey.rest['of other classes'] > 0
    assert {box.label for item in survey.samples for box in survey.load(item, 96).boxes} <= {0, 1}


def test_problems_of_all_stages_are_noted_at_once(data: Data):
    content = data.content
    whole = Counter(ann['category_id'] for ann in content['annotations'])
    content['images'][0]['width'] = 0
    content['annotations'] = [ann for ann in content['annotations'] if ann['image_id'] != 1]
    content['annotations'][0]['category_id'] = 77
    content['annotations'][1]['bbox'] = [1, 2]
    (data.images / content['images'][1]['file_name']).unlink()
    (data.images / content['images'][2]['file_name']).write_bytes(b'')
    survey = data.survey(metainfo={'classes': (*DEMO_CLASSES, 'moon')})
    kinds = [line.partition(':')[0] for line in survey.problems.lines()]
    expected = [
        'image without width and height',
        'malformed annotation',
        'annotation of an unknown category_id',
        "the classes 'moon'",
        'image listed but absent',
        'unreadable image',
    ]
    assert len(kinds) == 6 and all(kind.startswith(start) for kind, start in zip(kinds, expected))
    assert survey.per_class['moon'] == 0 and 0 < survey.total < sum(whole.values())
    with pytest.raises(SagaError, match='cannot be read'):
        survey.load(survey.samples[0], 96)


def test_a_folder_and_annotations_that_are_not_there(data: Data):
    survey = data.survey(data_prefix={'img': 'none'})
    assert any('none does not exist' in line for line in survey.problems.lines()) and not survey.samples
    data.content['annotations'] = []
    assert any('no annotation that can be used' in line for line in data.survey().problems.lines())
    assert not data.survey(need_annotations=False).problems
    with pytest.raises(SagaError, match='does not exist'):
        data.survey(ann_file='annotations/none.json')
    assert data.survey(backend_args={'backend': 'petrel'}) is None


def test_boxes_and_masks_shrink_with_the_image(data: Data):
    picture = np.zeros((40, 80, 3), np.uint8)
    Image.fromarray(picture).save(data.images / 'plain.png')
    data.content['images'] = [{'id': 1, 'file_name': 'plain.png', 'width': 80, 'height': 40}]
    ann = {'image_id': 1, 'iscrowd': 0, 'area': 800}
    # the right half as polygon, the upper left quarter as plain run lengths by columns; the smaller one lies on top
    half = {'segmentation': [[40, 0, 80, 0, 80, 40, 40, 40]], 'bbox': [40, 0, 40, 40], 'area': 1600}
    runs = [0] + [20, 20] * 20 + [0, 40 * 60]
    assert sum(runs) == 80 * 40
    quarter = {'segmentation': {'size': [40, 80], 'counts': [0] + [20, 20] * 19 + [20, 40 * 60 + 20]}}
    boxless = {'bbox': [0, 0, 20, 20], 'category_id': 3}
    data.content['annotations'] = [
        {**ann, 'id': 1, 'category_id': 2, **half},
        {**ann, 'id': 2, **boxless, **quarter, 'area': 400},
        {**ann, 'id': 3, 'category_id': 1, 'bbox': [60, 20, 4, 4], 'area': 16},
    ]
    survey = data.survey()
    assert not survey.problems
    sample = survey.load(survey.samples[0], 40)
    assert sample.image.shape == (20, 40, 3)
    assert [tuple(box) for box in sample.boxes] == [(20, 0, 40, 20, 1), (0, 0, 10, 10, 2), (30, 10, 32, 12, 0)]
    expected = np.full((20, 40), -1)
    expected[:, 20:], expected[:10, :10] = 1, 2
    assert (sample.ids == expected).mean() > 0.98
