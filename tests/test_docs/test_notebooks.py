"""The notebooks run, at small sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parents[2] / 'docs' / 'notebooks'
# what a notebook sets, and what the tests set instead
SMALLER = {
    'backbone_in_mmdet': {'SIDE = 1280': 'SIDE = 96'},
    'dark_photograph': {'HEIGHT, WIDTH = 400, 600': 'HEIGHT, WIDTH = 72, 104'},
}


FIGURES = """
import json
gain = scores['enhanced'][0] - scores['dark'][0]
print(json.dumps([float(gain), int(np.abs(in_strips.astype(int) - bright).max())]))
"""


def code_of(name: str) -> list[str]:
    """The cells with code, at small sizes."""
    cells = json.loads((NOTEBOOKS / f'{name}.ipynb').read_text())['cells']
    code = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
    for sizes, smaller in SMALLER[name].items():
        assert sum(cell.count(sizes) for cell in code) == 1
        code = [cell.replace(sizes, smaller) for cell in code]
    return code


def run(name: str) -> dict[str, Any]:
    """Run the cells in order, in one namespace, as Jupyter does."""
    namespace: dict[str, Any] = {'__name__': '__main__'}
    for number, cell in enumerate(code_of(name)):
        exec(compile(cell, f'{name}, cell {number}', 'exec'), namespace)
    return namespace


def test_every_notebook_is_run():
    assert {path.stem for path in NOTEBOOKS.glob('*.ipynb')} == set(SMALLER)


def test_a_backbone_in_ones_own_project():
    after = run('backbone_in_mmdet')
    assert type(after['model'].backbone).__module__ == 'saga_mm.models.backbones.pvt'
    assert all(parameter.grad is not None for parameter in after['model'].backbone.stages.parameters())
    assert after['found'].pred_instances.bboxes.shape[1] == 4


def test_a_dark_photograph(tmp_path: Path):
    # in a process of its own: the notebook sets how much memory it may take, and this process may have taken more
    code = '\n'.join([*code_of('dark_photograph'), FIGURES])
    environment = {**os.environ, 'MPLBACKEND': 'agg'}
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    gain, difference = json.loads(done.stdout.splitlines()[-1])
    assert gain > 3 and difference <= 1
    assert {path.name for path in (tmp_path / 'dark_photograph').iterdir()} == {
        'dark.jpg',
        'dark_enhanced.jpg',
        'dark_compare.jpg',
        'three.png',
    }
