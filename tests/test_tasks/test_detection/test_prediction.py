import pytest
from mmengine.config import Config

from saga_mm.errors import ArgumentError
from saga_mm.tasks.detection.evaluation import DetectionEvaluation
from saga_mm.tasks.detection.prediction import DetectionPrediction, DetectionWriter


def test_a_prediction_without_objects_says_how_far_it_was_from_them():
    writer = object.__new__(DetectionWriter)
    writer.score_thr, writer.highest = 0.3, 0.1237
    entries = [{'predictions': []}] * 2
    words = '0 objects in 2 pictures, as none scores 0.3 (--score-thr); the highest score is 0.124; drawn pictures'
    assert writer.summary(entries) == words
    assert writer.summary([{'predictions': [1, 2]}]) == '2 objects in 1 picture; drawn pictures'


@pytest.mark.parametrize('verb', [DetectionEvaluation, DetectionPrediction])
@pytest.mark.parametrize('score', [-0.1, 1.5, 30, float('nan')])
def test_what_is_no_score(verb, score):
    with pytest.raises(ArgumentError, match=f'score_thr={score}: must be a number from 0 to 1'):
        verb(score)


@pytest.mark.parametrize('name', ['CocoMetric', 'mmdet.CocoMetric'])
def test_results_in_coco_format_whatever_the_scope(name, tmp_path):
    loader = dict(dataset=dict(type='CocoDataset', pipeline=[]))
    cfg = Config(dict(test_dataloader=loader, test_evaluator=dict(type=name)))
    DetectionEvaluation().set_up(cfg, tmp_path / 'found.json')
    assert cfg.test_evaluator.outfile_prefix == str(tmp_path / 'found')
