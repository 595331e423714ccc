"""Top-k accuracy."""

import pytest
import torch

from saga_mm.evaluation import Accuracy


def sample(scores, label, path='a.jpg'):
    return {'pred_score': torch.tensor(scores), 'gt_label': torch.tensor(label), 'img_path': path}


def test_top_k(tmp_path):
    metric = Accuracy(topk=(1, 2, 5), out_file=tmp_path / 'out.csv')
    metric.dataset_meta = {'classes': ('cat', 'dog', 'owl')}
    metric.process(None, [sample([0.1, 0.6, 0.3], 1), sample([0.1, 0.6, 0.3], 2, 'b.jpg')])
    metric.process(None, [sample([0.2, 0.5, 0.3], 0), sample([0.25, 0.5, 0.25], 0)])
    # equal scores do not count for the right class
    assert metric.evaluate(4) == {'top1': 25.0, 'top2': 50.0}
    rows = (tmp_path / 'out.csv').read_text().splitlines()
    assert rows[1:3] == ['a.jpg,dog,dog,0.6,1', 'b.jpg,owl,dog,0.6,2']


def test_bad_arguments():
    with pytest.raises(ValueError, match=r'topk=\(0,\) must name numbers of classes'):
        Accuracy(topk=(0,))
