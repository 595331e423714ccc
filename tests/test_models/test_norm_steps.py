"""Norms by the statistics of a whole map or batch, over rows: those of PyTorch, with gradients."""

import copy

import pytest
import torch
from torch import nn

from saga_mm.models.norm_steps import BatchNormStep, GroupNormStep, merge_moments
from saga_mm.ops import Grid

HEIGHT, WIDTH = 7, 5


def over_rows(step, x: torch.Tensor, cuts: tuple[int, ...]) -> torch.Tensor:
    """A map ``(B, C, H, W)`` through a step, in strips that end at ``cuts``."""
    tokens = x.permute(0, 2, 3, 1)
    spans = list(zip((0, *cuts), (*cuts, HEIGHT)))
    pieces = [tokens[:, start:stop].flatten(1, 2) for start, stop in spans]
    grids = [Grid(HEIGHT, WIDTH, start, stop) for start, stop in spans]
    state = step.merge([step.write(piece, grid) for piece, grid in zip(pieces, grids)])
    outs = [step.read(piece, grid, state, grid) for piece, grid in zip(pieces, grids)]
    return torch.cat(outs, 1).unflatten(1, (HEIGHT, WIDTH)).permute(0, 3, 1, 2)


def lively(norm: nn.Module) -> nn.Module:
    for parameter in norm.double().parameters():
        nn.init.normal_(parameter)
    return norm


@pytest.mark.parametrize('cuts', [(), (1,), (2, 3, 6)])
@pytest.mark.parametrize('make', [lambda: nn.GroupNorm(2, 6), lambda: nn.GroupNorm(3, 6, affine=False)])
def test_group_norm(make, cuts):
    norm, x = lively(make()), torch.randn(2, 6, HEIGHT, WIDTH, dtype=torch.float64, requires_grad=True)
    expected = norm(x).relu()
    found = over_rows(GroupNormStep(norm, nn.ReLU()), x, cuts)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    leaves = [x, *norm.parameters()]
    for one, other in zip(*(torch.autograd.grad(out, leaves, weights) for out in (found, expected))):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('cuts', [(), (1,), (2, 3, 6)])
@pytest.mark.parametrize('momentum', [0.1, None])
def test_batch_norm_in_training_moves_its_statistics_once(momentum, cuts):
    norm = lively(nn.BatchNorm2d(4, momentum=momentum)).train()
    twin, x = copy.deepcopy(norm), torch.randn(3, 4, HEIGHT, WIDTH, dtype=torch.float64, requires_grad=True)
    for _ in range(2):
        expected, found = norm(x), over_rows(BatchNormStep(twin), x, cuts)
        torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    (one,), (other,) = (torch.autograd.grad(out, [x], weights) for out in (found, expected))
    torch.testing.assert_close(one, other)
    assert {**twin.state_dict()}.keys() == norm.state_dict().keys()
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(twin.state_dict()[name], value, msg=name)


def test_moments_of_parts_are_those_of_the_whole():
    step, grid = BatchNormStep(nn.BatchNorm2d(3)), Grid.whole(HEIGHT, WIDTH)
    x = torch.randn(2, 30, 3, dtype=torch.float64)
    merged = merge_moments([step.write(x[:, rows], grid) for rows in (slice(0, 4), slice(4, 5), slice(5, 30))])
    assert merged.count == 60
    torch.testing.assert_close(merged.mean, x.mean((0, 1)))
    torch.testing.assert_close(merged.variance, x.var((0, 1), correction=0))
