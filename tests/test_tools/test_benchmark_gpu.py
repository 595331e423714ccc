"""The tool says in one line why it does nothing."""

import pytest
import torch


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ((), 'this measures kernels on a CUDA GPU, and PyTorch finds none here'),
        (('--tokens', '4096,x'), '--tokens 4096,x: give whole numbers above 0, such as 4096,65536'),
        (('--parts', 'check,speed'), '--parts speed: is none of check, cores, nets, tune'),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, run_here, words, said):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    _, err, status = run_here('benchmark_gpu.py', *words, '--out', tmp_path / 'out')
    assert status == 2 and err == f'error: {said}\n'
    assert not (tmp_path / 'out').exists()
