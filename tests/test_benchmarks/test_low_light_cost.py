"""Sizes, models, turns, and the failures of processes; nothing here depends on how fast the machine is."""

import json
import subprocess
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks import low_light_cost
from benchmarks.low_light_cost import BUILDERS, build, measure, parse_sizes, run_here, run_process
from saga_mm.errors import SagaError
from saga_mm.models.attention import TokenMixer


@pytest.fixture
def two(monkeypatch) -> list[tuple]:
    """Two small models, and the runs that were asked for instead of measured."""
    monkeypatch.setitem(BUILDERS, 'small', partial(nn.Conv2d, 3, 3, 1))
    monkeypatch.setitem(BUILDERS, 'large', partial(nn.Conv2d, 3, 3, 5, padding=2))
    runs = []

    def run(name, size):
        runs.append((name, size))
        return float(len(runs)), 100 * len(runs)

    monkeypatch.setattr(low_light_cost, 'run_process', run)
    return runs


def seconds(rows: list) -> list[list[float]]:
    return [row.seconds for row in rows]


def test_models_take_turns(two):
    kept = []
    rows = measure(['small', 'large'], [(4, 6), (8, 8)], 2, lambda rows: kept.append([*map(len, seconds(rows))]))
    turns = [('small', (4, 6)), ('large', (4, 6))] * 2 + [('small', (8, 8)), ('large', (8, 8))] * 2
    assert two == turns
    assert [(row.model, row.size) for row in rows] == [turns[0], turns[1], turns[4], turns[5]]
    assert seconds(rows) == [[1, 3], [2, 4], [5, 7], [6, 8]]
    assert kept[0] == [1, 0, 0, 0] and kept[-1] == [2, 2, 2, 2] and len(kept) == 8
    assert rows[3].peak_bytes == [600, 800]
    # traced: a 5 x 5 kernel against a 1 x 1 one, and the image that comes out
    assert [row.macs for row in rows] == [9 * 24, 225 * 24, 9 * 64, 225 * 64]
    assert [row.live_bytes for row in rows] == [288, 288, 768, 768]
    assert [row.parameters for row in rows] == [12, 228, 12, 228]


def test_nothing_runs_if_a_name_or_number_is_wrong(two):
    with pytest.raises(SagaError, match='--models medium: is none of retinexformer, saga_unet'):
        measure(['small', 'medium'], [(4, 6)])
    with pytest.raises(SagaError, match='--repeats 0: must be at least 1'):
        measure(['small'], [(4, 6)], repeats=0)
    assert two == []


def test_sizes():
    assert parse_sizes('400x608, 1280X1280,400 x 608') == [(400, 608), (1280, 1280)]


@pytest.mark.parametrize('text', ['', '400', '400x', '0x64', '64x64,', '-4x5', '1.5x2'])
def test_bad_sizes(text):
    with pytest.raises(SagaError, match=r'--sizes .*: is no size; write height x width'):
        parse_sizes(text)


@pytest.mark.parametrize(('name', 'most'), [('saga_unet', 2.0e6), ('saga_unet_tiny', 0.3e6), ('retinexformer', 1.7e6)])
def test_each_model_goes_from_images_to_images(name, most):
    model, image = build(name), torch.rand(1, 3, 22, 35)
    assert not model.training and sum(p.numel() for p in model.parameters()) <= most
    with torch.inference_mode():
        assert model(image).shape == image.shape


def test_attention_may_be_exchanged():
    linear, rank = build('saga_unet:linear').backbone, build('saga_unet_tiny:saga:gate_rank=2').backbone
    assert {type(m).__name__ for m in linear.modules() if isinstance(m, TokenMixer)} == {'LinearAttention'}
    assert {m.gates.rank for m in rank.modules() if isinstance(m, TokenMixer)} == {2}


@pytest.mark.parametrize('name', ['saga_unet:', 'saga_unet:absent', 'retinexformer:linear', 'saga_unet:saga:absent=1'])
def test_attention_that_does_not_fit_is_named(name):
    with pytest.raises(SagaError, match=f'--models {name}: '):
        build(name)


def test_a_run_prints_what_it_took(two, capsys, monkeypatch):
    monkeypatch.setattr(low_light_cost, 'LEAST', 1e-9)
    run_here('large', (70, 90))
    found = json.loads(capsys.readouterr().out)
    assert found['seconds'] > 0 and found['peak_bytes'] >= 0


def test_a_fresh_process_says_what_was_wrong():
    with pytest.raises(SagaError) as error:
        run_process('absent', (8, 8))
    assert str(error.value).startswith('absent at 8 x 8: ') and '--models absent: is none of' in str(error.value)
    assert '\n' not in str(error.value)


def test_a_process_that_was_killed(monkeypatch):
    killed = subprocess.CompletedProcess((), -9, '', 'some warning')
    monkeypatch.setattr(subprocess, 'run', lambda *args, **kwargs: killed)
    with pytest.raises(SagaError, match=r'retinexformer at 8 x 9: ended by SIGKILL, perhaps for lack of memory; leave'):
        run_process('retinexformer', (8, 9))
