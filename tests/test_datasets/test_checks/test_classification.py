import os

import numpy as np
import pytest
from PIL import Image

from saga_mm.datasets.checks.classification import check_classification_cfg, survey_classification
from saga_mm.errors import SagaError


@pytest.fixture
def root(tmp_path):
    for name in ('a/1.png', 'a/2.png', 'b/1.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def test_pictures_are_counted_and_what_is_left_out_is_named(root):
    Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(root / 'loose.png')
    (root / 'c').mkdir()
    survey = survey_classification({'data_root': str(root)})
    assert survey.per_class == {'a': 2, 'b': 1} and not survey.problems
    (line,) = survey.warnings.lines()
    assert line.startswith('left out (2 times): c is a folder without a picture, loose.png is in no folder of a class')


def test_parts_of_a_data_set_are_no_classes(root):
    (root / 'a').rename(root / 'Train')
    (root / 'b').rename(root / 'val')
    with pytest.raises(SagaError, match='folders are parts of a data set, and not classes'):
        check_classification_cfg({'data_root': str(root)})


def test_parts_beside_other_folders_look_like_a_mistake(root):
    (root / 'a').rename(root / 'train')
    (root / 'b').rename(root / 'test')
    (root / 'spare').mkdir()
    (root / 'train/2.png').rename(root / 'spare/2.png')
    (line,) = survey_classification({'data_root': str(root)}).warnings.lines()
    assert line.startswith('class that looks like a part of a data set: test, train. Name one part')


def test_one_class_alone(root):
    (root / 'a').rename(root / 'b/more')
    with pytest.raises(SagaError, match=r'one class alone: b\. Add pictures of another class'):
        check_classification_cfg({'data_root': str(root)})
    # as when a classifier is tested on some of its classes
    check_classification_cfg({'data_root': str(root), 'metainfo': {'classes': ('a', 'b')}})


def test_lists_that_contradict_the_folders(root):
    (root / 'list.txt').write_text('a/1.png b\na/2.png a\nb/1.png\n')
    (line,) = survey_classification({'data_root': str(root), 'ann_file': 'list.txt'}).warnings.lines()
    assert line == 'picture in the folder of another class: a/1.png is listed as b. The class in the list is used.'


def test_damaged_pictures_stop_a_training(root):
    path = root / 'b/1.png'
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SagaError, match='unreadable picture'):
        check_classification_cfg({'data_root': str(root)})


def test_nobody_waits_for_a_pipe_in_a_list(root):
    os.mkfifo(root / 'a/3.png')
    (root / 'list.txt').write_text('a/1.png\na/3.png\nb/1.png\n')
    survey = survey_classification({'data_root': str(root), 'ann_file': 'list.txt'})
    assert survey.problems and [name for name, _ in survey.samples] == ['a/1.png', 'b/1.png']
