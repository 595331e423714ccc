"""The gate lets what is right pass, and nothing that is wrong."""

import pytest
import torch
from torch import nn

from benchmarks import gate
from benchmarks.cases import Case, Subject
from benchmarks.cores import CORES
from benchmarks.gate import CHUNK_BYTES, check
from benchmarks.nets import NAMES as BACKBONES
from benchmarks.op import NAMES as OPS
from benchmarks.op import has_op
from benchmarks.references import as_reference, keep_whole
from benchmarks.steps import largest_error
from saga_mm.errors import SagaError
from saga_mm.models.attention import SAGAAttention
from saga_mm.registry import MODELS
from saga_mm.rows import limit_chunks

SIZE = (64, 64)
SAGA = ('saga:gate_rank=2', 'saga:gate_source=low_rank:gate_act=silu', 'linear:local_kernel=3', 'linear:sr_ratio=2')


@pytest.fixture
def wrong():
    """Register a token mixer for one test."""
    names = []

    def register(name, mixer):
        names.append(name)
        MODELS.register_module(name=name, module=mixer)

    yield register
    for name in names:
        del MODELS._module_dict[name]


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize('name', [*OPS, *SAGA])
def test_right_operators_pass(name, backward):
    for part in ('core stage 2', 'layer stage 2'):
        if has_op(part, name):
            assert check(Case('op', part, name, SIZE, backward=backward)) is None


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('name', BACKBONES)
def test_right_backbones_pass(name, dtype, small):
    assert check(Case('backbone', 'pvt_tiny', name, SIZE, dtype=dtype)) is None
    assert check(Case('backbone', 'pvt_tiny', name, SIZE, dtype=dtype, backward=True)) is None


class ForgetsPieces(SAGAAttention):
    @staticmethod
    def merge(states):
        return states[-1]


class NotFinite(SAGAAttention):
    def forward(self, x, grid):
        return super().forward(x, grid) * torch.tensor([1.0, float('nan')]).repeat(x.shape[-1] // 2)


class Stuck(SAGAAttention):
    def forward(self, x, grid):
        return super().forward(x.detach(), grid) + x - x.detach()


class Broken(SAGAAttention):
    def forward(self, x, grid):
        raise RuntimeError('no kernel\nfor this')


def test_wrong_operators_are_refused(wrong, monkeypatch):
    right = CORES['linear']
    shifted = right._replace(function=lambda grid, q, k, v: right.function(grid, q, k, v + 0.01))
    monkeypatch.setitem(CORES, 'shifted', shifted)
    reason = check(Case('op', 'core stage 2', 'shifted', SIZE))
    assert reason.startswith('wrong: relative error') and reason.endswith('against float64, more than 1e-04')
    wrong('not_finite', NotFinite)
    assert 'relative error inf' in check(Case('op', 'layer stage 2', 'not_finite', SIZE))


def test_wrong_gradients_are_refused(wrong):
    wrong('stuck', Stuck)
    case = Case('op', 'layer stage 2', 'stuck', SIZE)
    assert check(case) is None
    assert 'relative error' in check(Case(**{**vars(case), 'backward': True}))


def test_wrong_pieces_are_refused(wrong, small):
    wrong('forgets', ForgetsPieces)
    assert check(Case('backbone', 'pvt_tiny', 'forgets_whole', SIZE)) is None
    assert 'relative error' in check(Case('backbone', 'pvt_tiny', 'forgets', SIZE))


def test_what_does_not_run_is_refused_in_one_line(wrong):
    wrong('broken', Broken)
    assert check(Case('op', 'layer stage 2', 'broken', SIZE)) == 'does not run: no kernel'
    with pytest.raises(SagaError, match=r"--only absent: unknown attention 'absent'"):
        check(Case('op', 'layer stage 2', 'absent', SIZE))


def test_whole_maps(note_sizes, small):
    """What runs in pieces does so no more, and gives the same."""
    net = small('saga_pvt_tiny').eval()
    sizes, blocks = note_sizes(net), sum(len(stage.blocks) for stage in net.stages)
    image = torch.randn(1, 3, *gate.SIZE)
    with torch.inference_mode(), limit_chunks(CHUNK_BYTES):
        pieces = net(image)
        assert len(sizes) > 2 * blocks
        sizes.clear()
        assert keep_whole(net) and not keep_whole(nn.Linear(2, 2))
        torch.testing.assert_close(net(image), pieces, rtol=1e-4, atol=1e-5)
    assert len(sizes) == blocks


def test_a_reference_is_a_copy(small):
    net = small('saga_pvt_tiny')
    exact = as_reference(net)
    assert {p.dtype for p in exact.parameters()} == {torch.float64}
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert 'forward' in vars(exact.stages[0].blocks[0].attn) and 'forward' not in vars(net.stages[0].blocks[0].attn)


def test_errors_are_relative_and_strict():
    one, two = torch.ones(3), torch.tensor([3.0, 4.0])
    assert largest_error([one, two], [one, two]) == 0
    assert largest_error([one, two * 1.5], [one, two]) == pytest.approx(0.5)
    assert largest_error([one], [one, two]) == largest_error([], []) == float('inf')
    assert largest_error([one], [two]) == largest_error([one * float('nan')], [one]) == float('inf')
    assert Subject(nn.Identity(), (), 0).traceable is not None
