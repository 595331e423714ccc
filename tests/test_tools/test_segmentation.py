"""Training, testing, predicting and reporting for semantic segmentation."""

import json
import re
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint
from saga_mm.rows import MemoryBudget, RowRunner, watch_rows
from saga_mm.runs.predict import PredictOptions, predict
from saga_mm.runs.test import EvalOptions, compare, evaluate
from saga_mm.runs.train import TrainOptions, train
from saga_mm.tasks.detection.detector import Detector
from saga_mm.tasks.own_data import OwnData
from saga_mm.tasks.segmentation import segmenter
from saga_mm.tasks.segmentation.evaluation import SegmentationEvaluation
from saga_mm.tasks.segmentation.modes import MODES
from saga_mm.tasks.segmentation.segmenter import Segmenter

TINY = str(Path(__file__).parents[1] / 'tiny_segmentation.py')
WORK = Path('work_dirs/tiny_segmentation')
CHECKPOINT = str(WORK / 'epoch_2.pth')
CLASSES = ['background', 'disc', 'square', 'triangle', 'star', 'cross']


@pytest.fixture
def inside(segmented, monkeypatch) -> Path:
    monkeypatch.chdir(segmented)
    return segmented


def test_training_keeps_the_best_by_miou_and_resumes(inside, tmp_path, capsys):
    (best,) = WORK.glob('best_*.pth')
    assert re.fullmatch(r'best_mIoU_epoch_[12]\.pth', best.name)
    assert load_checkpoint(CHECKPOINT)['meta']['dataset_meta']['classes'] == tuple(CLASSES)
    shutil.copy(WORK / 'epoch_1.pth', tmp_path)
    runner = train(TrainOptions(config=TINY, work_dir=str(tmp_path), resume='auto'))
    out = capsys.readouterr().out
    assert runner.iter == 6 and 'iteration 3\n' in out
    assert re.search(r'validated: aAcc \d+\.\d\d, mIoU \d+\.\d\d, mAcc \d+\.\d\d\n', out)
    assert re.search(r'best result +\d+\.\d+ \(mIoU\)', out) and '+---' not in out


def test_figures_maps_and_pictures(inside, tmp_path, capsys):
    out = tmp_path / 'results' / 'run.json'
    options = EvalOptions(config=TINY, checkpoint=CHECKPOINT, show_dir=str(tmp_path / 'shown'), out=str(out))
    metrics = evaluate(options)
    screen = capsys.readouterr().out
    assert re.search(r'^mIoU +\d+\.\d\d$', screen, re.MULTILINE) and len(screen.splitlines()) < 20
    table = dict(row.rsplit(maxsplit=1) for row in screen.splitlines() if row.startswith('IoU '))
    assert list(table) == [f'IoU {name}' for name in CLASSES]

    written = json.loads(out.read_text())
    assert written['results'] == ['run/'] and written['metrics']['mIoU'] == metrics['mIoU']
    # the figures follow from the maps that were written
    truths, maps = (
        [np.array(Image.open(path)) for path in sorted(folder.iterdir())]
        for folder in (Path('data/tiny/semantic/val'), out.parent / 'run')
    )
    truth, found = np.stack(truths), np.stack(maps)
    for label, name in enumerate(CLASSES):
        union = ((truth == label) | (found == label)).sum()
        iou = 100 * ((truth == label) & (found == label)).sum() / union if union else None
        assert written['metrics'][f'IoU {name}'] == (None if iou is None else pytest.approx(iou, abs=0.006))

    shown = sorted((tmp_path / 'shown').iterdir())
    assert [path.name for path in shown] == ['000000.jpg', '000001.jpg', '000002.jpg']
    # ground truth and predictions side by side, a legend below
    assert Image.open(shown[0]).size[0] == 192 and Image.open(shown[0]).size[1] > 96


def test_pictures_that_exif_turns_have_the_figures_and_drawings_of_upright_ones(inside, tmp_path):
    found = []
    for tag, turn in ((1, None), (6, Image.Transpose.ROTATE_90)):
        root = tmp_path / str(tag)
        shutil.copytree('data/tiny', root)
        exif = Image.Exif()
        exif[0x0112] = tag
        for path in [*(root / 'images/val').iterdir(), *(root / 'semantic/val').iterdir()]:
            picture = Image.open(path)
            # other sizes than those of the config
            picture = picture.crop((0, 0, 90, 70))
            if path.parent.parent.name == 'images':
                stored = picture.transpose(turn) if turn is not None else picture
                stored.save(path, exif=exif)
            else:
                picture.save(path)
        options = {'test_dataloader.dataset.data_root': str(root)}
        metrics = evaluate(
            EvalOptions(config=TINY, checkpoint=CHECKPOINT, cfg_options=options, show_dir=str(root / 'shown'))
        )
        found.append((metrics, [path.read_bytes() for path in sorted((root / 'shown').iterdir())]))
    assert found[0] == found[1] and len(found[0][1]) == 3


