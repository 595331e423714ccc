"""Maps that are resized, summed and joined where rows are asked for, and convolutions with norms as steps."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import nn

from saga_mm.models.openmmlab.layer_steps import JoinedRows, ResizedRows, SumRows, conv_steps
from saga_mm.rows import MemoryRows, RowRunner


def rows_of(x: torch.Tensor) -> MemoryRows:
    return MemoryRows(x.permute(0, 2, 3, 1))


def spans(height: int, rows: int = 3) -> list[tuple[int, int]]:
    return [(start, min(start + rows, height)) for start in range(0, height, rows)]


@pytest.mark.parametrize('size', [(13, 9), (27, 18), (31, 7), (5, 20), (1, 1)], ids=str)
@pytest.mark.parametrize('options', [{}, {'align_corners': True}, {'mode': 'nearest'}], ids=str)
def test_resized_rows_are_those_of_the_resized_map(size, options):
    x = torch.randn(2, 3, 13, 9, dtype=torch.float64)
    rows = ResizedRows(rows_of(x), size, **options)
    options = {'mode': 'bilinear', **options}
    wanted = x if size == (13, 9) else F.interpolate(x, size, **options)
    for start, stop in spans(size[0]):
        torch.testing.assert_close(rows.plane(start, stop), wanted[:, :, start:stop])
        # all that is read of the map is named beforehand
        (span,) = rows.sources(start, stop)
        masked = torch.full_like(x, float('nan'))
        masked[:, :, span.start : span.stop] = x[:, :, span.start : span.stop]
        assert ResizedRows(rows_of(masked), size, **options).plane(start, stop).isfinite().all()


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="resizing by 'bicubic' does not run in strips"):
        ResizedRows(rows_of(torch.zeros(1, 1, 2, 2)), (4, 4), 'bicubic')


def test_sums_and_joined_maps():
    a, b = torch.randn(2, 1, 3, 7, 4)
    summed, joined = SumRows(rows_of(a), rows_of(b)), JoinedRows(rows_of(a), rows_of(b))
    for start, stop in spans(7):
        assert torch.equal(summed.plane(start, stop), (a + b)[:, :, start:stop])
        assert torch.equal(joined.plane(start, stop), torch.cat([a, b], 1)[:, :, start:stop])
    assert [span.start for span in joined.sources(2, 5)] == [2, 2]


@pytest.mark.parametrize('norm', [None, dict(type='BN'), dict(type='GN', num_groups=2)], ids=str)
@pytest.mark.parametrize('options', [{'kernel_size': 3, 'padding': 1}, {'kernel_size': 3, 'padding': 2, 'dilation': 2}])
def test_a_convolution_with_its_norm_in_strips(norm, options):
    module = ConvModule(3, 4, norm_cfg=norm, **options).double().eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
    x = torch.randn(2, 3, 17, 6, dtype=torch.float64)
    with torch.no_grad():
        runner = RowRunner(rows=2)
        torch.testing.assert_close(runner.gather(runner.run(conv_steps(module), rows_of(x))), module(x))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'stride': 2}, 'is no plain convolution of stride 1'),
        ({'order': ('act', 'conv', 'norm')}, 'is no plain convolution of stride 1'),
        ({'norm_cfg': dict(type='IN')}, 'InstanceNorm2d does not run in strips: use BN, SyncBN or GN'),
    ],
)
def test_what_rows_alone_cannot_do(options, said):
    with pytest.raises(ValueError, match=said):
        conv_steps(ConvModule(3, 4, 3, padding=1, **options).eval())


@pytest.mark.parametrize('where', ['ConvModule', 'GroupNorm'])
def test_a_forward_that_strips_would_not_call_is_refused(where):
    module = ConvModule(3, 4, 3, padding=1, norm_cfg=dict(type='GN', num_groups=2)).eval()
    {'ConvModule': module, 'GroupNorm': module.gn}[where].forward = lambda x: x
    with pytest.raises(ValueError, match=f'^{where} does not run in strips: it has a forward of its own'):
        conv_steps(module)
