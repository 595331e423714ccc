"""Data of semantic segmentation as a whole, and the configs that name it."""

import numpy as np
import pytest
from PIL import Image

from saga_mm.datasets.checks.segmentation import check_segmentation, survey_segmentation
from saga_mm.errors import SagaError

CLASSES = ('road', 'tree', 'sky')
COLOURS = [(0, 0, 0), (0, 255, 0), (0, 0, 255)]
# of the images
HEIGHT, WIDTH = 12, 20


def test_what_there_is_is_counted(data):
    data.put_mask('b', np.zeros_like(data.ids))
    survey = data.check()
    block = HEIGHT * WIDTH // 4
    assert survey.per_class == {'road': 2 * block + 4 * block, 'tree': 2 * block, 'sky': 2 * block}
    assert survey.images_per_class == {'road': 3, 'tree': 2, 'sky': 2}
    assert survey.rest == {'not learned': 2 * block} and survey.total == 3 * HEIGHT * WIDTH
    assert survey.size_range() == ((WIDTH, HEIGHT),) * 3
    assert not survey.warnings and not survey.problems
    assert '3 images of 20 x 12 pixels, 3 classes, from 17 % (tree) to 50 % (road) of the pixels.' in str(survey)


def test_what_is_shown_is_what_is_learned(data):
    data.put_mask('a', np.where(data.ids == 2, 7, data.ids).astype(np.uint8))
    survey = survey_segmentation(data.cfg())
    sample = survey.load(survey.samples[0], 10)
    assert sample.name == 'a.jpg' and sample.image.shape == (6, 10, 3) and sample.ids.shape == (6, 10)
    # 3, the number of classes, stands for an id that is none; -1 for what is not learned
    assert [np.unique(sample.ids[:, x]).tolist() for x in (0, 4, 6, 9)] == [[0], [1], [3], [-1]]
    assert survey.load(survey.samples[1], 99).ids.shape == (HEIGHT, WIDTH)


def test_a_subset_of_the_classes_of_a_public_data_set(data):
    cfg = {'type': 'CityscapesDataset', 'img_suffix': '.jpg', 'seg_map_suffix': '.png'}
    survey = data.check_cfg(**cfg, metainfo={'classes': ('building', 'road')})
    third = 3 * HEIGHT * WIDTH // 4
    assert survey.per_class == {'building': third, 'road': third}
    assert survey.rest == {'not learned': 2 * third}
    assert len(data.check_cfg(**cfg, metainfo={}).per_class) == 19


def test_masks_in_black_and_white(data):
    for name in 'abc':
        data.put_mask(name, np.zeros_like(data.ids))
    data.refuse("masks of nothing but 'road'. Ids run from 0 to 2; 255 means not learned")
    for name in 'abc':
        data.put_mask(name, Image.fromarray(data.ids > 0))
    data.warn("class that never occurs: 'sky'")
    assert data.check().per_class['tree'] == 3 * HEIGHT * WIDTH * 3 // 4


def test_masks_of_nothing(data):
    for name in 'abc':
        data.put_mask(name, np.full_like(data.ids, 255))
    data.refuse('masks without a pixel to learn from')


def test_every_kind_of_problem_is_in_one_message(data):
    data.put_mask('a', np.full_like(data.ids, 9))
    data.put_mask('b', np.zeros((3, 3), np.uint8))
    (data.masks / 'c.png').unlink()
    text = data.refuse('ids beyond')
    assert text.count('\n- ') == 3 and 'another size' in text and 'without a mask' in text


def test_images_without_masks(data):
    (data.masks / 'a.png').unlink()
    survey = data.check_cfg(pipeline=[{'type': 'LoadImageFromFile'}])
    assert survey.total == 0 and len(survey.samples) == 3
    assert (survey.load(survey.samples[0], 99).ids == -1).all()
    assert check_segmentation(data.images, None, CLASSES).total == 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'data_root': 'nowhere'}, 'Data root nowhere does not exist'),
        ({'data_prefix': {'img_path': 'none', 'seg_map_path': 'masks'}}, 'Image folder .*none does not exist'),
        ({'data_prefix': {'img_path': 'images'}}, 'data_prefix has no seg_map_path'),
        ({'data_prefix': {'img_path': 5}}, 'prefix should be a string'),
        ({'metainfo': {}}, r'BaseSegDataset: has no classes\. Set metainfo'),
        ({'metainfo': {'classes': ('road', 'road')}}, "names the class 'road' twice"),
        ({'metainfo': {'classes': 'road'}}, r"is the string 'road'\. Write a tuple: \('road',\)"),
        ({'metainfo': {'classes': CLASSES, 'palette': COLOURS[:2]}}, 'palette does not match classes'),
        ({'type': 'CityscapesDataset', 'metainfo': {'classes': ('lawn',)}}, 'is not a subset of classes'),
        ({'img_sufix': '.png'}, "unexpected keyword argument 'img_sufix'"),
        (
            {'type': 'PascalVOCDataset', 'ann_file': 'no.txt', 'metainfo': {}},
            'PascalVOCDataset .*a file or folder',
        ),
    ],
)
def test_configs_that_make_no_data_set(data, changes: dict, message: str):
    with pytest.raises(SagaError, match=message):
        data.check_cfg(**changes)


@pytest.mark.parametrize(
    'changes', [{'type': 'NotRegistered'}, {'type': 'BaseCDDataset'}, {'backend_args': {'backend': 'petrel'}}]
)
def test_data_that_it_does_not_know_is_left_alone(data, changes: dict):
    assert data.check_cfg(**changes) is None
