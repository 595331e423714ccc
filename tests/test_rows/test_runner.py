"""How a runner cuts maps into strips, and where it writes them."""

import pytest
import torch
from torch import nn

from saga_mm.ops import Grid, map_to_tokens, tokens_to_map
from saga_mm.rows import Engine, LocalStep, MemoryRows, RowRunner, Storage
from saga_mm.rows.passes import Pass


class Compiling(Engine):
    """PyTorch, with the strips of an engine that compiles steps."""

    compiles = True


@pytest.mark.parametrize('multiple', [1, 2, 3])
@pytest.mark.parametrize('halo', [0, 1, 4])
@pytest.mark.parametrize('height', [9, 40, 80, 317, 320])
def test_strips_cover_the_map_and_are_of_one_size_but_for_low_ones_at_its_ends(height, halo, multiple):
    # ten rows take as much as a strip may
    runner, run = RowRunner(limit=10.0, chunk=10.0, engine=Compiling()), Pass(1.0, 0.0, multiple, 1)
    cuts = runner._strips(run, height, (0, height), halo)
    assert [start for start, _ in cuts] == [0, *(stop for _, stop in cuts[:-1])] and cuts[-1][1] == height
    assert all(0 < stop - start <= 10 and start % multiple == 0 for start, stop in cuts)
    if height < 40:
        return
    # rows that a step is given, halo included
    given = [(min(start, halo), min(height - stop, halo), stop - start) for start, stop in cuts]
    usual = max(set(given), key=given.count)
    assert usual[:2] == (halo, halo)
    assert sum(rows for *_, rows in given if rows == usual[2]) >= height - 2 * halo - 10 - multiple
    # PyTorch makes no use of it
    plain = RowRunner(limit=10.0, chunk=10.0)
    assert plain._strips(run, height, (0, height), halo) == plain._cuts(0, height, plain.strip_rows(run, height)[0])


def conv_step(seed: int) -> tuple[LocalStep, nn.Module]:
    torch.manual_seed(seed)
    conv = nn.Conv2d(4, 4, 3, padding=1).eval()

    def run(x: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
        return map_to_tokens(conv(tokens_to_map(x, grid))), grid

    return LocalStep(run, 16.0, reach=1, modules=[conv]), conv


@pytest.mark.parametrize('batch', [1, 2])
@pytest.mark.parametrize('maps', [0, 1])
def test_steps_that_keep_the_size_of_a_map_overwrite_it(maps, batch):
    (first, a), (second, b), (third, c) = (conv_step(i) for i in range(3))
    image, storage = torch.randn(batch, 4, 23, 5), Storage(maps * batch * 4 * 23 * 5 * 4)
    runner = RowRunner(storage, chunk=4 * 5 * 16.0 * 4 * batch, engine=Compiling())
    with torch.inference_mode():
        out = runner.run([first, second, third], MemoryRows(image.permute(0, 2, 3, 1)))
        assert torch.allclose(runner.gather(out), c(b(a(image))), atol=1e-6)
    # one map serves three steps
    assert storage.filed == (1 - maps) * image.nbytes and storage.held == maps * image.nbytes
    del out
    assert storage.free == maps * image.nbytes
