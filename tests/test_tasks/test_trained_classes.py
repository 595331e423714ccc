from types import SimpleNamespace

import pytest
from mmengine.config import Config

from saga_mm.tasks.trained_classes import fit_classes


def config(model: str, dataset: str, names: tuple[str, ...]) -> Config:
    head = {'num_classes': len(names)}
    return Config(
        {
            'model': {'type': model, 'head': head, 'decode_head': head, 'roi_head': {'bbox_head': head}},
            'default_scope': {'ImageClassifier': 'saga_mm', 'EncoderDecoder': 'mmseg', 'MaskRCNN': 'mmdet'}[model],
            'test_dataloader': {'dataset': {'type': dataset, 'metainfo': {'classes': names}}},
        }
    )


def fitted(cfg: Config, known: object) -> tuple[tuple[str, ...], int]:
    fit_classes(cfg, SimpleNamespace(meta={'dataset_meta': known}, checkpoint='a.pth'))
    return tuple(cfg.test_dataloader.dataset.metainfo.classes), cfg.model.head.num_classes


CLASSIFIER = ('ImageClassifier', 'saga_mm.ImageFolder')


@pytest.mark.parametrize(('names', 'count'), [(('c', 'a', 'b'), 3), (('c', 'a'), 3), (('a', 'b', 'c'), 3)])
def test_folders_of_some_classes_or_in_another_order(names, count, capsys):
    assert fitted(config(*CLASSIFIER, names), {'classes': ['a', 'b', 'c']}) == (('a', 'b', 'c'), count)
    said = capsys.readouterr().out
    assert ('classes are those of the checkpoint' in said) == (names != ('a', 'b', 'c')) and 'warning' not in said


@pytest.mark.parametrize(
    ('model', 'dataset'), [CLASSIFIER, ('EncoderDecoder', 'BaseSegDataset'), ('MaskRCNN', 'CocoDataset')]
)
def test_other_names_are_told(model, dataset, capsys):
    pytest.importorskip({'EncoderDecoder': 'mmseg', 'MaskRCNN': 'mmdet'}.get(model, 'mmengine'))
    assert fitted(config(model, dataset, ('x', 'y')), {'classes': ('a', 'b')}) == (('x', 'y'), 2)
    assert "trained on 2 classes ('a', 'b'), and the data have 2 classes ('x', 'y')" in capsys.readouterr().out


@pytest.mark.parametrize('known', [None, {}, {'classes': 'coco'}, {'classes': [1, 2]}, {'classes': ('a', 'b')}, [1]])
def test_nothing_is_said_where_nothing_differs_or_is_known(known, capsys):
    assert fitted(config(*CLASSIFIER, ('a', 'b')), known) == (('a', 'b'), 2)
    assert capsys.readouterr().out == ''