def test_scores_are_brought_to_the_size_of_images_by_rows_alone(inside, monkeypatch):
    picture = np.array(Image.open('data/tiny/images/val/000001.png'))[:70]
    options = EvalOptions(config=TINY, checkpoint=CHECKPOINT)
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationEvaluation, 'prepare_model', lambda *_: None)
        patch.setattr(segmenter, 'label_by_rows', lambda *_: None)
        metrics, found = evaluate(options), Segmenter(TINY, CHECKPOINT)(picture)

    def refuse(*_):
        raise AssertionError('mmseg resizes the scores of all classes')

    monkeypatch.setattr('mmseg.models.segmentors.base.resize', refuse)
    assert evaluate(options) == pytest.approx(metrics, nan_ok=True)
    assert np.array_equal(Segmenter(TINY, CHECKPOINT)(picture), found)


def test_pictures_of_other_kinds_than_rgb_arrays(inside):
    path = 'data/tiny/images/val/000001.png'
    segment, grey = Segmenter(TINY, CHECKPOINT), Image.open(path).convert('L')
    # an array (H, W) was read from right to left
    wanted = segment(np.array(grey.convert('RGB')))
    for given in (np.array(grey), np.array(grey) / 255, np.array(grey).astype(np.uint16) * 256, grey):
        assert np.array_equal(segment(given), wanted)
    assert np.array_equal(segment(path), segment(np.array(Image.open(path))))
    with pytest.raises(SagaError, match='not a list'):
        segment([np.array(grey)])


def test_a_misspelt_option_of_a_metric_is_refused(inside):
    with pytest.raises(SagaError, match=r'--cfg-options test_evaluator\.iou_metric: .*did you mean iou_metrics\?'):
        evaluate(EvalOptions(TINY, {'test_evaluator.iou_metric': 'mFscore'}, checkpoint=CHECKPOINT))


def test_a_batch_of_several_sizes_has_the_figures_of_its_pictures(inside, tmp_path):
    for kind in ('images', 'semantic'):
        shutil.copytree(f'data/tiny/{kind}/val', tmp_path / kind)
        first = min((tmp_path / kind).iterdir())
        Image.open(first).crop((0, 0, 70, 61)).save(first)
    (tmp_path / 'classes.txt').write_text('\n'.join(CLASSES))
    own = OwnData(str(tmp_path), val_img='images', val_mask='semantic', classes='classes.txt')
    one, three = (
        evaluate(EvalOptions(TINY, {'test_dataloader.batch_size': size}, checkpoint=CHECKPOINT, own_data=own))
        for size in (1, 3)
    )
    assert one == pytest.approx(three, nan_ok=True) and one['mIoU'] > 0


@pytest.fixture
def pictures(segmented, tmp_path) -> Path:
    """A folder as people have them: several kinds, equal names, and files that are no pictures."""
    folder = tmp_path / 'pictures'
    (folder / 'sub').mkdir(parents=True)
    picture = Image.open(segmented / 'data/tiny/images/val/000000.png').convert('RGB')
    picture.save(folder / 'a.png')
    picture.convert('CMYK').save(folder / 'a.jpg')
    picture.convert('LA').resize((50, 120)).save(folder / 'sub' / 'a.png')
    deep = np.array(picture.convert('L')).astype(np.uint16) * 257
    Image.fromarray(deep[:60]).save(folder / 'deep.png')
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.crop((0, 0, 96, 40)).save(folder / 'turned.jpg', exif=turned)
    Image.new('RGB', (700, 1)).save(folder / 'thin.png')
    Image.new('RGB', (1, 1)).save(folder / 'dot.png')
    (folder / 'cut.jpg').write_bytes((folder / 'a.jpg').read_bytes()[:900])
    (folder / 'notes.txt').write_text('not a picture')
    return folder


