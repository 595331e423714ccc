from functools import partial

import pytest


@pytest.fixture
def run(run_here, tmp_path, monkeypatch):
    """Run the tool in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(run_here, 'benchmark_video.py')


def test_random_weights(run, tmp_path):
    out, _, status = run('--size', '16', '24', '--frames', '2', '--device', 'cpu', '--out', 'figures')
    assert status == 0 and 'trunk tiny with random weights, cpu:' in out
    assert sorted(path.name for path in (tmp_path / 'figures').iterdir()) == ['video.json', 'video.md']


def test_errors_are_one_line(run):
    assert run('--frames', '0') == ('', 'error: --frames 0: must be at least 2\n', 2)
