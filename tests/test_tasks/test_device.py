"""The device that a user names, or the best one."""

import pytest
import torch

from saga_mm.errors import ArgumentError
from saga_mm.tasks.device import find_device


def test_a_device_by_name_and_the_best_that_is_there():
    assert find_device('cpu') == torch.device('cpu')
    assert find_device(None).type in ('cuda', 'npu', 'mps', 'cpu')


@pytest.mark.parametrize(
    ('name', 'problem'),
    [
        ('cuda:99', r'is not there \(.+\)'),
        ('gpu7', r'no such device; choose for example one of cpu, cuda, cuda:1, mps'),
        ('cpu:x', r'no such device; did you mean cpu\? choose for example one of .*'),
        ('cude', r'no such device; did you mean cuda\? choose for example one of .*'),
    ],
)
def test_one_that_is_not_there_is_named(name, problem):
    with pytest.raises(ArgumentError, match=rf'^device={name}: {problem}$') as error:
        find_device(name)
    assert '\n' not in str(error.value)