def test_a_folder_is_drawn_and_mapped(inside, pictures, tmp_path, capsys):
    out = tmp_path / 'out'
    with pytest.raises(SagaError, match=r'1 of 8 pictures could not be done:\n.*cut\.jpg'):
        predict(PredictOptions(config=TINY, checkpoint=CHECKPOINT, source=str(pictures), out=str(out)))
    words = rf'7 pictures segmented; drawn pictures, class maps \(maps/\) and predictions\.json are in {out}'
    assert re.search(words, capsys.readouterr().out)
    result = json.loads((out / 'predictions.json').read_text())
    assert result['classes'] == CLASSES and [entry['file'] for entry in result['failed']] == ['cut.jpg']
    sizes = {image['file']: (image['width'], image['height']) for image in result['images']}
    assert sizes == {
        'a.jpg': (96, 96),
        'a.png': (96, 96),
        'deep.png': (96, 60),
        'dot.png': (1, 1),
        'thin.png': (700, 1),
        'turned.jpg': (40, 96),
        'sub/a.png': (50, 120),
    }
    for image in result['images']:
        found = Image.open(out / image['map'])
        assert found.mode == 'P' and found.size == (image['width'], image['height'])
        assert found.getpalette()[3:6] == [230, 80, 60], 'the colour of discs'
        shares = np.bincount(np.array(found).ravel(), minlength=6) / found.width / found.height
        seen = {CLASSES[label]: share for label, share in enumerate(shares) if share}
        assert image['shares'] == pytest.approx(seen, abs=6e-5)
        assert (out / image['drawn']).is_file()
    assert len({image['map'] for image in result['images']}) == 7


def test_in_strips_a_folder_gets_the_same_maps(inside, pictures, tmp_path, monkeypatch):
    results = []
    for own_size in (False, True):
        out = tmp_path / str(own_size)
        # in rows a picture is read, segmented and saved by rows; strips are one row high
        monkeypatch.setattr(MemoryBudget, 'plan', lambda *_: RowRunner(rows=1))
        with pytest.raises(SagaError, match=r'1 of 8 pictures could not be done:\n.*cut\.jpg'):
            predict(PredictOptions(TINY, CHECKPOINT, str(pictures), str(out), {'own_size': own_size}))
        images = json.loads((out / 'predictions.json').read_text())['images']
        results.append({image['file']: np.array(Image.open(out / image['map'])) for image in images})
        assert all((out / image['drawn']).is_file() for image in images)
    assert len(results[0]) == 7 and results[0].keys() == results[1].keys()
    for name, whole in results[0].items():
        assert whole.shape == results[1][name].shape
        assert (whole == results[1][name]).mean() >= 0.999, name


def test_in_strips_a_picture_shows_how_many_of_its_rows_are_done(inside, pictures, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr('saga_mm.tasks.segmentation.prediction.progress_meter', lambda *_: nullcontext(shown.append))
    options = PredictOptions(TINY, CHECKPOINT, str(pictures / 'a.png'), str(tmp_path / 'out'), {'own_size': True})
    predict(options)
    assert shown == sorted(shown) and 0 < shown[0] < 20 and shown[-1] == 96
    assert len([rows for rows in shown if rows < 80]) > 10


@pytest.fixture
def large(segmented, tmp_path) -> Path:
    """A picture of which one pass takes some 200 MB."""
    picture = Image.open(segmented / 'data/tiny/images/val/000000.png').convert('RGB')
    picture.resize((700, 900), Image.Resampling.BICUBIC).save(tmp_path / 'large.png')
    return tmp_path / 'large.png'


def smallest_of(large: Path, out: Path) -> int:
    """The smallest memory that works, in MB, and a little more: a process does not always hold the same."""
    with pytest.raises(SagaError) as refused:
        predict(PredictOptions(TINY, CHECKPOINT, str(large), str(out), {'max_memory': '90MB'}))
    said = r'--max-memory 90MB: too little for 700 x 900 pixels; the smallest that works is (\d+)MB'
    assert not (out / 'maps' / 'large.png').exists()
    return int(re.search(said, str(refused.value))[1]) + 30


RESIZE = {
    'test_dataloader.dataset.pipeline': [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(820, 820), keep_ratio=True),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs'),
    ]
}


@pytest.mark.parametrize('change', [None, RESIZE], ids=['by-rows', 'resized'])
def test_what_does_not_fit_the_memory_is_done_in_strips_with_the_same_map(inside, large, tmp_path, change):
    memory, maps = f'{smallest_of(large, tmp_path / "refused")}MB', []
    # the limit first: what the process holds after a whole pass would count against it
    for limit in (memory, None):
        out, shares = tmp_path / str(limit), []
        with watch_rows(shares.append):
            predict(PredictOptions(TINY, CHECKPOINT, str(large), str(out), {'max_memory': limit}, cfg_options=change))
        # those who watch are told of what is run in strips
        assert bool(shares) == (limit is not None)
        maps.append(np.array(Image.open(out / 'maps' / 'large.png')))
    assert maps[0].shape == (900, 700) and len(np.unique(maps[0])) > 1
    assert (maps[0] == maps[1]).mean() > 0.9999


