from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saga_mm.analysis.gate_maps import report_gates
from saga_mm.analysis.subjects import build_backbone
from saga_mm.errors import SagaError


@pytest.fixture
def picture(tmp_path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)).save(tmp_path / 'noise.png')
    return tmp_path / 'noise.png'


def test_with_the_weights_of_a_detector(tiny, picture, tmp_path, capsys):
    weights = build_backbone(tiny).state_dict()
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in weights.items()}}, tmp_path / 'own.pth')
    gates = report_gates(tiny, str(tmp_path / 'own.pth'), str(picture), out=tmp_path / 'out')
    assert [each.layer for each in gates] == ['1.1', '2.1', '3.1', '4.1']
    assert gates[0].product.shape == (12, 20)
    text = capsys.readouterr().out
    assert text.count('\n4.1 ') == 1 and f'weights: {len(weights)} of {len(weights)}' in text and 'RANDOM' not in text
    assert Image.open(tmp_path / 'out' / 'noise_gates.png').width > 800


def test_mistakes(tiny, picture, tmp_path):
    with pytest.raises(SagaError, match='no such picture'):
        report_gates(tiny, None, str(tmp_path))
    with pytest.raises(SagaError, match='has no gates to show: its attention is FocusedLinearAttention'):
        report_gates('flatten_pvt_v2_b0', None, str(picture), (32, 32))
    with pytest.raises(SagaError, match='no such config file, and as a backbone'):
        report_gates('saga_pvt_tinny', None, str(picture))


def test_as_a_user_runs_it_with_random_weights(picture, tmp_path, monkeypatch, run_here):
    monkeypatch.chdir(tmp_path)
    out, err, status = run_here('visualize_gates.py', 'saga_pvt_v2_b0', picture)
    assert not status and 'Traceback' not in err
    assert 'The weights are RANDOM' in out and (tmp_path / 'work_dirs/gates/saga_pvt_v2_b0/noise_gates.png').is_file()
