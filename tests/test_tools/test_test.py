import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.runs.test import EvalOptions, evaluate
from saga_mm.tasks.own_data import OwnData

CHECKPOINT = 'work_dirs/tiny/epoch_2.pth'


def test_figures_results_and_pictures(inside, tiny, tmp_path, capsys):
    out = tmp_path / 'results' / 'run.json'
    metrics = evaluate(
        EvalOptions(
            config=tiny,
            checkpoint=CHECKPOINT,
            show_dir=str(tmp_path / 'shown'),
            out=str(out),
            task_options={'score_thr': 0},
        )
    )
    assert {'coco/bbox_mAP', 'coco/segm_mAP_50'} <= set(metrics)
    screen = capsys.readouterr().out
    assert re.search(r'^mask AP50 +\d\.\d{3}$', screen, re.MULTILINE) and len(screen.splitlines()) < 20

    written = json.loads(out.read_text())
    assert written['metrics'] == metrics and written['results'] == ['run.bbox.json', 'run.segm.json']
    boxes, masks = (json.loads((out.parent / name).read_text()) for name in written['results'])
    assert len(boxes) == len(masks) > 0 and set(masks[0]['segmentation']) == {'size', 'counts'}

    shown = sorted((tmp_path / 'shown').iterdir())
    assert [path.name for path in shown] == ['000000.jpg', '000001.jpg', '000002.jpg']
    # ground truth and predictions side by side
    assert Image.open(shown[0]).size == (192, 96)


def test_pictures_of_another_size_and_ids_from_0(inside, tiny, tmp_path):
    """The config loads annotations before it resizes, as configs of earlier versions do."""
    names = ('disc', 'square', 'triangle', 'star', 'cross')
    images, annotations = [], []
    for index, (width, height) in enumerate([(150, 100), (60, 130)]):
        Image.new('RGB', (width, height), 'red').save(tmp_path / f'{index}.png')
        images.append({'id': index, 'file_name': f'{index}.png', 'width': width, 'height': height})
        corners = [10, 10, 50, 10, 50, 90, 10, 90]
        annotation = {'id': index, 'image_id': index, 'category_id': 0, 'bbox': [10, 10, 40, 80], 'area': 3200}
        annotations.append({**annotation, 'iscrowd': 0, 'segmentation': [corners]})
    categories = [{'id': index, 'name': name} for index, name in enumerate(names)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (tmp_path / 'ann.json').write_text(json.dumps(content), encoding='utf-16')
    own = OwnData(data_root=str(tmp_path), val_ann='ann.json')
    evaluate(EvalOptions(config=tiny, checkpoint=CHECKPOINT, show_dir=str(tmp_path / 'shown'), own_data=own))
    assert Image.open(tmp_path / 'shown' / '0.jpg').size == (300, 100)
    drawn = np.asarray(Image.open(tmp_path / 'shown' / '1.jpg').convert('RGB')).astype(int)
    assert drawn.shape == (130, 120, 3)
    # the ground truth covers its place on the left, and nothing else
    red = np.abs(drawn - (255, 0, 0)).max(-1) < 40
    assert not red[30:80, 20:40].any() and red[100:, :60].all()


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.webp'])
def test_pictures_that_exif_turns_have_the_figures_of_upright_ones(inside, tiny, tmp_path, suffix):
    ann = json.loads(Path('data/tiny/annotations/instances_val.json').read_text())
    found = []
    for tag, turn in ((1, None), (6, Image.Transpose.ROTATE_90), (4, Image.Transpose.FLIP_TOP_BOTTOM)):
        root = tmp_path / str(tag)
        root.mkdir()
        exif = Image.Exif()
        exif[0x0112] = tag
        for record in ann['images']:
            name = Path(record['file_name']).with_suffix(suffix).name
            stored = Image.open(Path('data/tiny/images/val') / f'{Path(name).stem}.png')
            stored = stored.transpose(turn) if turn is not None else stored
            stored.save(root / name, exif=exif, **({'lossless': True} if suffix == '.webp' else {}))
            record['file_name'] = name
        (root / 'ann.json').write_text(json.dumps(ann))
        out = str(root / 'out.json')
        own = OwnData(data_root=str(root), val_ann='ann.json')
        metrics = evaluate(EvalOptions(config=tiny, checkpoint=CHECKPOINT, out=out, own_data=own))
        found.append((metrics, (root / 'out.bbox.json').read_text()))
    assert found[0] == found[1] == found[2] and len(json.loads(found[0][1])) > 3


def test_raw_predictions(inside, tiny, tmp_path):
    evaluate(EvalOptions(config=tiny, checkpoint=CHECKPOINT, out=str(tmp_path / 'raw.pkl')))
    raw = pickle.loads((tmp_path / 'raw.pkl').read_bytes())
    assert len(raw) == 3 and {'bboxes', 'labels', 'scores', 'masks'} <= set(raw[0]['pred_instances'])


def test_own_data_and_the_best_of_a_folder(inside, tiny, tmp_path, capsys):
    shutil.copytree('data/tiny', tmp_path / 'own')
    own = OwnData(data_root=str(tmp_path / 'own'), val_ann='annotations/instances_val.json', val_img='images/val')
    first = evaluate(EvalOptions(config=tiny, checkpoint='work_dirs/tiny'))
    best = str(next(Path('work_dirs/tiny').glob('best_*.pth')))
    assert f'testing {best} with' in capsys.readouterr().out
    assert evaluate(EvalOptions(config=tiny, checkpoint=best, own_data=own)) == first


def test_mistakes_are_one_line(inside, tiny, tmp_path, planted):
    file, target = planted
    torch.save({'state_dict': {'x': torch.zeros(1)}}, tmp_path / 'other.pth')
    for options, words in [
        (dict(checkpoint='gone.pth'), r'checkpoint gone\.pth: no such file'),
        (dict(checkpoint=str(tmp_path / 'other.pth')), r'other\.pth: none of its 1 weights fits this MaskRCNN'),
        (dict(checkpoint=str(file)), 'refused, and nothing in it was loaded'),
        (dict(cfg_options={'model.roi_head.bbox_head.fc_out_channels': 40}), 'is of another model'),
        (dict(task_options={'max_memory': '4GB'}), '--max-memory: for segmentation'),
        (dict(out='a.txt'), r'--out a\.txt: name a \.json file'),
        (dict(show_dir='data/tiny/images/val'), 'is the folder of the images themselves'),
        (dict(cfg_options={'test_evaluator.metric': 'boxes'}), 'test_evaluator.*CocoMetric: .*boxes'),
        (dict(cfg_options={'test_dataloader.dataset.ann_file': 'gone.json'}), r'gone\.json'),
    ]:
        with pytest.raises(SagaError, match=words) as caught:
            evaluate(EvalOptions(config=tiny, **{'checkpoint': CHECKPOINT, **options}))
        assert '\n' not in str(caught.value)
    assert not target.exists()


def test_a_payload_is_refused_by_the_tool(inside, tiny, planted, run_here):
    file, target = planted
    out, err, status = run_here('test.py', tiny, file)
    assert status == 2 and not target.exists() and re.fullmatch(r'error: .*refused, .*\n', err) and out == ''


@pytest.mark.slow
def test_as_a_user_runs_it(trained, tiny, fork_tool):
    fine = fork_tool('test.py', tiny, CHECKPOINT, cwd=trained)
    out, err = fine.communicate(timeout=200)
    assert fine.returncode == 0 and err == '' and re.search(r'box AP50 +\d\.\d{3}', out)
    assert Path(trained, CHECKPOINT).exists()