def test_a_segmenter_and_a_test_keep_within_a_memory(inside, large, tmp_path):
    memory = smallest_of(large, tmp_path / 'refused') + 20
    picture = np.array(Image.open(large))
    whole, strips = Segmenter(TINY, CHECKPOINT), Segmenter(TINY, CHECKPOINT, max_memory=f'{memory}MB')
    assert (whole(picture) == strips(picture)).mean() > 0.9999
    assert whole.budget.explain().endswith(' in use: in one piece')
    assert re.search(r'in use, \d\.\d GiB for strips: \d+ strips of \d+ rows, ', strips.budget.explain())
    options = EvalOptions(config=TINY, checkpoint=CHECKPOINT)
    figures, shares = evaluate(options), []
    with watch_rows(shares.append), pytest.raises(SagaError, match=r'max_memory=90MB: too little for 96 x 96 pixels'):
        evaluate(replace(options, task_options={'max_memory': '90MB'}))
    assert (
        evaluate(replace(options, task_options={'max_memory': '64GB'})) == pytest.approx(figures, nan_ok=True)
        and not shares
    )


def test_options_that_do_not_go_together_are_named(inside, tmp_path):
    options = EvalOptions(TINY, checkpoint=CHECKPOINT)
    for change, said in [
        (dict(show_dir=str(tmp_path / 'shown')), '--show-dir: does not go with --mode'),
        (dict(launcher='pytorch'), '--launcher pytorch: does not go with --mode'),
        (dict(out='a.pkl'), r'--out a\.pkl: name a \.json file'),
        (dict(task_options={'score_thr': 0.5}), '--score-thr: for detection'),
        (dict(task_options={'max_memory': 'much'}), 'max_memory=much: is no size'),
        (dict(task_options={'sizes': '96,0'}), 'sizes=96,0: name longest sides in pixels'),
    ]:
        with pytest.raises(SagaError, match=said):
            compare(replace(options, **change))


def test_modes_side_by_side(inside, tmp_path, capsys):
    out = tmp_path / 'modes.json'
    windows = {'model.test_cfg.crop_size': (64, 64), 'model.test_cfg.stride': (32, 32)}
    own = {'mode': MODES, 'sizes': '96,130', 'max_memory': '64GB'}
    options = EvalOptions(TINY, windows, checkpoint=CHECKPOINT, out=str(out), task_options=own)
    rows = {(row.size, row.mode): row for row in compare(options).rows}
    assert list(rows) == [(size, mode) for size in (96, 130) for mode in ('whole', 'slide', 'strips')]
    assert all(0 <= row.miou <= 100 and row.seconds > 0 and row.peak_gib > 0.1 for row in rows.values())
    for size in (96, 130):
        assert rows[size, 'strips'].miou == pytest.approx(rows[size, 'whole'].miou, abs=0.02)
    assert rows[96, 'slide'].miou != rows[96, 'whole'].miou
    assert rows[96, 'whole'].miou == pytest.approx(evaluate(EvalOptions(TINY, checkpoint=CHECKPOINT))['mIoU'], abs=0.01)
    assert len(json.loads(out.read_text())['rows']) == 6 and out.with_suffix('.png').stat().st_size > 5000
    assert re.search(r'^130 +strips +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d$', capsys.readouterr().out, re.MULTILINE)


def test_the_map_is_the_evaluated_one_and_classes_are_those_of_the_checkpoint(inside, tmp_path):
    picture = np.array(Image.open('data/tiny/images/val/000001.png'))
    out = tmp_path / 'run.json'
    evaluate(EvalOptions(config=TINY, checkpoint=CHECKPOINT, out=str(out)))
    checkpoint = load_checkpoint(CHECKPOINT)
    names = ('nothing', 'one', 'two', 'three', 'four', 'five')
    checkpoint['meta']['dataset_meta'] = {'classes': names}
    torch.save(checkpoint, tmp_path / 'own.pth')
    # a config that knows nothing of these classes, as the one that a training on own data started from
    config = {'model.decode_head.num_classes': 150, 'model.auxiliary_head.num_classes': 150}
    model = Segmenter(TINY, tmp_path / 'own.pth', 'cpu', config)
    assert model.classes == names and len(model.metainfo['palette']) == 6
    found = model(picture)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.array(Image.open(tmp_path / 'run' / '000001.png')))

    del checkpoint['meta']
    torch.save(checkpoint, tmp_path / 'bare.pth')
    assert Segmenter(TINY, tmp_path / 'bare.pth').classes == tuple(CLASSES)
    with pytest.raises(
        SagaError, match=r'tiny_segmentation\.py: is for segmentation, and Detector runs models for detection'
    ):
        Detector(TINY, tmp_path / 'bare.pth')


