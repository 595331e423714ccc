import numpy as np
import pytest

from saga_mm.datasets.checks.coco_guess import Evidence, note_doubts
from saga_mm.datasets.checks.images import ListedImage
from saga_mm.datasets.checks.problems import Problems

SIZES = [(200, 150), (320, 240), (150, 200)]


def right(count: int = 12, seed: int = 0) -> list[tuple[list[float], ListedImage]]:
    """Boxes all over images of three sizes."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        width, height = SIZES[index % 3]
        wide, high = random.uniform(0.2, 0.5) * width, random.uniform(0.1, 0.4) * height
        x, y = random.uniform(0, 1) * (width - wide), random.uniform(0, 1) * (height - high)
        found.append(([x, y, wide, high], ListedImage('a.png', width, height)))
    return found


def notes(
    boxes: list, change: object = None, masks: bool = True, area: str = 'right', polygon: object = None
) -> tuple[list[str], list[str]]:
    """Problems and warnings of boxes after a change, with polygons and areas as they were."""
    evidence = Evidence()
    for box, image in boxes:
        x, y, w, h = box
        corners = np.array([x, y, x + w, y, x + w, y + h, x, y + h]).reshape(-1, 2)
        corners = corners if polygon is None else polygon(corners, image)
        written = list(box) if change is None else [float(value) for value in change(*box, image)]
        areas = {'right': w * h, 'of the box': written[2] * written[3]}
        record = dict(bbox=written, area=areas[area], segmentation=[corners.ravel().tolist()] if masks else None)
        evidence.add(record, image)
    problems, warnings = Problems('p'), Problems('w')
    note_doubts(evidence, problems, warnings)
    return problems.lines(), warnings.lines()


def corners(x, y, w, h, image):
    return x, y, x + w, y + h


@pytest.mark.parametrize('masks', [True, False])
@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('count', [1, 3, 12, 60])
def test_right_boxes_are_left_alone(masks: bool, seed: int, count: int):
    assert notes(right(count, seed), masks=masks) == ([], [])


CHANGES = {
    'x1, y1, x2, y2': corners,
    'centre x, centre y, width, height': lambda x, y, w, h, image: (x + w / 2, y + h / 2, w, h),
    'y, x, height, width': lambda x, y, w, h, image: (y, x, h, w),
    'y1, x1, y2, x2': lambda x, y, w, h, image: (y, x, y + h, x + w),
    'x, y, width, height with y counted from below': lambda x, y, w, h, image: (x, image.height - y - h, w, h),
    'x, y, width, height with the lower left corner': lambda x, y, w, h, image: (x, y + h, w, h),
    'of pictures half as large': lambda x, y, w, h, image: (x / 2, y / 2, w / 2, h / 2),
    'of pictures twice as large': lambda x, y, w, h, image: (2 * x, 2 * y, 2 * w, 2 * h),
    'percent of the width and height': lambda x, y, w, h, image: (
        100 * x / image.width,
        100 * y / image.height,
        100 * w / image.width,
        100 * h / image.height,
    ),
}


@pytest.mark.parametrize('name', CHANGES)
def test_masks_tell_what_boxes_are(name: str):
    problems, warnings = notes(right(), CHANGES[name])
    assert problems == [] and len(warnings) == 1
    assert f'; are they {name}? COCO means x, y, width, height in pixels' in warnings[0]


def test_a_part_of_the_boxes_is_counted():
    boxes = right(30)
    wrong = {tuple(box) for box, _ in boxes[:6]}
    problems, warnings = notes(boxes, lambda *box: corners(*box) if box[:4] in wrong else box[:4])
    assert problems == [] and 'are they x1, y1, x2, y2?' in warnings[0]


def test_corners_inside_the_image_are_told_by_masks_and_by_areas():
    boxes = [([10.0, 12.0 + i, 30.0, 20.0], ListedImage('a.png', 300, 200)) for i in range(6)]
    expected = '6 of 6 boxes do not fit their masks or areas; are they x1, y1, x2, y2?'
    for masks in (True, False):
        problems, warnings = notes(boxes, corners, masks=masks)
        assert problems == [] and len(warnings) == 1 and warnings[0].startswith(expected)


@pytest.mark.parametrize('name', ['x1, y1, x2, y2', 'centre x, centre y, width, height', 'of pictures twice as large'])
def test_borders_tell_what_boxes_are_without_masks(name: str):
    problems, warnings = notes(right(40), CHANGES[name], masks=False, area='of the box')
    assert problems == [] and len(warnings) == 1
    assert 'of 40 boxes reach beyond the image; are they ' + name in warnings[0]


def test_boxes_of_smaller_pictures_are_told_by_where_they_lie():
    problems, warnings = notes(right(40), CHANGES['of pictures half as large'], masks=False, area='of the box')
    assert problems == [] and 'all 40 boxes lie in the upper left 50% of their images; are they of' in warnings[0]


def test_fractions_stop_a_training():
    def of_one(x, y, w, h, image):
        return x / image.width, y / image.height, w / image.width, h / image.height

    problems, warnings = notes(right(), of_one)
    assert warnings == [] and '12 of 12 boxes hold numbers of 0 to 1; are they fractions' in problems[0]
    problems, warnings = notes(right(), polygon=lambda points, image: points / [image.width, image.height])
    assert warnings == [] and '12 of 12 masks hold polygons of 0 to 1' in problems[0]


def test_sizes_of_images_that_are_exchanged():
    boxes = [(box, ListedImage(image.name, image.height, image.width)) for box, image in right(40)]
    problems, warnings = notes(boxes)
    assert problems == [] and len(warnings) == 1
    assert 'boxes reach beyond the image; are they of images whose width and height are exchanged?' in warnings[0]
