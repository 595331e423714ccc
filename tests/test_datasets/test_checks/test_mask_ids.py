"""What the ids of all masks together seem to be."""

import numpy as np
import pytest

from saga_mm.errors import SagaError


@pytest.mark.parametrize(('value', 'words'), [(255, 'is not learned'), (128, 'is no class'), (254, 'is no class')])
def test_masks_of_two_values_stop_a_training(data, value: int, words: str):
    for name in 'abc':
        data.put_mask(name, (data.ids == 1).astype(np.uint8) * value)
    data.refuse(rf'all 3 masks hold 0 and {value} alone, and {value} {words}\. Save the object as 1')
    with pytest.raises(SagaError, match=f'hold 0 and {value} alone'):
        data.check_cfg(test_mode=True)


def test_masks_of_0_and_255_among_others_are_counted(data):
    data.put_mask('a', (data.ids == 1).astype(np.uint8) * 255)
    for name in 'bc':
        data.put_mask(name, np.where(data.ids == 255, 0, data.ids))
    data.warn('1 of 3 masks hold 0 and 255 alone, and the others classes. 255 is not learned')
    # where 255 is the border of objects in other masks, it is so in these
    for name in 'bc':
        data.put_mask(name, data.ids)
    assert not data.check().warnings


def test_ids_that_are_one_off(data):
    for name in 'abc':
        data.put_mask(name, np.where(data.ids == 255, 255, data.ids + 1).astype(np.uint8))
    data.refuse(r'ids run from 1 to 3, and 3 classes are numbered from 0; are they one off\? Subtract 1')
