import pytest

from saga_mm.errors import SagaError
from saga_mm.rows.memory_size import memory_size


@pytest.mark.parametrize(
    ('text', 'size'),
    [('4GB', 4 * 2**30), ('512M', 512 * 2**20), ('1.5 GiB', 3 * 2**29), ('2000000', 2000000), ('2kb', 2048)],
)
def test_sizes(text, size):
    assert memory_size(text) == size


def test_numbers_and_none_stay():
    assert memory_size(2**30) == 2**30 and memory_size(None) is None


@pytest.mark.parametrize(
    ('text', 'meant'),
    [
        ('12', '12GB'),
        (12, '12GB'),
        ('12B', '12GB'),
        ('1.5', '1.5GB'),
        (256, '256GB'),
        ('800', '800MB'),
        (4096, '4096MB'),
    ],
)
def test_a_number_without_a_unit_is_asked_for_it(text, meant):
    with pytest.raises(SagaError, match=rf'^max_memory={text}: is .* bytes, .*no unit; did you mean {meant}\?$'):
        memory_size(text)


@pytest.mark.parametrize('text', ['', 'much', '4XB', '-1GB', '0', '4 G B', 0, -1])
def test_no_sizes(text):
    with pytest.raises(SagaError, match=r'^max_memory=.*: is no size'):
        memory_size(text)
