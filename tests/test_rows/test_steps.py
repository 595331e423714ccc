"""Steps over maps in strips of rows: the same numbers as over the whole map, wherever the maps are kept."""

import collections
import itertools
import math
import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.ops import Grid, map_to_tokens, tokens_to_map
from saga_mm.rows import (
    AppliedRows,
    Engine,
    FileRows,
    ImageRows,
    LocalStep,
    MemoryRows,
    MemoryTooSmallError,
    Part,
    RowRunner,
    RowStep,
    StepRows,
    Storage,
    crop_rows,
    plan_runner,
)
from saga_mm.rows.passes import Pass


def image(*shape: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64)


def rows_of(x: torch.Tensor) -> ImageRows:
    return ImageRows(lambda start, stop: x[:, :, start:stop], *x.shape[2:], batch=len(x))


def local(module: nn.Module, peak_floats_per_token: float, stride: int = 1, reach: int = 0) -> LocalStep:
    def run(x: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
        plane = module(tokens_to_map(x, grid))
        start = grid.start // stride
        out = Grid(-(-grid.height // stride), plane.shape[3], start, start + plane.shape[2])
        return map_to_tokens(plane), out

    return LocalStep(run, peak_floats_per_token, stride, reach)


def conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, stride, kernel // 2).double()


class Centre(RowStep):
    """Divide the deviations from the mean by one plus their mean square, which takes two sweeps, and blur."""

    sweeps, peak_floats_per_token = 2, 6.0

    def __init__(self, multiple: int = 1) -> None:
        self.row_multiple = multiple
        self.halo = 2 * multiple
        self.written: list[tuple[int, int]] = []

    def write(self, x, grid, state=None):
        assert grid.start % self.row_multiple == 0
        self.written.append((grid.start, grid.stop))
        values = x if state is None else (x - state[0]).square()
        return values.sum(1, keepdim=True), x.shape[1], None if state is None else state[0]

    def merge(self, states):
        sums, counts, means = zip(*states, strict=True)
        mean = sum(sums) / sum(counts)
        return (mean, None) if means[0] is None else (means[0], mean)

    def read(self, x, grid, state, keep):
        x = (x - state[0]) / (1 + state[1])
        plane = F.avg_pool2d(tokens_to_map(x, grid), (5, 1), 1, (2, 0), count_include_pad=False)
        return crop_rows(map_to_tokens(plane), grid, keep)


def steps() -> list[RowStep]:
    torch.manual_seed(1)
    # strides 2 and 3 and a wide reach, a kernel much higher than a strip, another number of channels
    stack = nn.Sequential(conv(3, 4, 3, 2), nn.GELU(), conv(4, 6, 5, 3))
    return [
        local(stack, 40.0, 6, 5),
        Centre(),
        local(conv(6, 6, 11), 30.0, 1, 5),
        Centre(2),
        local(conv(6, 2, 1), 10.0),
        local(conv(2, 2, 3), 10.0, 1, 1),
    ]


def whole(x: torch.Tensor) -> torch.Tensor:
    return RowRunner(rows=10**6).gather(RowRunner(rows=10**6).run(steps(), rows_of(x)))


@pytest.mark.parametrize('size', [(61, 23), (97, 8), (5, 30), (1, 1)], ids=str)
def test_one_strip_is_what_the_modules_do(size):
    x = image(2, 3, *size)
    stack, centre, blur, again, narrow, last = steps()
    plane = tokens_to_map(*stack.function(map_to_tokens(x), Grid.whole(*size)))
    for step in (centre, blur, again, narrow, last):
        if isinstance(step, LocalStep):
            plane = tokens_to_map(*step.function(map_to_tokens(plane), Grid.whole(*plane.shape[2:])))
        else:
            mean = plane.mean((2, 3), keepdim=True)
            plane = (plane - mean) / (1 + (plane - mean).square().mean((2, 3), keepdim=True))
            plane = F.avg_pool2d(plane, (5, 1), 1, (2, 0), count_include_pad=False)
    assert torch.allclose(whole(x), plane, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('memory', [math.inf, 0, 1500])
@pytest.mark.parametrize('rows', [1, 3, 4, 7])
@pytest.mark.parametrize('size', [(61, 23), (97, 8), (5, 30), (1, 1)], ids=str)
def test_strips_equal_the_whole(size, rows, memory, tmp_path):
    x = image(2, 3, *size)
    runner = RowRunner(Storage(memory, tmp_path), rows=rows)
    out = runner.run(steps(), rows_of(x))
    assert isinstance(out, FileRows if memory == 0 else MemoryRows) or memory == 1500
    assert torch.allclose(runner.gather(out), whole(x), rtol=1e-10, atol=1e-12)
    assert not list(tmp_path.iterdir())


class Ahead(Engine):
    """Asks for pieces ahead, and answers into memory that the next answer writes over, as an engine may."""

    lanes = 2

    def read_each(self, step, pieces, state):
        waiting, memory = collections.deque(), torch.empty(0, dtype=torch.float64)

        def answer():
            x, grid, keep = waiting.popleft()
            tokens = step.read(x, grid, state, keep)
            return memory.resize_(tokens.shape).copy_(tokens)

        for x, *place in pieces:
            waiting.append((x.clone(), *place))
            if len(waiting) > 2:
                yield answer()
        while waiting:
            yield answer()

    def write_each(self, step, pieces, state=None):
        waiting = collections.deque()
        for x, grid in pieces:
            waiting.append((x.clone(), grid))
            if len(waiting) > 2:
                yield step.write(*waiting.popleft(), state)
        while waiting:
            yield step.write(*waiting.popleft(), state)


@pytest.mark.parametrize('rows', [1, 4, None])
@pytest.mark.parametrize('size', [(61, 23), (5, 30), (1, 1)], ids=str)
def test_an_engine_may_ask_for_pieces_ahead(size, rows):
    x = image(2, 3, *size)
    runner = RowRunner(rows=rows, engine=Ahead(), chunk=4e4)
    assert torch.allclose(runner.gather(runner.run(steps(), rows_of(x))), whole(x), rtol=1e-10, atol=1e-12)


def test_strips_are_alike_and_fill_the_lanes():
    run = Pass(row=1.0, edge=0.0, multiple=2, least=1)
    assert RowRunner(chunk=26, engine=Engine()).strip_rows(run, 80) == (20, 1)
    runner = RowRunner(chunk=26, engine=Ahead())
    assert runner.strip_rows(run, 80) == (10, 2)
    # the lowest strips may fit one by one alone
    assert RowRunner(limit=3, chunk=26, engine=Ahead()).strip_rows(run, 80) == (2, 1)
    # a map that is low is not cut into strips that are halo for the most part
    assert runner.strip_rows(run._replace(least=8), 10)[0] == 12
    assert RowRunner(rows=3, engine=Ahead()).strip_rows(run, 80) == (4, 1)


def test_source_and_results_stay_as_they_are():
    x = image(1, 6, 19, 4)
    source = MemoryRows(x.permute(0, 2, 3, 1))
    before = x.clone()
    runner = RowRunner(rows=3)
    first = runner.run([Centre()], source)
    kept = runner.gather(first)
    runner.run([local(conv(6, 6, 3), 10.0, 1, 1), Centre()], first)
    assert torch.equal(x, before) and torch.equal(runner.gather(first), kept)


def test_the_first_sweep_is_made_while_the_map_is():
    asked: list[tuple[int, int]] = []
    x = image(1, 6, 12, 4)

    def read(start: int, stop: int) -> torch.Tensor:
        asked.append((start, stop))
        return x[:, :, start:stop]

    centre = Centre()
    RowRunner(rows=4).run([local(conv(6, 6, 1), 10.0), centre], ImageRows(read, 12, 4))
    assert asked == [(0, 4), (4, 8), (8, 12)] and centre.written == asked * 2


def test_a_map_that_is_not_kept():
    x, module = image(1, 3, 17, 5), conv(3, 4, 3, 2)
    made = StepRows(local(module, 10.0, 2, 1), rows_of(x))
    expected = module(x)
    assert (made.height, made.width) == (9, 3)
    for start, stop in itertools.combinations(range(10), 2):
        assert torch.allclose(made.plane(start, stop), expected[:, :, start:stop], atol=1e-12)
    assert made.read(0, 9).requires_grad
    doubled = AppliedRows(made, lambda tokens: 2 * tokens)
    assert torch.allclose(doubled.plane(3, 7), 2 * expected[:, :, 3:7], atol=1e-12)


def test_a_map_that_is_not_kept_aligns_its_cuts():
    centre, x = Centre(multiple=4), image(1, 6, 17, 5)
    runner = RowRunner(rows=4)
    made = StepRows(centre, rows_of(x), runner.state(centre, rows_of(x)))
    grids = []
    centre.read = lambda x, grid, state, keep: grids.append((grid.start, grid.stop)) or crop_rows(x, grid, keep)
    assert torch.equal(made.plane(9, 14), x[:, :, 9:14])
    assert grids == [(0, 17)]


def test_every_strip_keeps_its_multiple():
    seen = []
    centre = Centre(multiple=3)
    first = local(conv(6, 6, 1), 10.0)
    runner = RowRunner(rows=4)
    out = runner.run([first, centre], rows_of(image(1, 6, 20, 4)))
    seen += centre.written
    assert out.height == 20 and {start % 3 for start, _ in seen} == {0}


@pytest.mark.parametrize('limit', [2000, 8000, 10**9])
def test_strips_stay_within_the_limit(limit):
    tokens = []
    step = local(conv(6, 6, 3), 20.0, 1, 1)
    inner = step.function
    step.function = lambda x, grid: tokens.append(x.shape[1]) or inner(x, grid)
    x = image(1, 6, 400, 4)
    RowRunner(limit=limit).run([step], rows_of(x))
    assert max(tokens) * 4 * step.peak_floats_per_token <= limit
    # and are as high as they may be
    assert max(tokens) * 4 * step.peak_floats_per_token > 0.7 * min(limit, 4 * 1600 * step.peak_floats_per_token)


def test_plan_fits_what_it_says_fits():
    part = Part(steps(), 400, 40)
    with pytest.raises(MemoryTooSmallError, match='MiB are too little: strips need') as error:
        plan_runner([part], batch=2, memory=1000)
    smallest = error.value.smallest
    assert plan_runner([part], 2, smallest).storage.free >= -1
    with pytest.raises(MemoryTooSmallError):
        plan_runner([part], 2, smallest - 1)
    x = image(2, 3, 400, 40)
    for memory in (smallest, 4 * smallest, math.inf):
        runner = plan_runner([part], 2, memory)
        assert torch.allclose(runner.gather(runner.run(part.steps, rows_of(x))), whole(x), rtol=1e-9)


def test_plan_counts_states():
    class Gather(Centre):
        state_floats_per_token = 2.0

    plain, gather = Part([Centre()], 100, 10), Part([Gather()], 100, 10)
    errors = []
    for part in (plain, gather):
        with pytest.raises(MemoryTooSmallError) as error:
            plan_runner([part], 1, 0)
        errors.append(error.value.smallest)
    # in pieces and merged
    assert errors[1] - errors[0] == 2 * 2 * 4 * 1000


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_scratch_file(dtype, tmp_path):
    like = torch.zeros(2, 1, 3, dtype=dtype)
    rows = FileRows(like, 7, 5, tmp_path)
    x = torch.randn(2, 7 * 5, 3).to(dtype)
    for start, stop in ((4, 7), (0, 1), (1, 4)):
        rows.write(start, x[:, start * 5 : stop * 5])
    assert all(torch.equal(rows.read(i, j), x[:, i * 5 : j * 5]) for i, j in itertools.combinations(range(8), 2))
    assert torch.equal(rows.plane(2, 4), tokens_to_map(x[:, 10:20], Grid(7, 5, 2, 4)))
    # even while it is open nobody would find it
    assert not list(tmp_path.iterdir())
    descriptor = rows.file.fileno()
    del rows
    with pytest.raises(OSError, match='descriptor'):
        os.fstat(descriptor)


def test_scratch_file_that_was_not_written(tmp_path):
    with pytest.raises(OSError, match='shorter'):
        FileRows(torch.zeros(1, 1, 3), 7, 5, tmp_path).read(0, 7)


def test_full_disk_is_noticed_before_the_work(tmp_path):
    with pytest.raises(OSError, match=r'no space for a scratch file of .* GiB'):
        FileRows(torch.zeros(1, 1, 2**20), 2**20, 2**20, tmp_path)


def test_storage_gives_memory_back(tmp_path):
    like = torch.zeros(1, 1, 10)
    storage = Storage(1000, tmp_path)
    first = storage.new(like, 5, 4)
    second = storage.new(like, 5, 4)
    assert isinstance(first, MemoryRows) and isinstance(second, FileRows)
    del first
    assert isinstance(storage.new(like, 5, 4), MemoryRows)
