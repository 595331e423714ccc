import pytest
import torch
import torch.nn.functional as F

from saga_mm.ops import Grid, contiguous_map, grid, map_to_tokens, pad_to_multiple, resize_table, tokens_to_map


def test_tokens_and_map_are_inverse():
    plane = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    tokens = map_to_tokens(plane)
    assert tokens.shape == (2, 20, 3)
    assert torch.equal(tokens[0, 7], plane[0, :, 1, 2])
    assert torch.equal(tokens_to_map(tokens, Grid.whole(4, 5)), plane)


@pytest.mark.parametrize(('limit', 'number'), [('COPIED', 1), ('COPIED', 16), ('COPIED_NUMBERS', 48), ('COPIED', 1000)])
@pytest.mark.parametrize('requires_grad', [False, True])
def test_map_of_tokens_becomes_contiguous(limit: str, number: int, requires_grad: bool, monkeypatch):
    monkeypatch.setattr(grid, limit, number)
    plane = tokens_to_map(torch.randn(2, 7 * 5, 3, requires_grad=requires_grad), Grid.whole(7, 5))
    out = contiguous_map(plane)
    assert out.is_contiguous() and not plane.is_contiguous() and torch.equal(out, plane)
    assert out.requires_grad == requires_grad
    assert contiguous_map(out) is out


def test_pieces_of_a_copy_fit_a_cache(monkeypatch):
    # of 10 tokens a row: no more than 25 tokens, no more than 160 numbers, one row at least
    monkeypatch.setattr(grid, 'COPIED', 25)
    monkeypatch.setattr(grid, 'COPIED_NUMBERS', 160)
    seen = []
    copy = torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, 'copy_', lambda self, source: seen.append(source.shape[2]) or copy(self, source))
    for channels, rows in ((4, [2, 2, 1]), (10, [1] * 5), (99, [1] * 5)):
        seen.clear()
        plane = tokens_to_map(torch.randn(1, 5 * 10, channels), Grid.whole(5, 10))
        assert torch.equal(contiguous_map(plane), plane) and seen == rows


def test_padding_is_below_and_right_and_only_where_needed():
    x = torch.ones(1, 1, 5, 8)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 1, 8, 8)
    assert torch.equal(padded[:, :, :5], x) and padded[:, :, 5:].eq(0).all()
    assert pad_to_multiple(padded, 4) is padded


def test_table_at_its_own_size_is_untouched():
    table = torch.randn(1, 12, 2)
    assert resize_table(table, (3, 4), Grid.whole(3, 4)) is table


def test_table_is_resized_bilinearly_and_rows_are_absolute():
    table = torch.randn(1, 12, 2)
    whole = resize_table(table, (3, 4), Grid.whole(7, 5))
    plane = F.interpolate(table.view(1, 3, 4, 2).permute(0, 3, 1, 2), (7, 5), mode='bilinear')
    assert torch.equal(whole, map_to_tokens(plane))
    assert torch.allclose(resize_table(table, (3, 4), Grid(7, 5, 2, 6)), whole[:, 10:30])
    assert torch.equal(resize_table(table, (3, 4), Grid(3, 4, 1, 2)), table[:, 4:8])
