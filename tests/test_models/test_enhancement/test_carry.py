"""States that are carried from frame to frame."""

import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.carry import CarryingRunner
from saga_mm.models.enhancement.enhancer_rows import enhance_rows
from saga_mm.models.enhancement.unet_layers import GlobalTone
from saga_mm.models.enhancement.weight_files import build_enhancer
from saga_mm.rows import MemoryRows, RowRunner

SMALL = {'embed_dims': (8, 8, 16), 'depths': (1, 1, 1), 'num_heads': (0, 1, 2), 'mlp_ratio': 2}
PVT = {
    'type': 'saga_mm.PVT',
    'arch': {
        'embed_dims': (8, 8, 16, 16),
        'depths': (1, 1, 1, 1),
        'num_heads': (1, 1, 2, 2),
        'mlp_ratios': (2, 2, 2, 2),
        'sr_ratios': (8, 4, 2, 1),
    },
    'attention': 'saga',
}


def build(attention: str | dict = 'saga') -> LowLightEnhancer:
    return lively({'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': SMALL, 'attention': attention}})


def build_pvt() -> LowLightEnhancer:
    channels = list(PVT['arch']['embed_dims'])
    head = {'in_channels': channels, 'strides': [4, 8, 16, 32], 'channels': 8}
    neck = {'type': 'saga_mm.SAGAPyramid', 'in_channels': channels, 'embed_dims': 16, 'num_heads': 2}
    return lively({'backbone': PVT, 'neck': neck, 'head': head, 'pad_divisor': 32})


def lively(config: dict) -> LowLightEnhancer:
    torch.manual_seed(0)
    model = build_enhancer(config).double().eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def frames(count: int = 3, size: tuple[int, int] = (32, 48)) -> list[torch.Tensor]:
    return list(torch.rand(count, 1, *size, 3, dtype=torch.float64))


def run(model: LowLightEnhancer, runner: CarryingRunner, frame: torch.Tensor) -> torch.Tensor:
    runner.begin_frame()
    return runner.gather(enhance_rows(model, MemoryRows(frame), runner))


@pytest.mark.parametrize('make', [build, build_pvt])
def test_first_frame_and_no_decay_are_single_images(make) -> None:
    model = make()
    for decay, count in ((0.8, 1), (0.0, 3)):
        runner = CarryingRunner(RowRunner(rows=8), decay)
        for frame in frames()[:count]:
            expected = model.enhance(frame.permute(0, 3, 1, 2))
            assert torch.allclose(run(model, runner, frame), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('make', [build, build_pvt])
@pytest.mark.parametrize('rows', [None, 8])
def test_same_frame_again_changes_nothing(make, rows) -> None:
    model, frame = make(), frames()[0]
    runner = CarryingRunner(RowRunner(rows=rows), 0.8)
    first, *others = (run(model, runner, frame) for _ in range(3))
    assert all(torch.allclose(first, other, rtol=1e-9, atol=1e-9) for other in others)


@pytest.mark.parametrize('make', [build, build_pvt])
def test_what_came_before_counts_until_reset(make) -> None:
    model, (first, second, _) = make(), frames()
    alone = run(model, CarryingRunner(RowRunner()), second)
    runner = CarryingRunner(RowRunner(), 0.8)
    run(model, runner, first / 4)
    assert (run(model, runner, second) - alone).abs().max() > 1e-3
    runner.reset()
    assert torch.equal(run(model, runner, second), alone)


def test_states_are_exponential_means() -> None:
    """What a layer over the whole map reads is the mean over time of what it wrote."""
    torch.manual_seed(0)
    step, decay = GlobalTone(3).double(), 0.7
    torch.nn.init.normal_(step.fc2.weight)
    runner, mean = CarryingRunner(RowRunner(rows=5), decay), None
    for frame in frames(4):
        runner.begin_frame()
        made = runner.gather(runner.run([step], MemoryRows(frame)))
        tokens = frame.flatten(1, 2)
        own = torch.stack([tokens.mean(1), tokens.square().mean(1)])
        mean = own if mean is None else decay * mean + (1 - decay) * own
        deviation = (mean[1] - mean[0].square()).sqrt()
        scale, shift = step.fc2(step.act(step.fc1(torch.cat([mean[0], deviation], 1))))[0].chunk(2)
        assert torch.allclose(made[0].permute(1, 2, 0), frame[0] * (1 + scale) + shift)


def test_frames_of_another_size_share_the_scene() -> None:
    model, runner = build(), CarryingRunner(RowRunner(), 0.9)
    whole = frames(1, (32, 48))[0]
    first = run(model, runner, whole)
    again = run(model, runner, torch.cat([whole, whole], 1))
    assert torch.allclose(again[:, :, 8:16, 8:-8], first[:, :, 8:16, 8:-8], atol=5e-2)


@pytest.mark.parametrize(
    ('attention', 'name'),
    [
        ({'type': 'softmax', 'sr_ratio': 2}, 'SoftmaxAttention'),
        ('rala', 'RankAugmentedLinearAttention'),
        ('mala', 'MagnitudeAwareLinearAttention'),
    ],
)
def test_states_that_do_not_add_are_refused(attention, name) -> None:
    model = build(attention)
    with pytest.raises(SagaError, match=rf'^{name}: .* saga'):
        run(model, CarryingRunner(RowRunner()), frames()[0])


@pytest.mark.parametrize('attention', ['linear', 'focused'])
def test_other_means_are_carried(attention) -> None:
    model, (first, second, _) = build(attention), frames()
    runner = CarryingRunner(RowRunner(), 0.8)
    run(model, runner, first / 4)
    alone = model.enhance(second.permute(0, 3, 1, 2))
    assert (run(model, runner, second) - alone).abs().max() > 1e-4


def test_windows_have_no_state() -> None:
    model = build({'type': 'window', 'window_size': 8})
    runner = CarryingRunner(RowRunner(), 0.8)
    assert all(run(model, runner, frame).isfinite().all() for frame in frames(2))


@pytest.mark.parametrize('decay', [-0.1, 1.0])
def test_decay_out_of_range(decay) -> None:
    with pytest.raises(ValueError, match='decay'):
        CarryingRunner(RowRunner(), decay)
