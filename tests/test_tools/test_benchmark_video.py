import importlib.util
import sys
from pathlib import Path

import pytest

from saga_mm.engine.cli import run_tool

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark_video.py'


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the tool in this process, in an empty folder."""
    spec = importlib.util.spec_from_file_location('benchmark_video', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, 'argv', ['benchmark_video.py', *words])
        run_tool(tool.main)

    return run


def test_random_weights(run, tmp_path, capsys):
    run('--size', '16', '24', '--frames', '2', '--device', 'cpu', '--out', 'figures')
    assert sorted(path.name for path in (tmp_path / 'figures').iterdir()) == ['video.json', 'video.md']
    assert 'trunk tiny with random weights, cpu:' in capsys.readouterr().out


def test_errors_are_one_line(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run('--frames', '0')
    assert stop.value.code == 2 and capsys.readouterr() == ('', 'error: --frames 0: must be at least 2\n')
