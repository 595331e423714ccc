import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from saga_mm.ops import Grid, contiguous_map, map_to_tokens, pad_to_multiple, resize_table, tokens_to_map


def test_tokens_and_map_are_inverse():
    plane = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    tokens = map_to_tokens(plane)
    assert tokens.shape == (2, 20, 3)
    assert torch.equal(tokens[0, 7], plane[0, :, 1, 2])
    assert torch.equal(tokens_to_map(tokens, Grid.whole(4, 5)), plane)


@pytest.mark.parametrize(
    ('channels', 'height', 'width'), [(3, 7, 5), (3, 70, 50), (300, 40, 50), (2, 3, 3000)], ids=str
)
@pytest.mark.parametrize('requires_grad', [False, True])
def test_map_of_tokens_becomes_contiguous(channels: int, height: int, width: int, requires_grad: bool):
    tokens = torch.randn(2, height * width, channels, requires_grad=requires_grad)
    plane = tokens_to_map(tokens, Grid.whole(height, width))
    out = contiguous_map(plane)
    assert out.is_contiguous() and not plane.is_contiguous() and torch.equal(out, plane)
    assert out.requires_grad == requires_grad
    assert contiguous_map(out) is out


class Copies(TorchDispatchMode):
    """Notes the rows of each map that is copied to another."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.copy_.default:
            self.rows.append(args[1].shape[2])
        return function(*args, **(kwargs or {}))


def test_pieces_of_a_copy_fit_a_cache():
    # of 1000 tokens a row: no more than 2048 tokens, no more than 2**18 numbers, one row at least
    for channels, rows in ((4, [2, 2, 1]), (200, [1] * 5), (300, [1] * 5)):
        plane = tokens_to_map(torch.randn(1, 5 * 1000, channels), Grid.whole(5, 1000))
        with Copies() as copies:
            out = contiguous_map(plane)
        assert torch.equal(out, plane) and copies.rows == rows


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
