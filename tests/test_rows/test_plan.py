"""Plans of strips within a memory."""

import math

import pytest

from saga_mm.rows import MemoryTooSmallError, Part, RowStep, bytes_of_chunks, plan_runner


class Gather(RowStep):
    """A step whose state is its tokens."""

    sweeps, peak_floats_per_token, state_floats_per_token = 1, 8.0, 2.0


PART = Part([Gather()], 64, 16)
STATE = 2 * 4 * 2 * 64 * 16
ROW = 4 * 8 * 16


def test_half_of_what_states_leave_is_for_strips_and_the_rest_for_maps():
    runner = plan_runner([PART], 1, STATE + 40 * ROW, chunk=math.inf)
    assert runner.limit == 20 * ROW
    assert runner.storage.free == 20 * ROW
    # a chunk that is lower leaves more for maps
    assert plan_runner([PART], 1, STATE + 40 * ROW, chunk=5 * ROW).storage.free == 35 * ROW


def test_the_lowest_strips_may_take_more_than_half():
    with pytest.raises(MemoryTooSmallError, match='MiB are too little: strips need 0') as error:
        plan_runner([PART], 1, 0)
    assert error.value.smallest == STATE + ROW
    assert plan_runner([PART], 1, error.value.smallest).storage.free == 0
    with pytest.raises(MemoryTooSmallError):
        plan_runner([PART], 1, error.value.smallest - 1)


def test_of_several_parts_the_largest_counts_and_all_are_work():
    small = Part([Gather()], 8, 8)
    runner = plan_runner([small, PART, small], 1)
    assert (runner.limit, runner.chunk) == (math.inf, bytes_of_chunks())
    with pytest.raises(MemoryTooSmallError) as error:
        plan_runner([small, PART, small], 2, 0, number=2)
    # two images of numbers of two bytes
    assert error.value.smallest == STATE + ROW
