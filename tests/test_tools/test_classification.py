"""Classification through the commands: one's own folders, from the check to predictions."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from saga_mm.apis import Classifier, Segmenter
from saga_mm.display.run_report import read_scalars
from saga_mm.errors import SagaError
from saga_mm.images.pictures import read_picture
from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config
from saga_mm.runs.check_data import CheckOptions, check_data
from saga_mm.runs.export import ExportOptions, export
from saga_mm.runs.predict import PredictOptions, predict
from saga_mm.runs.test import EvalOptions, evaluate
from saga_mm.runs.train import TrainOptions, train
from saga_mm.tasks.own_data import OwnData

TINY = str(Path(__file__).parents[1] / 'tiny_classification.py')
WORK = Path('work_dirs/tiny_classification')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with pictures of three classes, on which the tiny config was trained: ``epoch_1.pth``."""
    folder = tmp_path_factory.mktemp('classification')
    draws = np.random.default_rng(0)
    for part in ('train', 'val'):
        for label, name in enumerate(('blue', 'green', 'red')):
            (folder / part / name).mkdir(parents=True)
            for index in range(2):
                image = draws.integers(0, 60, (40, 50, 3), dtype=np.uint8)
                image[..., label] += 150
                cv2.imwrite(str(folder / part / name / f'{index}.png'), image)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(TrainOptions(TINY, own_data=OwnData(train_img='train', val_img='val')))
    return folder


@pytest.fixture
def inside(trained, monkeypatch):
    monkeypatch.chdir(trained)


@pytest.mark.usefixtures('inside')
def test_what_a_training_leaves(capsys):
    from saga_mm.loading.checkpoint import load_checkpoint

    meta = load_checkpoint(WORK / 'epoch_1.pth')['meta']
    assert tuple(meta['dataset_meta']['classes']) == ('blue', 'green', 'red')
    assert list(WORK.glob('best_top1_*.pth'))
    assert any('loss' in record for record in read_scalars(WORK))


@pytest.mark.usefixtures('inside')
def test_test_prints_writes_and_draws(tmp_path, capsys):
    options = EvalOptions(
        str(WORK / 'tiny_classification.py'), checkpoint=str(WORK), show_dir=str(tmp_path / 'drawn'), out='figures.json'
    )
    found = evaluate(options)
    # five of three classes are no figure
    assert list(found) == ['top1'] and 0 <= found['top1'] <= 100
    rows = Path('figures.csv').read_text().splitlines()
    assert rows[0] == 'file,class,predicted,score,place' and len(rows) == 7
    hits = sum(row.split(',')[1] == row.split(',')[2] for row in rows[1:])
    assert found['top1'] == pytest.approx(100 * hits / 6)
    assert len(list((tmp_path / 'drawn').rglob('*.png')) + list((tmp_path / 'drawn').rglob('*.jpg'))) == 6
    assert 'top1' in capsys.readouterr().out


def test_of_one_class_alone(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / 'val/red', 'val/red')
    evaluate(EvalOptions(TINY, checkpoint=str(trained / WORK), out='red.json', own_data=OwnData(val_img='val')))
    monkeypatch.chdir(trained)
    evaluate(EvalOptions(TINY, checkpoint=str(WORK), out=str(tmp_path / 'all.json'), own_data=OwnData(val_img='val')))
    red, whole = ((tmp_path / f'{name}.csv').read_text().splitlines()[1:] for name in ('red', 'all'))
    red, whole = ([row.partition('/val/')[2] for row in rows] for rows in (red, whole))
    assert len(red) == 2 and red == [row for row in whole if row.startswith('red/')]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SagaError, match="val: has the class 'red' alone, and at least two are needed"):
        train(TrainOptions(TINY, own_data=OwnData(train_img='val', val_img='val')))


@pytest.mark.usefixtures('inside')
def test_predict_lists_classes(tmp_path):
    found = predict(
        PredictOptions(TINY, checkpoint=str(WORK / 'epoch_1.pth'), source='val/red', out=str(tmp_path / 'out'))
    )
    assert len(found['images']) == 2
    scores = [entry['score'] for entry in found['images'][0]['predictions']]
    assert {entry['class'] for entry in found['images'][0]['predictions']} == {'blue', 'green', 'red'}
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=1e-3)
    classifier = Classifier(TINY, WORK / 'epoch_1.pth')
    by_name = classifier(read_picture('val/red/0.png'))
    listed = {entry['class']: entry['score'] for entry in found['images'][0]['predictions']}
    assert list(by_name) == list(listed) and by_name == pytest.approx(listed, abs=1e-4)
    assert json.loads((tmp_path / 'out' / 'predictions.json').read_text())['classes'] == ['blue', 'green', 'red']


