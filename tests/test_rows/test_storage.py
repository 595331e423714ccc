"""Maps in memory and in scratch files: the same rows, and the memory that they count."""

import gc
import os

import pytest
import torch

from saga_mm.ops import Grid
from saga_mm.rows import AppliedRows, FileRows, ImageRows, MemoryRows, Rows, Storage

MAP = torch.arange(2 * 5 * 3 * 4.0).view(2, 5, 3, 4)


def tokens(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return MAP.flatten(1, 2).to(dtype)


@pytest.fixture(params=['memory', 'file'])
def storage(request, tmp_path) -> Storage:
    return Storage(1e9 if request.param == 'memory' else 0, tmp_path)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_rows_come_back_as_they_were_written(storage, dtype):
    rows = storage.new(tokens(dtype), 5, 3)
    # out of order, a part at a time, from a tensor that is not contiguous
    rows.write(3, tokens(dtype)[:, 9:])
    rows.write(0, tokens(dtype).transpose(1, 2).contiguous().transpose(1, 2)[:, :9])
    assert torch.equal(rows.read(0, 5), tokens(dtype)) and rows.read(1, 3).dtype == dtype
    assert torch.equal(rows.read(1, 3), tokens(dtype)[:, 3:9])
    assert torch.equal(rows.plane(2, 4), MAP[:, 2:4].permute(0, 3, 1, 2).to(dtype))
    assert rows.grid(2, 4) == Grid(5, 3, 2, 4) and rows.sources(0, 5) == []


def test_which_tokens_a_map_holds(storage):
    rows = storage.new(tokens(), 5, 3)
    assert rows.holds(tokens()[:1, :2])
    assert not rows.holds(tokens(torch.float64)) and not rows.holds(tokens()[..., :3])


def test_what_does_not_fit_goes_to_files_and_memory_comes_back(tmp_path):
    size = MAP.numel() * 4
    storage = Storage(2.5 * size, tmp_path)
    kept = [storage.new(tokens(), 5, 3) for _ in range(3)]
    assert [type(rows) for rows in kept] == [MemoryRows, MemoryRows, FileRows]
    assert storage.filed == size and storage.free == size / 2
    del kept[0]
    gc.collect()
    assert isinstance(storage.new(tokens(), 5, 3), MemoryRows) and storage.filed == size
    # a scratch file has no name that could be left behind
    assert os.listdir(tmp_path) == []


def test_a_scratch_file_is_refused_where_the_disk_is_too_small(tmp_path):
    with pytest.raises(OSError, match=r'no space for a scratch file of \d+\.\d GiB'):
        FileRows(tokens(), 2**50, 3, tmp_path)


def test_a_scratch_file_that_was_cut_is_an_error_and_no_picture(tmp_path):
    rows = Storage(0, tmp_path).new(tokens(), 5, 3)
    rows.write(0, tokens())
    os.ftruncate(rows.file.fileno(), 100)
    with pytest.raises(OSError, match='shorter than what was written'):
        rows.read(0, 5)


def test_images_and_functions_are_read_when_rows_are_asked_for():
    asked = []

    def read(start: int, stop: int) -> torch.Tensor:
        asked.append((start, stop))
        return MAP.permute(0, 3, 1, 2)[:, :, start:stop]

    image = ImageRows(read, 5, 3, batch=2)
    doubled = AppliedRows(image, lambda x: 2 * x)
    assert not asked and (doubled.batch, doubled.height, doubled.width) == (2, 5, 3)
    assert torch.equal(doubled.read(1, 4), 2 * tokens()[:, 3:12]) and asked == [(1, 4)]
    (span,) = doubled.sources(1, 4)
    assert span == (image, 1, 4)


def test_a_map_of_no_kind_gives_nothing():
    with pytest.raises(NotImplementedError):
        Rows(1, 2, 3).read(0, 1)
