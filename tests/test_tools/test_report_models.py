import json

import numpy as np
import pytest

from benchmarks import model_tables
from benchmarks.model_tables import report_models
from saga_mm.errors import SagaError


def test_a_case_that_does_not_load_is_told_after_all_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(model_tables, 'MIXERS', {'linear': ({}, 1)})
    monkeypatch.setattr(model_tables, 'list_backbones', lambda: ['pvt_tiny'])
    (tmp_path / 'x.json').write_text(json.dumps({'model': 'resnet', 'tensors': [], 'outputs': {}}))
    np.savez(tmp_path / 'x.npz')
    with pytest.raises(SagaError, match='some figures are not what they should be'):
        report_models(tmp_path, (5, 7), out=tmp_path / 'deep' / 'tables.md')
    text = (tmp_path / 'deep' / 'tables.md').read_text()
    assert '| x |  | did not load |  | NO | golden case of resnet' in text
    assert '| pvt_tiny | 12,714,240 | 13,229,288 | 13,229,288 | +0 |' in text and '| linear | 5 x 7 | 8x | ' in text
    assert text in capsys.readouterr().out.replace('\n\n\n', '\n\n')


def test_as_a_user_runs_it(tmp_path, monkeypatch, run_here):
    monkeypatch.chdir(tmp_path)
    out, err, status = run_here('report_models.py', '--only', 'half', '--size', 14, 10, '--out', 'half.md')
    assert not status and 'Traceback' not in err
    written = (tmp_path / 'half.md').read_text()
    assert written in out and written.count('\n| ') == 20 and '| rope_softmax | 4 x 3 | negative |' in written
