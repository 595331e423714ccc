"""Ranges of numbers that a transform draws."""

import numpy as np
import pytest

from saga_mm.datasets.low_light.ranges import check_range, drawn_log, random_generator
from saga_mm.errors import SagaError


@pytest.mark.parametrize('values', [(0.1, 0.5), [0, 1], (0.3, 0.3)])
def test_ranges_in_order_and_within_bounds(values):
    assert check_range('gamma', values, 0, 1) == tuple(values)


@pytest.mark.parametrize(
    'values', [(0.5, 0.1), (-0.1, 0.5), (0, 1.1), (0.5,), (0, 0.5, 1), 'ab', {0: 1, 1: 2}, 0.5, None]
)
def test_others_are_refused(values):
    with pytest.raises(SagaError, match=r'^gamma must be two numbers from 0 to 1, the lower first, not'):
        check_range('gamma', values, 0, 1)


def test_half_of_what_is_drawn_lies_below_the_geometric_mean():
    rng = np.random.default_rng(0)
    drawn = np.array([drawn_log((0.01, 1.0), rng) for _ in range(2000)])
    assert drawn.min() >= 0.01 and drawn.max() <= 1.0 and abs((drawn < 0.1).mean() - 0.5) < 0.05


def test_generators_follow_the_seed():
    answers = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        answers.append(random_generator().random())
    assert answers[0] == answers[1] != answers[2]
