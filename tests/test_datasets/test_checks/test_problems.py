"""Many problems in one message."""

import pytest

from saga_mm.datasets.checks.problems import Problems, printable, short_list
from saga_mm.errors import SagaError


def test_nothing_noted_is_no_problem():
    problems = Problems('a.json')
    problems.raise_any()
    assert not problems and problems.lines() == []


def test_one_kind_is_one_line_with_its_first_cases():
    problems = Problems('a.json')
    for number in range(1207):
        problems.add('image without a name', 'Add it.', f'image {number}')
    assert problems
    with pytest.raises(SagaError) as error:
        problems.raise_any()
    shown = 'image 0, image 1, image 2, image 3, image 4 and 1,202 more'
    assert str(error.value) == f'a.json: image without a name (1,207 times): {shown}. Add it.'


def test_kinds_are_listed_one_a_line():
    problems = Problems('a.json')
    problems.add('no images', 'List them.')
    problems.add('are ids one off?', 'Subtract 1.')
    with pytest.raises(SagaError) as error:
        problems.raise_any()
    assert str(error.value) == 'a.json:\n- no images. List them.\n- are ids one off? Subtract 1.'


def test_texts_for_messages_are_short_and_can_be_printed():
    assert printable('a\ud800b') == 'a\\ud800b'
    assert printable('x' * 1000) == 'x' * 400 + '... (1,000 letters)'
    names = [f'n{i}' for i in range(1025)]
    assert short_list(names[:2]) == "'n0', 'n1'" and short_list(names, 1) == "'n0' and 1,024 more"
