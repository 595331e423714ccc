"""What a survey says of a data set."""

import numpy as np
import pytest

from saga_mm.datasets.checks.problems import Problems
from saga_mm.datasets.checks.survey import Survey, scale_to


def survey(**facts) -> Survey:
    given = {
        'source': 'here',
        'unit': 'objects',
        'per_class': {'cat': 1, 'dog': 24},
        'images_per_class': {'cat': 1, 'dog': 9},
        'sizes': [(30, 20), (10, 10), (400, 300), (20, 40)],
        'num_images': 1200,
        'palette': (),
        'problems': Problems('here'),
        'warnings': Problems('here'),
        'load': lambda sample, side: None,
        'rest': {'crowds': 25},
    }
    return Survey(**{**given, **facts})


def test_a_paragraph_of_counts_and_shares():
    assert str(survey()) == (
        'here: 1,200 images of 10 x 10 to 400 x 300 pixels, 2 classes, from 2 % (cat) to 48 % (dog) of the objects.'
    )
    assert survey().total == 50 and survey().size_range() == ((10, 10), (20, 40), (400, 300))


def test_one_size_is_said_once_and_nothing_is_counted_of_nothing():
    same = survey(sizes=[(8, 4)] * 3, per_class={'cat': 0}, rest={})
    assert str(same) == 'here: 1,200 images of 8 x 4 pixels.'
    assert survey(sizes=[]).size_range() == ()


def test_warnings_follow():
    warnings = Problems('here')
    warnings.add('class that never occurs', 'Remove it.', "'cat'")
    assert str(survey(warnings=warnings)).splitlines()[1].startswith('- class that never occurs')


@pytest.mark.parametrize('smooth', [True, False])
def test_pictures_get_smaller_and_never_larger(smooth):
    image = np.arange(4 * 100, dtype=np.uint8).reshape(4, 100) % 3
    small = scale_to(image, 10, smooth)
    # a side is one pixel at least
    assert small.shape == (1, 10) and scale_to(image, 100, smooth) is image
    # class indices are never between two of them
    assert smooth or set(np.unique(small)) <= set(np.unique(image))
