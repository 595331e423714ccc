import pytest
from mmengine.config import Config

from saga_mm.errors import SagaError
from saga_mm.tasks import task_of
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
    task_of(cfg).load_data().prepare()
    fit_classes(cfg, {'dataset_meta': known}, 'a.pth')
    count = cfg.model.roi_head.bbox_head if cfg.model.type == 'MaskRCNN' else cfg.model.head
    return tuple(cfg.test_dataloader.dataset.metainfo.classes), count.num_classes


CLASSIFIER = ('ImageClassifier', 'saga_mm.ImageFolder')


DETECTOR = ('MaskRCNN', 'CocoDataset')
SEGMENTOR = ('EncoderDecoder', 'BaseSegDataset')
LIBRARY = {'EncoderDecoder': 'mmseg', 'MaskRCNN': 'mmdet'}


@pytest.mark.parametrize('kind', [CLASSIFIER, DETECTOR])
@pytest.mark.parametrize('names', [('c', 'a', 'b'), ('c', 'a'), ('a', 'b', 'c')])
def test_data_of_some_classes_or_in_another_order(kind, names, capsys):
    pytest.importorskip(LIBRARY.get(kind[0], 'mmengine'))
    assert fitted(config(*kind, names), {'classes': ['a', 'b', 'c']}) == (('a', 'b', 'c'), 3)
    said = capsys.readouterr().out
    assert ('classes are those of the checkpoint' in said) == (names != ('a', 'b', 'c')) and 'warning' not in said


def test_objects_of_classes_that_are_not_known_are_left_out_and_named(capsys):
    pytest.importorskip('mmdet')
    assert fitted(config(*DETECTOR, ('c', 'b', 'a')), {'classes': ('a', 'b')}) == (('a', 'b'), 2)
    assert "what is marked as 'c' is left out" in capsys.readouterr().out


@pytest.mark.parametrize('kind', [CLASSIFIER, SEGMENTOR, DETECTOR])
def test_as_many_other_names_are_told(kind, capsys):
    pytest.importorskip(LIBRARY.get(kind[0], 'mmengine'))
    assert fitted(config(*kind, ('x', 'y')), {'classes': ('a', 'b')}) == (('x', 'y'), 2)
    said = capsys.readouterr().out
    assert "trained on 2 classes ('a', 'b'), and the data have 2 classes ('x', 'y')" in said
    assert "by their places: 'x' with 'a', 'y' with 'b'" in said


@pytest.mark.parametrize(
    ('kind', 'names', 'message'),
    [
        (CLASSIFIER, ('a', 'x'), 'correct the names'),
        (CLASSIFIER, ('a', 'b', 'x'), 'correct the names'),
        (DETECTOR, ('a', 'x'), 'correct the names'),
        (DETECTOR, ('x', 'y', 'z'), 'that it was trained with'),
        (SEGMENTOR, ('b', 'a'), "'b', 'a' at another place, and the masks hold numbers"),
        (SEGMENTOR, ('a', 'b', 'c'), 'that it was trained with'),
    ],
)
def test_names_that_do_not_say_what_is_meant_are_refused(kind, names, message):
    pytest.importorskip(LIBRARY.get(kind[0], 'mmengine'))
    with pytest.raises(SagaError, match=message):
        fitted(config(*kind, names), {'classes': ('a', 'b')})


@pytest.mark.parametrize('known', [None, {}, {'classes': 'coco'}, {'classes': [1, 2]}, {'classes': ('a', 'b')}, [1]])
def test_nothing_is_said_where_nothing_differs_or_is_known(known, capsys):
    assert fitted(config(*CLASSIFIER, ('a', 'b')), known) == (('a', 'b'), 2)
    assert capsys.readouterr().out == ''
