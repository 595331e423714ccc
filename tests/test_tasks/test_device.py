"""The device that a user names, or the best one."""

import pytest
import torch

from saga_mm.errors import ArgumentError
from saga_mm.tasks.device import find_device


def test_a_device_by_name_and_the_best_that_is_there():
    assert find_device('cpu') == torch.device('cpu')
    assert find_device(None).type in ('cuda', 'npu', 'mps', 'cpu')


@pytest.mark.parametrize('name', ['gpu7', 'cuda:99', 'cpu:x'])
def test_one_that_is_not_there_is_named(name):
    with pytest.raises(ArgumentError, match=rf'^device={name}: is not there \(.+\)$') as error:
        find_device(name)
    assert '\n' not in str(error.value)
