"""What every host does with every mixer: maps at any size, freezing, checkpointing, half precision."""

from functools import partial

import pytest
import torch

from saga_mm.models.backbones import PVT, RAVLT, CSwin, PVTv2, Swin

DIMS = (8, 16, 24, 32)
WIDTHS = {'embed_dims': DIMS, 'depths': (1, 2, 2, 1), 'num_heads': (1, 2, 3, 4)}
PVT_ARCH = {**WIDTHS, 'mlp_ratios': (2, 2, 2, 2), 'sr_ratios': (8, 4, 2, 1)}
HOSTS = {
    'PVT': partial(PVT, PVT_ARCH),
    'PVTv2': partial(PVTv2, PVT_ARCH),
    'RAVLT': partial(RAVLT, {**WIDTHS, 'mlp_ratios': (2, 2, 2, 2), 'layer_scales': (1.0, 1.0, 0.5, 0.5)}),
    'Swin': partial(Swin, WIDTHS),
    'CSwin': partial(CSwin, WIDTHS),
}
COMMON = ['saga', 'focused', 'linear', 'softmax']
WINDOWS = [{'type': 'window', 'borders': 'mmdet'}, 'cross_window']
# besides the common ones
MIXERS = {'PVT': [], 'PVTv2': [], 'RAVLT': ['default', 'rala', 'mala', 'window'], 'Swin': WINDOWS, 'CSwin': WINDOWS}
cases = pytest.mark.parametrize(
    ('host', 'attention'), [(host, attention) for host in HOSTS for attention in COMMON + MIXERS[host]], ids=str
)


def build(host, attention='default', **options):
    torch.manual_seed(0)
    given = {} if attention == 'default' else {'attention': attention}
    return HOSTS[host](**given, **options)


@cases
@pytest.mark.parametrize('size', [(97, 161), (5, 300), (1, 1)], ids=str)
def test_maps_at_any_size_and_a_gradient_for_every_parameter(host, attention, size):
    net = build(host, attention).eval()
    outs = net(torch.randn(2, 3, *size))
    for i, out in enumerate(outs):
        # rounding up, stage by stage
        height, width = (-(-side // 2 ** (i + 2)) for side in size)
        assert out.shape == (2, DIMS[i], height, width)
        assert out.is_contiguous() and out.isfinite().all()
    sum(out.square().mean() for out in outs).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize('attention', ['default', 'focused'])
@pytest.mark.parametrize('host', HOSTS)
def test_sizes_may_change_between_calls(host, attention):
    net = build(host, attention).eval()
    images = [torch.randn(1, 3, 224, 224), torch.randn(1, 3, 97, 150)]
    with torch.no_grad():
        first = [net(image) for image in images]
        again = [net(image) for image in reversed(images)][::-1]
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize('frozen', [-1, 0, 2])
@pytest.mark.parametrize('host', HOSTS)
def test_frozen_stages_neither_train_nor_leave_eval_mode(host, frozen):
    net = build(host, frozen_stages=frozen).train()
    sum(out.square().sum() for out in net(torch.randn(2, 3, 64, 64))).backward()
    still = {name for name, p in net.named_parameters() if p.grad is None}
    prefixes = ('stages.0.embed',) if frozen == 0 else tuple(f'stages.{i}.' for i in range(max(frozen, 0)))
    assert still == {name for name, _ in net.named_parameters() if name.startswith(prefixes)}
    assert [stage.training for stage in net.stages] == [i >= frozen for i in range(4)]
    assert net.stages[0].embed.training == (frozen < 0)


@pytest.mark.parametrize('attention', ['default', 'focused', 'linear', 'softmax'])
@pytest.mark.parametrize('host', HOSTS)
def test_checkpointing_changes_no_gradient_and_no_statistic(host, attention):
    plain, saving = (build(host, attention, drop_path_rate=0.0, with_cp=saves) for saves in (False, True))
    image = torch.randn(2, 3, 50, 66)
    for net in (plain, saving):
        sum(out.square().mean() for out in net(image)).backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), saving.buffers(), strict=True))


@cases
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_close_to_float32(host, attention, dtype):
    net = build(host, attention).eval()
    image = torch.randn(1, 3, 97, 64)
    with torch.no_grad():
        exact = net(image)
        with torch.autocast('cpu', dtype=dtype):
            mixed = net(image)
        pure = net.to(dtype)(image.to(dtype))
        assert all(out.isfinite().all() for out in net(8 * image.to(dtype)))
    for outs in (mixed, pure):
        for out, ref in zip(outs, exact, strict=True):
            assert (out.float() - ref).norm() / ref.norm() < (0.05 if host == 'RAVLT' else 0.03)
