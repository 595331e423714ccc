import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saga_mm.analysis import rank_report
from saga_mm.analysis.rank_report import report_ranks
from saga_mm.errors import SagaError


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(noise).save(folder / f'{i}.png')
    (folder / 'cut.png').write_bytes((folder / '0.png').read_bytes()[:300])
    return folder


def test_mixers_side_by_side_with_weights_where_they_fit(tiny, pictures, tmp_path, capsys):
    weights = rank_report.build_backbone(tiny).state_dict()
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in weights.items()}}, tmp_path / 'own.pth')
    files = [str(tmp_path / 'own.pth'), str(pictures)]
    ranks = report_ranks(tiny, files, 'saga, saga:gates=none,softmax', (64, 64), out=tmp_path / 'out')
    assert list(ranks) == ['saga', 'saga:gates=none', 'softmax'] and len(ranks['saga']) == 4
    text = capsys.readouterr().out
    assert f'weights of saga: {len(weights)} of {len(weights)} weights from {tmp_path / "own.pth"}\n' in text
    assert 'weights of softmax: ' in text and '; RANDOM are ' in text and 'NOTE' not in text
    assert 'left out: ' in text and 'cut.png' in text and '2 pictures of 64 x 64' in text
    assert (tmp_path / 'out' / 'ranks.png').is_file()
    stored = json.loads((tmp_path / 'out' / 'ranks.json').read_text())
    assert [Path(name).name for name in stored['pictures']] == ['0.png', '1.png']
    assert stored['energy_share'] == 0.9 and stored['ranks']['softmax'][0]['state_effective'] is None


def test_mistakes(tiny, pictures, tmp_path):
    torch.save({'state_dict': {'x': torch.zeros(1)}}, tmp_path / 'other.pth')
    for files, options, words in [
        ([str(tmp_path / 'other.pth')], {}, 'no picture was named after it'),
        ([str(tmp_path / 'other.pth'), str(pictures)], {}, 'none of its 1 weights fits'),
        ([str(tmp_path / 'gone.pth'), str(pictures)], {}, 'no such file'),
        ([str(pictures / 'cut.png'), 'gone.png'], {}, r'no picture could be read:\n.*\n.*'),
        ([str(pictures)], {'attention': 'saga:gates'}, 'options are written as name:option=value'),
        ([str(pictures)], {'attention': 'magic'}, 'unknown attention'),
        ([str(pictures)], {'share': 1.5}, 'must be above 0 and at most 1'),
        ([str(pictures)], {'size': (0, 8)}, 'size=0 8'),
    ]:
        with pytest.raises(SagaError, match=words):
            report_ranks(tiny, files, out=tmp_path / 'out', **options)


def test_as_a_user_runs_it_with_random_weights(pictures, tmp_path, monkeypatch, run_here):
    monkeypatch.chdir(tmp_path)
    out, err, status = run_here('analyze_rank.py', 'flatten_pvt_v2_b0', pictures, '--size', 32, 32)
    assert not status and 'Traceback' not in err
    assert '4.2    as configured  ' in out and 'All weights are RANDOM' in out
    assert (tmp_path / 'work_dirs/rank/flatten_pvt_v2_b0/ranks.json').is_file()
