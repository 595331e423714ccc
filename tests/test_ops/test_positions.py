"""What depends on where tokens stand is recorded, and given to a step from outside."""

from typing import NamedTuple

import pytest
import torch

from saga_mm.ops import Grid
from saga_mm.ops.positions import Recorder, position_dependent


class Pair(NamedTuple):
    rows: torch.Tensor
    columns: torch.Tensor


@position_dependent
def places(grid: Grid, step: float) -> Pair:
    return Pair(step * torch.arange(grid.start, grid.stop), step * torch.arange(grid.width))


@position_dependent
def first_row(x: torch.Tensor, grid: Grid) -> torch.Tensor:
    return torch.full((1,), grid.start) + 0 * x.sum()


def test_calls_are_computed_again_for_another_piece():
    grid, x = Grid(8, 4, 2, 6), torch.zeros(3)
    with Recorder(grid) as recorder:
        found = places(grid, 2.0), first_row(x, Grid(4, 2, 1, 3))
    assert torch.equal(found[0].rows, 2 * torch.arange(2, 6)) and found[1] == 1
    assert [(call.ratio, call.kind) for call in recorder.calls] == [(1, Pair), (2, None)]
    other = Grid(8, 4, 6, 8)
    rows, columns = recorder.calls[0].tensors(other)
    assert torch.equal(rows, 2 * torch.arange(6, 8)) and torch.equal(columns, found[0].columns)
    assert torch.equal(recorder.calls[1].tensors(other)[0], torch.tensor([3.0]))


def test_given_tensors_are_the_answers():
    grid = Grid(8, 4, 2, 6)
    with Recorder(grid) as recorder:
        places(grid, 1.0)
        first_row(torch.zeros(1), grid)
    given = [torch.ones(4), torch.ones(4), torch.full((1,), 9.0)]
    with Recorder(grid, recorder.calls, given):
        answer, other = places(grid, 1.0), first_row(torch.zeros(1), grid)
    assert isinstance(answer, Pair) and answer.rows is given[0] and other is given[2]
    # nobody records any more
    assert torch.equal(places(grid, 1.0).rows, torch.arange(2.0, 6.0))


def test_a_question_about_other_rows_is_an_error():
    with Recorder(Grid(8, 4, 2, 6)), pytest.raises(ValueError, match='places is asked about other rows'):
        places(Grid(8, 4, 0, 4), 1.0)
