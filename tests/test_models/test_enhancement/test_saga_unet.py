"""The trunk for enhancement: sizes, cost, identity at first, and strips that equal the whole."""

import pytest
import torch

from benchmarks.nets import enhancer as build
from saga_mm.analysis.cost import measure_cost
from saga_mm.models.enhancement.saga_unet import SAGAUNet
from saga_mm.models.enhancement.unet_layers import Downsample, GlobalTone, LocalBlock, Upsample
from saga_mm.ops import Grid
from saga_mm.rows import ImageRows, RowRunner, limit_chunks

SMALL = {'embed_dims': (8, 16, 24), 'depths': (1, 1, 2), 'num_heads': (0, 2, 2), 'mlp_ratio': 2}
MIXERS = ('saga', 'linear', 'focused', 'rala', {'type': 'softmax', 'sr_ratio': 2})


def lively(module: torch.nn.Module) -> torch.nn.Module:
    """Weights of a size that a trained model has, also where they start at zero."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_(std=0.2)
    return module


@pytest.mark.parametrize('size', [(32, 32), (33, 47), (1, 1), (2, 51), (9, 8)])
def test_map_at_half_the_size_rounded_up(size: tuple[int, int]) -> None:
    (out,) = SAGAUNet(SMALL)(torch.rand(2, 3, *size))
    assert out.shape == (2, 8, -(-size[0] // 2), -(-size[1] // 2))
    assert out.isfinite().all()


@pytest.mark.parametrize('attention', MIXERS, ids=str)
def test_gradients_reach_every_parameter(attention: str | dict) -> None:
    model = lively(SAGAUNet(SMALL, attention))
    model(torch.rand(1, 3, 24, 40))[0].square().sum().backward()
    dead = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not dead


@pytest.mark.parametrize('attention', MIXERS[:4], ids=str)
@pytest.mark.parametrize('rows', [2, 5, 1000])
def test_strips_equal_the_whole(attention: str, rows: int) -> None:
    model = lively(SAGAUNet(SMALL, attention)).eval().double()
    image = torch.rand(2, 3, 37, 27, dtype=torch.float64)
    with torch.no_grad():
        (whole,) = model(image)
        runner = RowRunner(rows=rows)
        (strips,) = model.forward_rows(ImageRows(lambda start, stop: image[:, :, start:stop], 37, 27, 2), runner)
        assert torch.allclose(runner.gather(strips), whole, rtol=1e-9, atol=1e-9)


def test_strips_are_for_evaluation() -> None:
    image = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match='eval'):
        SAGAUNet(SMALL).forward_rows(ImageRows(lambda start, stop: image[:, :, start:stop], 16, 16), RowRunner())


@pytest.mark.parametrize(('arch', 'most'), [('base', 2.0e6), ('tiny', 0.3e6)])
def test_parameters(arch: str, most: float) -> None:
    assert sum(parameter.numel() for parameter in SAGAUNet(arch).parameters()) <= most


def test_unknown_arch_is_named() -> None:
    with pytest.raises(ValueError, match="'huge'"):
        SAGAUNet('huge')


def test_cost_is_linear_in_pixels() -> None:
    model = SAGAUNet('base').eval()
    # in whole maps: chunks compute the rows at their edges twice
    with limit_chunks(2**30):
        macs = [measure_cost(model, torch.empty(1, 3, *size)).macs for size in ((128, 128), (256, 512))]
    assert macs[1] == pytest.approx(8 * macs[0], rel=2e-3)


def test_cost_stays_within_its_budget() -> None:
    model, sizes = build('saga_unet').eval(), ((256, 256), (400, 608), (1080, 1920))
    costs = [measure_cost(model, torch.empty(1, 3, *size)) for size in sizes[:-1]]
    # few chunks: with more, it holds less, and is long to trace
    with limit_chunks(2**30):
        costs.append(measure_cost(model, torch.empty(1, 3, *sizes[-1])))
    assert costs[0].macs <= 3.3e9
    for cost, (height, width) in zip(costs, sizes, strict=True):
        pixels = height * width
        assert cost.peak_bytes <= 0.45 * 2**30 * pixels / 1e6
        # chunks of rows compute the rows at their edges twice
        assert cost.macs / pixels == pytest.approx(costs[0].macs / 256**2, rel=0.13)


@pytest.mark.parametrize('size', [(6, 8), (5, 7), (1, 3)])
@pytest.mark.parametrize('kernel', [2, 3])
def test_downsample_and_upsample_sizes(size: tuple[int, int], kernel: int) -> None:
    tokens, grid = Downsample(4, 6, kernel)(torch.rand(1, 4, *size))
    half = [-(-side // 2) for side in size]
    assert (grid.height, grid.width) == tuple(half)
    assert tokens.shape == (1, half[0] * half[1], 6)
    assert Upsample(6, 4)(torch.rand(1, 6, *half), size).shape == (1, 4, *size)


def test_tone_starts_as_the_identity_and_follows_its_equation() -> None:
    torch.manual_seed(1)
    tone, x = GlobalTone(4).double(), torch.randn(2, 30, 4, dtype=torch.float64)
    grid = Grid.whole(5, 6)
    assert torch.equal(tone(x, grid), x)
    lively(tone)
    facts = torch.cat([x.mean(1), x.std(1, correction=0)], dim=1)
    hidden = torch.nn.functional.gelu(facts @ tone.fc1.weight.T + tone.fc1.bias)
    scale, shift = (hidden @ tone.fc2.weight.T + tone.fc2.bias).split(4, dim=1)
    assert torch.allclose(tone(x, grid), x * (1 + scale[:, None]) + shift[:, None])


def test_tone_of_parts_is_that_of_the_whole() -> None:
    tone, x, grid = lively(GlobalTone(4)).double(), torch.randn(1, 42, 4, dtype=torch.float64), Grid.whole(6, 7)
    parts = [tone.write(x[:, :7], Grid(6, 7, 0, 1)), tone.write(x[:, 7:], Grid(6, 7, 1, 6))]
    merged = tone.merge(parts)
    assert merged.count == 42
    assert torch.allclose(tone.read(x, grid, merged, grid), tone(x, grid))


def test_local_block_sees_its_neighbours_alone() -> None:
    block, x = lively(LocalBlock(4, 8)), torch.randn(1, 49, 4)
    changed = x.clone()
    changed[:, 24, 0] += 1
    moved = (block(x, Grid.whole(7, 7)) - block(changed, Grid.whole(7, 7))).abs().sum(-1).view(7, 7) > 0
    assert moved[2:5, 2:5].all()
    assert moved.sum() == 9