def test_own_data(inside, tmp_path, capsys):
    """The demo data as somebody's own, with all shapes as one class."""
    for part in ('train', 'val'):
        shutil.copytree(f'data/tiny/images/{part}', tmp_path / part / 'photos')
        (tmp_path / part / 'masks').mkdir()
        for path in Path(f'data/tiny/semantic/{part}').iterdir():
            shapes = Image.fromarray((np.array(Image.open(path)) > 0).astype(np.uint8), 'P')
            shapes.putpalette([0, 0, 0, 255, 0, 0])
            shapes.save(tmp_path / part / 'masks' / f'{path.stem}_mask.png')
    (tmp_path / 'classes.txt').write_text('nothing\nshape\n')
    folders = {f'{part}_{kind}': f'{part}/{name}' for part in ('train', 'val') for kind, name in FOLDERS.items()}
    own = OwnData(data_root=str(tmp_path), classes='classes.txt', **folders)
    options = {'train_cfg.max_epochs': 1}
    runner = train(TrainOptions(config=TINY, work_dir=str(tmp_path / 'out'), cfg_options=options, own_data=own))
    assert runner.model.decode_head.num_classes == runner.model.auxiliary_head.num_classes == 2

    # the command that it proposes knows of the data and the classes, and so does one that names them again
    config, checkpoint = re.search(r'saga-mm test (\S+) (\S+)', capsys.readouterr().out).groups()
    found = evaluate(EvalOptions(config=config, checkpoint=checkpoint))
    assert 'IoU shape' in found
    assert evaluate(EvalOptions(config=TINY, checkpoint=checkpoint, own_data=own)) == pytest.approx(found, nan_ok=True)


FOLDERS = {'img': 'photos', 'mask': 'masks'}


def test_mistakes_are_one_line_and_start_nothing(inside, tmp_path):
    for name, (change, words) in {
        'head': (
            {'model.decode_head.num_classes': 7},
            'decode_head.num_classes is 7, but the train data has 6 classes',
        ),
        'aux': ({'model.auxiliary_head.num_classes': 5}, 'auxiliary_head.num_classes is 5, but the train data has 6'),
        'images': ({'train_dataloader.dataset.data_prefix.img_path': 'images/gone'}, 'images/gone'),
        'masks': ({'val_dataloader.dataset.data_prefix.seg_map_path': 'gone'}, 'gone'),
        'option': ({'model.decode_head.pool_scale': (1,)}, "'pool_scale'"),
    }.items():
        with pytest.raises(SagaError, match=words) as caught:
            train(TrainOptions(config=TINY, work_dir=str(tmp_path / name), cfg_options=change))
        assert '\n' not in str(caught.value), name
        assert not list((tmp_path / name).glob('*.pth')), name
    for options, words in [
        (dict(task_options={'score_thr': 0.5}), '--score-thr: for detection'),
        (dict(out='a.pkl'), r'out=a\.pkl: name a \.json file for the figures'),
        (dict(own_data=OwnData(val_ann='a.json')), '--val-ann: for detection'),
        (dict(show_dir='data/tiny/images/val'), 'is the folder of the images themselves'),
    ]:
        with pytest.raises(SagaError, match=words) as caught:
            evaluate(EvalOptions(config=TINY, checkpoint=CHECKPOINT, **options))
        assert '\n' not in str(caught.value)
    with pytest.raises(SagaError, match='--score-thr: for detection'):
        predict(PredictOptions(config=TINY, checkpoint=CHECKPOINT, source='data', task_options={'score_thr': 0.5}))


def test_the_tools(inside, pictures, run_here):
    ends = [
        run_here('test.py', TINY, WORK),
        run_here('predict.py', TINY, WORK, pictures / 'a.png'),
        run_here('report.py', WORK),
        run_here('train.py', TINY, '--work-dir', 'again', '--train-ann', 'a.json'),
        run_here('test.py', TINY, WORK, '--sizes', '64'),
    ]
    assert [status or 0 for _, _, status in ends] == [0, 0, 0, 2, 2]
    assert ends[0][1] == ends[2][1] == ''
    assert re.search(r'IoU cross +\d+\.\d\d\n', ends[0][0])
    assert '1 picture segmented' in ends[1][0]
    assert re.search(r'mIoU +\d+\.\d+ +\d+\.\d+ +[36]\n', ends[2][0])
    assert re.fullmatch(r'error: --train-ann: for detection, .*\n', ends[3][1])
    assert re.fullmatch(r'error: --sizes: goes with --mode, .*\n', ends[4][1])
