"""Transfer from a classifier: what is trained, from what, and the table of it."""

import json

import pytest
import torch

from benchmarks.comparison.mixers import build_trunk
from benchmarks.comparison.plan import Results
from benchmarks.comparison.transfer import MEASURES, MIXER, ROOT, TRUNK, Step, command, figures, steps, table
from saga_mm.errors import SagaError
from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config
from saga_mm.loading.stack import require_stack


@pytest.mark.parametrize('config', [*MEASURES, 'classifier_saga-pvt-mini_30e_imagenette-64px'])
def test_backbones_are_the_trunk_of_the_comparison(config):
    require_stack('mmdet', 'mmseg')
    with torch.device('meta'):
        ours = build_trunk(TRUNK, MIXER, 64, 3.0).state_dict()
        theirs = build_model(load_config(ROOT / 'configs' / 'transfer' / f'{config}.py')).backbone.state_dict()
    assert {name: p.shape for name, p in ours.items()} == {name: p.shape for name, p in theirs.items()}


def test_every_training_has_a_pair(tmp_path):
    order = list(steps())
    assert len({step.name for step in order}) == len(order) == 12
    for step in order:
        line = command(step, Results(tmp_path / 'results'), tmp_path)
        assert line[-1] == f'randomness.seed={step.seed}'
        weights = f'{tmp_path}/results/classes_pvt_saga_lr0.002_30_s{step.seed}.pth'
        assert (line[line.index('--weights') + 1] == weights) if step.pretrained else ('--weights' not in line)
        assert '--resume' not in line and step._replace(pretrained=not step.pretrained) in order
    (tmp_path / order[1].name).mkdir()
    (tmp_path / order[1].name / 'iter_500.pth').touch()
    rest = command(order[1], Results(tmp_path / 'results'), tmp_path)
    assert '--resume' in rest and '--weights' not in rest


def test_figures_and_table(tmp_path):
    logs = tmp_path / 'work' / '1' / 'vis_data'
    logs.mkdir(parents=True)
    rows = [{'loss': 9.0}, {'mIoU': 3.0}, *({'loss': float(i)} for i in range(5)), {'mIoU': 30.0, 'step': 2}]
    (logs / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    assert figures(tmp_path / 'work', 'mIoU', 1) == {'score': 30.0, 'loss': 2.0}
    with pytest.raises(SagaError, match='its logs hold no top1'):
        figures(tmp_path / 'work', 'top1', 1)
    for seed, scores in ((1, (30.0, 35.0)), (2, (32.0, 36.0))):
        for pretrained, score in zip((False, True), scores):
            step = Step('upernet_saga-pvt-mini_1k_camvid-144x192', seed, pretrained)
            (tmp_path / f'{step.name}.json').write_text(json.dumps({'score': score, 'loss': 1.0}))
    text = table(tmp_path)
    # 5 and 4: half width 12.706 * 0.7071 / sqrt(2)
    assert '| mIoU | 31.00 ± 1.41 (2) | 35.50 ± 0.71 (2) | +4.50 ± 6.35 (2) | 1.000 | 1.000 |' in text
