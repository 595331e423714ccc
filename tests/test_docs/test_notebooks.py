"""The notebooks run, at small sizes."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / 'docs' / 'notebooks'
# what a notebook sets, and what the tests set instead
SMALLER = {
    'backbone_in_mmdet': {'SIDE = 1280': 'SIDE = 96'},
    'dark_photograph': {'HEIGHT, WIDTH = 400, 600': 'HEIGHT, WIDTH = 72, 104'},
}


def code_of(name: str) -> list[str]:
    cells = json.loads((NOTEBOOKS / f'{name}.ipynb').read_text())['cells']
    return [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']


def run(name: str) -> dict[str, Any]:
    """Run the cells in order, in one namespace, as Jupyter does."""
    code = code_of(name)
    for sizes, smaller in SMALLER[name].items():
        assert sum(cell.count(sizes) for cell in code) == 1
        code = [cell.replace(sizes, smaller) for cell in code]
    namespace: dict[str, Any] = {'__name__': '__main__'}
    for number, cell in enumerate(code):
        exec(compile(cell, f'{name}, cell {number}', 'exec'), namespace)
    return namespace


def test_every_notebook_is_run():
    assert {path.stem for path in NOTEBOOKS.glob('*.ipynb')} == set(SMALLER)


def test_a_backbone_in_ones_own_project():
    after = run('backbone_in_mmdet')
    assert type(after['model'].backbone).__module__ == 'saga_mm.models.backbones.pvt'
    assert all(parameter.grad is not None for parameter in after['model'].backbone.stages.parameters())
    assert after['found'].pred_instances.bboxes.shape[1] == 4


def test_a_dark_photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MPLBACKEND', 'agg')
    after = run('dark_photograph')
    assert after['scores']['enhanced'][0] > after['scores']['dark'][0] + 3
    assert abs(after['in_strips'].astype(int) - after['bright']).max() <= 1
    assert {path.name for path in (tmp_path / 'dark_photograph').iterdir()} == {
        'dark.jpg',
        'dark_enhanced.jpg',
        'dark_compare.jpg',
        'three.png',
    }
