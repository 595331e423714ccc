"""Compiled steps on disk."""

import os

import numpy as np
import pytest
import torch

from saga_mm.engines.cache import MAGIC, StepCache
from saga_mm.engines.openvino import OpenVINOEngine
from saga_mm.engines.openvino_step import ConversionError
from saga_mm.rows import MemoryRows, RowRunner


def run(net, image, engine):
    runner = RowRunner(engine=engine)
    with torch.inference_mode():
        return [runner.gather(out) for out in net.forward_rows(MemoryRows(image.permute(0, 2, 3, 1)), runner)]


def test_what_is_kept_is_found_and_nothing_else(cache):
    assert cache.get('a') is None
    cache.put('a', b'step')
    assert cache.get('a') == b'step'
    assert cache.get('b') is None
    assert cache.problem is None


@pytest.mark.parametrize('damage', [b'', b'foreign', MAGIC + b'0' * 40], ids=['empty', 'foreign', 'other checksum'])
def test_a_damaged_file_is_removed_and_replaced(cache, damage):
    cache.put('a', b'step')
    path = cache.folder / 'a.step'
    path.write_bytes(damage)
    assert cache.get('a') is None
    assert not path.exists()
    cache.put('a', b'step')
    assert cache.get('a') == b'step'


def test_a_file_that_was_cut_is_not_a_step(cache):
    cache.put('a', b'step' * 100)
    path = cache.folder / 'a.step'
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.get('a') is None


def test_beyond_the_limit_the_oldest_go(cache):
    cache.limit = 3500
    for i, name in enumerate('abc'):
        cache.put(name, bytes(1000))
        os.utime(cache.folder / f'{name}.step', (i, i))
    assert cache.get('a') is not None
    cache.put('d', bytes(1000))
    assert [name for name in 'abcd' if cache.get(name)] == ['a', 'c', 'd']


def test_where_nothing_can_be_written_the_reason_is_kept(tmp_path):
    (tmp_path / 'file').write_text('')
    cache = StepCache(tmp_path / 'file' / 'steps')
    cache.put('a', b'step')
    assert 'compiled steps are not kept' in cache.problem


def test_a_second_program_compiles_nothing(host, cache, monkeypatch):
    net, image = host('pvt', 'saga', 1), torch.rand(1, 3, 48, 32)
    wanted = run(net, image, OpenVINOEngine(cache=cache))
    monkeypatch.setattr('saga_mm.engines.openvino_step.convert_function', lambda *args: pytest.fail('compiled again'))
    for out, want in zip(run(net, image, OpenVINOEngine(cache=cache)), wanted):
        np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)


def test_damaged_steps_are_compiled_anew(host, cache):
    net, image = host('pvt', 'saga', 1), torch.rand(1, 3, 48, 32)
    wanted = run(net, image, OpenVINOEngine(cache=cache))
    steps = sorted(cache.folder.glob('*.step'))
    for path in steps:
        path.write_bytes(path.read_bytes()[:-7])
    for out, want in zip(run(net, image, OpenVINOEngine(cache=cache)), wanted):
        np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)
    assert sorted(cache.folder.glob('*.step')) == steps


def test_content_that_openvino_refuses_is_compiled_anew(host, cache):
    net, image = host('pvt', 'saga', 1), torch.rand(1, 3, 48, 32)
    wanted = run(net, image, OpenVINOEngine(cache=cache))
    for path in list(cache.folder.glob('*.step')):
        # the checksum is right: as of another build of OpenVINO
        cache.put(path.stem, b'no model')
    engine = OpenVINOEngine(cache=cache)
    for out, want in zip(run(net, image, engine), wanted):
        np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)
    assert engine.reasons == {}
    assert ConversionError is not None
