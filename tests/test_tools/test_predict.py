import json
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint
from saga_mm.runs.predict import PredictOptions, predict
from saga_mm.tasks.detection.detector import Detector

CHECKPOINT = 'work_dirs/tiny/epoch_2.pth'


@pytest.fixture
def pictures(trained, tmp_path) -> Path:
    """A folder as people have them: several kinds, equal names, and files that are no pictures."""
    folder = tmp_path / 'pictures'
    (folder / 'sub').mkdir(parents=True)
    picture = Image.open(trained / 'data/tiny/images/val/000000.png').convert('RGB')
    picture.save(folder / 'a.png')
    picture.convert('CMYK').save(folder / 'a.jpg')
    picture.convert('LA').resize((50, 120)).save(folder / 'sub' / 'a.png')
    (folder / 'cut.jpg').write_bytes((folder / 'a.jpg').read_bytes()[:900])
    Image.new('RGB', (3000, 1)).save(folder / 'thin.png')
    (folder / 'notes.txt').write_text('not a picture')
    return folder


def options(tiny: str, source: Path | str, **more: object) -> PredictOptions:
    return PredictOptions(
        **{'config': tiny, 'checkpoint': CHECKPOINT, 'source': str(source), 'task_options': {'score_thr': 0.0}, **more}
    )


def test_a_folder(inside, tiny, pictures, tmp_path, capsys):
    before = {path: path.read_bytes() for path in pictures.rglob('*') if path.is_file()}
    out = tmp_path / 'out'
    with pytest.raises(SagaError, match=r'2 of 5 pictures could not be done:\n.*cut\.jpg.*\n.*thin\.png'):
        predict(options(tiny, pictures, out=str(out)))
    assert re.search(
        rf'\d+ objects in 3 pictures; drawn pictures and predictions\.json are in {out}', capsys.readouterr().out
    )
    assert {path: path.read_bytes() for path in pictures.rglob('*') if path.is_file()} == before
    drawn = sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_file())
    assert drawn == ['a.jpg', 'a_png.jpg', 'predictions.json', 'sub/a.jpg']
    assert Image.open(out / 'sub' / 'a.jpg').size == (50, 120)

    result = json.loads((out / 'predictions.json').read_text())
    assert 'left' not in result
    assert [image['file'] for image in result['images']] == ['a.jpg', 'a.png', 'sub/a.png']
    assert [entry['file'] for entry in result['failed']] == ['cut.jpg', 'thin.png']
    image = result['images'][2]
    assert (image['width'], image['height'], image['drawn']) == (50, 120, 'sub/a.jpg') and image['predictions']
    for found in image['predictions']:
        x1, y1, x2, y2 = found['box']
        assert 0 <= x1 <= x2 <= 50 and 0 <= y1 <= y2 <= 120 and 0 <= found['score'] <= 1
        assert found['class'] == result['classes'][found['label']]
        assert coco_mask.decode(found['mask']).shape == (120, 50)
    scores = [found['score'] for found in image['predictions']]
    assert scores == sorted(scores, reverse=True)


def test_one_picture_and_the_default_folder(inside, tiny, pictures):
    result = predict(options(tiny, pictures / 'a.png', task_options={'score_thr': 1.0}))
    assert result['images'][0]['predictions'] == [] and Path('work_dirs/predict/a/a.jpg').is_file()
    assert json.loads(Path('work_dirs/predict/a/predictions.json').read_text()) == result


def test_results_inside_the_folder_are_not_predicted_again(inside, tiny, pictures):
    for name in ('cut.jpg', 'thin.png'):
        (pictures / name).unlink()
    for _ in range(2):
        assert len(predict(options(tiny, pictures, out=str(pictures / 'out')))['images']) == 3


def test_classes_are_those_that_the_checkpoint_was_trained_on(inside, tiny, tmp_path):
    checkpoint = load_checkpoint(CHECKPOINT)
    checkpoint['meta']['dataset_meta'] = {'classes': ('one', 'two', 'three', 'four', 'five')}
    torch.save(checkpoint, tmp_path / 'own.pth')
    # a config that knows nothing of these classes, as the one that a training on own data started from
    config = {'model.roi_head.bbox_head.num_classes': 80, 'model.roi_head.mask_head.num_classes': 80}
    detector = Detector(tiny, tmp_path / 'own.pth', 'cpu', config)
    assert detector.classes == ('one', 'two', 'three', 'four', 'five')
    found = detector(np.zeros((40, 64, 3), np.uint8)).pred_instances
    assert found.masks.shape[1:] == (40, 64) and found.bboxes.shape[1] == 4

    del checkpoint['meta']
    torch.save(checkpoint, tmp_path / 'bare.pth')
    assert Detector(tiny, tmp_path / 'bare.pth').classes == ('disc', 'square', 'triangle', 'star', 'cross')


def test_mistakes(inside, tiny, pictures, planted, tmp_path):
    file, target = planted
    (tmp_path / 'empty').mkdir()
    torch.save({'state_dict': {'x': torch.zeros(1)}}, tmp_path / 'other.pth')
    for change, words in [
        (dict(source='gone'), 'gone: no such picture or folder'),
        (dict(source=str(tmp_path / 'empty')), 'has no pictures in it'),
        (dict(out=str(pictures)), 'is the folder of the pictures themselves'),
        (dict(out=str(pictures / 'a.png')), 'is a file, and a folder is needed'),
        (dict(task_options={'max_memory': '4GB'}), '--max-memory: for segmentation'),
        (dict(task_options={'own_size': True}), '--own-size: for segmentation'),
        (dict(device='gpu7'), 'device=gpu7: no such device'),
        (dict(checkpoint=str(tmp_path / 'other.pth')), 'none of its 1 weights fits'),
        (dict(checkpoint=str(file)), 'refused, and nothing in it was loaded'),
    ]:
        with pytest.raises(SagaError, match=words) as caught:
            predict(options(tiny, **{'source': str(pictures), **change}))
        assert '\n' not in str(caught.value)
    assert not target.exists()


@pytest.mark.slow
def test_a_killed_run_leaves_what_it_found(trained, tiny, pictures, tmp_path, fork_tool):
    for number in range(100):
        shutil.copy(pictures / 'a.png', pictures / f'{number:03}.png')
    out = tmp_path / 'out'
    results = out / 'predictions.json'
    out.mkdir()
    results.write_text('earlier')
    process = fork_tool('predict.py', tiny, CHECKPOINT, pictures, '--out', out, '--score-thr', 0, cwd=trained)
    while results.read_text() == 'earlier' and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = json.loads(results.read_text())
    assert found['images'] and found['left'] == 105 - len(found['images']) - len(found['failed'])
    assert all((out / image['drawn']).is_file() for image in found['images'])


def test_a_payload_is_refused_by_the_tool(inside, tiny, planted, pictures, run_here):
    file, target = planted
    _, err, status = run_here('predict.py', tiny, file, pictures)
    assert status == 2 and not target.exists() and re.fullmatch(r'error: .*refused, .*\n', err)


def test_as_a_user_runs_it(inside, tiny, pictures, run_here):
    shutil.rmtree(pictures / 'sub')
    out, err, status = run_here('predict.py', tiny, CHECKPOINT, pictures, '--score-thr', 0)
    assert status == 2 and 'objects in 2 pictures' in out
    assert 'error: 2 of 4 pictures could not be done:' in err and 'Warning' not in err
