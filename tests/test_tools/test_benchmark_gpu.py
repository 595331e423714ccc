"""The tool says in one line why it does nothing."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from saga_mm.engine.cli import run_tool

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark_gpu.py'


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ((), 'this measures kernels on a CUDA GPU, and PyTorch finds none here'),
        (('--tokens', '4096,x'), '--tokens 4096,x: give whole numbers above 0, such as 4096,65536'),
        (('--parts', 'check,speed'), '--parts speed: is none of check, cores, nets, tune'),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(sys, 'argv', ['benchmark_gpu.py', *words, '--out', str(tmp_path / 'out')])
    spec = importlib.util.spec_from_file_location('benchmark_gpu_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with pytest.raises(SystemExit) as stop:
        run_tool(tool.main)
    assert stop.value.code == 2 and capsys.readouterr().err == f'error: {said}\n'
    assert not (tmp_path / 'out').exists()
