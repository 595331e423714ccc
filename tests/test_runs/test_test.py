"""Figures of an evaluation as a file."""

import json
import math
from pathlib import Path

import pytest

from saga_mm.runs.test import EvalOptions, _check_out, _write_figures


def test_a_file_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    _check_out('~/new/a.json')
    assert (tmp_path / 'home' / 'new').is_dir() and not (tmp_path / '~').exists()


def test_figures_that_json_does_not_have(tmp_path):
    options = EvalOptions('a.py', out=str(tmp_path / 'a.json'))
    found = {'PSNR': math.inf, 'IoU car': math.nan, 'mIoU': 50.0}
    _write_figures(found, options, Path('b.pth'), [])
    written = json.loads((tmp_path / 'a.json').read_text(), parse_constant=pytest.fail)
    assert written['metrics'] == {'PSNR': None, 'IoU car': None, 'mIoU': 50.0}
