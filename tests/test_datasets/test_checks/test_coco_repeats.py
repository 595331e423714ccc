from saga_mm.datasets.checks.coco_repeats import note_repeats
from saga_mm.datasets.checks.images import ListedImage
from saga_mm.datasets.checks.problems import Problems


def noted(images: dict, annotations: list) -> list[str]:
    warnings = Problems('a.json')
    note_repeats(images, annotations, warnings)
    return warnings.lines()


IMAGES = {1: ListedImage('a.png', 9, 7), 2: ListedImage('b.png', 9, 7)}
BOX = {'image_id': 1, 'category_id': 3, 'bbox': [1, 2, 3.5, 4], 'iscrowd': 0}


def test_pictures_under_several_ids():
    (line,) = noted({**IMAGES, 7: ListedImage('a.png', 9, 7)}, [])
    assert line.startswith('picture listed more than once: a.png (2 times). It is trained on and counted each time')


def test_annotations_that_repeat_another():
    others = [{**BOX, 'image_id': 2}, {**BOX, 'category_id': 4}, {**BOX, 'bbox': [1, 2, 3, 4]}, {**BOX, 'iscrowd': 1}]
    assert noted(IMAGES, [BOX, *others]) == []
    (line,) = noted(IMAGES, [BOX, *others, {**BOX, 'id': 9}, dict(BOX)])
    assert line.startswith('2 annotations repeat another of the same picture, class and box, the first in a.png.')


def test_what_is_malformed_is_passed_over():
    bad = [None, 3, {}, {'bbox': 4}, {**BOX, 'bbox': [[1], 2, 3, 4]}, {**BOX, 'image_id': [1]}]
    assert noted(IMAGES, bad + bad) == []