@pytest.mark.usefixtures('inside')
def test_check_counts_and_draws(tmp_path, capsys):
    own = OwnData(train_img='train', val_img='val')
    assert check_data(CheckOptions(TINY, own_data=own, work_dir=str(tmp_path)))
    out = capsys.readouterr().out
    assert out.count('6 images, 50 x 40') == 2 and out.count('no problems') == 2
    assert (tmp_path / 'dataset' / 'train' / 'overlays.png').is_file()


@pytest.mark.usefixtures('inside')
def test_what_is_wrong_is_said_before_a_training(tmp_path):
    (tmp_path / 'blue').mkdir()
    (tmp_path / 'yellow').mkdir()
    for folder in ('blue', 'yellow'):
        (tmp_path / folder / '1.png').write_bytes(b'no picture')
    with pytest.raises(SagaError, match=r"has the class 'yellow', and the classes are 'blue', 'green', 'red'"):
        train(TrainOptions(TINY, own_data=OwnData(train_img='train', val_img=str(tmp_path))))
    (tmp_path / 'yellow' / '1.png').unlink()
    with pytest.raises(SagaError, match=r'unreadable picture: 1\.png'):
        train(TrainOptions(TINY, own_data=OwnData(train_img='train', val_img=str(tmp_path))))
    with pytest.raises(SagaError, match='--train-img needs --val-img as well: the folder of the images to evaluate on'):
        train(TrainOptions(TINY, own_data=OwnData(train_img='train')))
    with pytest.raises(SagaError, match=r'--train-mask: for segmentation, and config .* is for classification, which'):
        train(TrainOptions(TINY, own_data=OwnData(train_mask='train')))


@pytest.fixture
def one_stage(tmp_path):
    """A config of a classifier of one stage, which is exported in seconds, and its checkpoint."""
    arch = {'embed_dims': (8,), 'depths': (1,), 'num_heads': (1,), 'mlp_ratios': (2,), 'sr_ratios': (4,)}
    model = {'backbone': {'arch': {'_delete_': True, **arch}, 'out_indices': (0,)}, 'head': {'in_channels': 8}}
    model['head']['num_classes'] = 3
    (tmp_path / 'one.py').write_text(f'_base_ = [{TINY!r}]\nmodel = {model}\n')
    torch.manual_seed(0)
    state = build_model(load_config(tmp_path / 'one.py')).state_dict()
    state['head.fc.weight'] *= 50
    meta = {'dataset_meta': {'classes': ('blue', 'green', 'red')}}
    torch.save({'state_dict': state, 'meta': meta}, tmp_path / 'one.pth')
    return str(tmp_path / 'one.py'), str(tmp_path / 'one.pth')


@pytest.mark.usefixtures('inside', 'quick_exports')
def test_an_exported_classifier_predicts_as_its_weights(one_stage, tmp_path):
    for library in ('onnx', 'onnxruntime', 'onnxscript'):
        pytest.importorskip(library)
    path = str(tmp_path / 'tiny.onnx')
    made = export(ExportOptions(one_stage[0], checkpoint=one_stage[1], out=path))
    rule = {'short_side': 36, 'interpolation': 'bicubic', 'backend': 'pillow', 'center_crop': [32, 32]}
    assert (made.facts.kind, made.facts.classes, made.facts.resize) == ('classifier', ('blue', 'green', 'red'), rule)
    exact, exported = Classifier(*one_stage), Classifier(path)
    answers = [exact(read_picture(f'val/{name}.png')) for name in ('red/0', 'blue/1')]
    # which a constant would not tell apart
    assert max(abs(answers[0][name] - answers[1][name]) for name in answers[0]) > 0.01
    assert [exported(read_picture(f'val/{name}.png')) for name in ('red/0', 'blue/1')] == [
        pytest.approx(answer, abs=1e-5) for answer in answers
    ]
    found = predict(PredictOptions(path, None, source='val/red', out=str(tmp_path / 'out')))
    expected = predict(PredictOptions(*one_stage, source='val/red', out=str(tmp_path / 'expected')))
    assert [entry['predictions'] for entry in found['images']] == [entry['predictions'] for entry in expected['images']]
    for more in ({'checkpoint': one_stage[1]}, {'engine': 'openvino'}):
        with pytest.raises(SagaError, match='has its weights and options in it'):
            Classifier(path, **more)
    with pytest.raises(SagaError, match='is of kind classifier, and a file of kind segmentor is needed here'):
        Segmenter(path)


@pytest.mark.usefixtures('inside')
def test_pictures_that_are_trained_and_evaluated_on_are_named(capsys):
    options = CheckOptions(TINY, own_data=OwnData(train_img='train', val_img='train'), max_pictures=0)
    assert check_data(options)
    said = capsys.readouterr().out
    assert 'warning: 6 of the 6 pictures to evaluate on are trained on as well, such as ' in said
    assert check_data(CheckOptions(TINY, own_data=OwnData(train_img='train', val_img='val'), max_pictures=0))
    assert 'trained on as well' not in capsys.readouterr().out
