"""Splits of the tokens among programs."""

import pytest
import torch

KERNELS = ('write', 'write_backward', 'read', 'read_backward')


@pytest.mark.parametrize('kernel', KERNELS)
@pytest.mark.parametrize('tokens', [1, 15, 100, 4096, 102400, 1048576])
@pytest.mark.parametrize('pairs', [1, 5, 40, 300])
def test_programs_share_all_tokens(device, monkeypatch, kernel, tokens, pairs):
    from saga_mm.ops.triton import launch

    monkeypatch.setattr(launch, 'INTERPRETED_PROCESSORS', 132)
    x = torch.empty(1, device='meta').expand(1, tokens, pairs, 64)
    (splits, chunk), constants = launch.plan(kernel, x, (64, 64))
    assert (splits - 1) * chunk < tokens <= splits * chunk
    programs, places = splits * pairs, 2 * 132
    # a tile or two for each program at least, so that states are few beside tokens
    assert splits == 1 or chunk > constants['ROWS']
    if tokens > 100_000:
        rounds = -(-programs // places)
        assert programs > 0.75 * rounds * places
        assert rounds <= 5


def test_float16_is_multiplied_with_a_wider_range(device):
    from saga_mm.ops.triton import launch

    half = torch.empty(1, 9, 1, 64, dtype=torch.float16)
    _, constants = launch.plan('write', half, (64, 64), half)
    assert constants['OPERAND'].name == 'fp32' and constants['PRECISION'] == 'tf32'
    _, constants = launch.plan('write', half.float(), (64, 64), half)
    assert constants['PRECISION'] == launch.FLOAT32_PRODUCTS != 'tf32'
