"""Training, testing and reporting for low-light enhancement."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saga_mm.display.run_report import curves, metric_rows, plot_curves, read_scalars
from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint
from saga_mm.loading.work_dir import find_best
from saga_mm.runs.check_data import CheckOptions, check_data
from saga_mm.runs.predict import PredictOptions, predict
from saga_mm.runs.test import EvalOptions, compare, evaluate
from saga_mm.runs.train import TrainOptions, train
from saga_mm.tasks.own_data import OwnData

TINY = str(Path(__file__).parents[1] / 'tiny_lowlight.py')
WORK = Path('work_dirs/tiny_lowlight')
CHECKPOINT = str(WORK / 'iter_4.pth')


@pytest.fixture(scope='module')
def enhanced(tmp_path_factory) -> Path:
    """A folder in which the tiny config was trained for four iterations: ``work_dirs/tiny_lowlight/iter_{2,4}.pth``."""
    folder = tmp_path_factory.mktemp('enhanced')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '')
        train(TrainOptions(config=TINY))
    return folder


@pytest.fixture
def inside(enhanced, monkeypatch) -> Path:
    monkeypatch.chdir(enhanced)
    return enhanced


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert('RGB')) / 255


def psnr(pred: np.ndarray, target: np.ndarray) -> float:
    return -10 * np.log10(np.mean((np.round(pred * 255) / 255 - target) ** 2))


def test_averaged_weights_are_validated_saved_and_tested(inside):
    (best,) = WORK.glob('best_*.pth')
    assert re.fullmatch(r'best_PSNR_iter_[24]\.pth', best.name) and find_best(WORK).samefile(best)
    series = curves(read_scalars(WORK))
    step = int(re.search(r'\d+', best.name)[0])
    validated = dict(series['PSNR'])
    assert set(validated) == {2, 4} and validated[step] == max(validated.values())
    for iteration in (2, 4):
        found = evaluate(EvalOptions(config=TINY, checkpoint=str(WORK / f'iter_{iteration}.pth')))
        assert found['PSNR'] == pytest.approx(validated[iteration], abs=1e-4)
    checkpoint = load_checkpoint(CHECKPOINT)
    differs = [
        not torch.equal(value, checkpoint['ema_state_dict'][f'module.{name}'])
        for name, value in checkpoint['state_dict'].items()
    ]
    assert any(differs)


def test_resuming_goes_on(inside, tmp_path, capsys):
    shutil.copy(WORK / 'iter_2.pth', tmp_path)
    runner = train(TrainOptions(config=TINY, work_dir=str(tmp_path), resume='auto'))
    out = capsys.readouterr().out
    assert runner.iter == 4 and 'iteration 2\n' in out
    assert re.search(r'validated: PSNR \d.*, SSIM .*, PSNR \(input\) \d.*, PSNR \(gamma 0\.3\) \d', out)
    assert re.search(r'best result +\d+\.\d+ \(PSNR\)', out) and 'saga-mm enhance' in out
    assert 'saga-mm predict' not in out
    averaged = load_checkpoint(tmp_path / 'iter_4.pth')['ema_state_dict']
    assert averaged['steps'] == load_checkpoint(CHECKPOINT)['ema_state_dict']['steps'] == 4


def test_a_copied_folder_goes_on_from_its_own_checkpoint(inside, tmp_path, capsys):
    """``last_checkpoint`` in it names the folder that it was copied from, which has gone on since."""
    shutil.copytree(WORK, tmp_path / 'copy')
    for path in [*(tmp_path / 'copy').glob('iter_4.pth'), *(tmp_path / 'copy').glob('best_*')]:
        path.unlink()
    runner = train(TrainOptions(TINY, {'train_cfg.max_iters': 2}, work_dir=str(tmp_path / 'copy'), resume='auto'))
    out = capsys.readouterr().out
    assert runner.iter == 2 and f'resuming from {tmp_path}/copy/iter_2.pth' in out
    assert 'nothing is left to train: 2 iterations are done, and the config asks for 2\n' in out
    assert re.search(rf'newest +{tmp_path}/copy/iter_2\.pth\n', out)


def test_a_training_that_averages_no_longer_goes_on_from_what_was_trained(inside, tmp_path, capsys):
    """The weights of a checkpoint are the averages, of which the optimizer knows nothing."""
    shutil.copy(WORK / 'iter_2.pth', tmp_path)
    runner = train(TrainOptions(TINY, {'custom_hooks': []}, work_dir=str(tmp_path), resume='auto'))
    assert 'weights are averaged (EMAHook) no longer' in capsys.readouterr().out
    trained = load_checkpoint(CHECKPOINT)['ema_state_dict']
    assert runner.iter == 4 and all(
        torch.equal(value, trained[f'module.{name}']) for name, value in runner.model.state_dict().items()
    )


def test_figures_baselines_and_pictures(inside, tmp_path, capsys):
    out = tmp_path / 'results' / 'run.json'
    options = EvalOptions(config=TINY, checkpoint=CHECKPOINT, show_dir=str(tmp_path / 'shown'), out=str(out))
    metrics = evaluate(options)
    screen = capsys.readouterr().out
    table = dict(re.findall(r'^(\S.*?) {2,}(-?\d+\.\d+)$', screen, re.MULTILINE))
    assert list(table) == [
        *('PSNR', 'SSIM', 'MAE', 'PSNR_Y', 'SSIM_Y'),
        *(f'{name} ({baseline})' for baseline in ('input', 'gamma 0.3') for name in ('PSNR', 'SSIM')),
    ]
    pairs = [(read(path), read(path.parents[1] / 'high' / path.name)) for path in Path('data/tiny/val/low').iterdir()]
    for name, gamma in (('input', 1), ('gamma_0.3', 0.3)):
        assert metrics[f'{name}/PSNR'] == pytest.approx(np.mean([psnr(low**gamma, high) for low, high in pairs]))
    written = json.loads(out.read_text())
    assert written['results'] == ['run.csv'] and written['metrics']['PSNR'] == metrics['PSNR']
    rows = list(csv.DictReader(out.with_suffix('.csv').open()))
    assert np.mean([float(row['PSNR']) for row in rows]) == pytest.approx(metrics['PSNR'])

    shown = sorted((tmp_path / 'shown').iterdir())
    assert [path.name for path in shown] == ['000000.jpg', '000001.jpg', '000002.jpg']
    picture = read(shown[0])[-64:]
    assert picture.shape == (64, 192, 3)
    low, high = (read(Path('data/tiny/val', side, '000000.png')) for side in ('low', 'high'))
    assert abs(picture[:, :64] - low).mean() < 0.03 and abs(picture[:, 128:] - high).mean() < 0.03


def test_report_knows_which_figures_are_better_low(inside, tmp_path):
    series = curves(read_scalars(WORK))
    rows = {name: (last, best) for name, last, best, _ in metric_rows(series)}
    assert rows['MAE'][1] == min(value for _, value in series['MAE'])
    assert rows['PSNR'][1] == max(value for _, value in series['PSNR'])
    assert rows['PSNR (input)'][0] == rows['PSNR (input)'][1]
    assert Image.open(plot_curves(series, tmp_path / 'curves.png')).size[0] > 500


def test_own_pairs(inside, tmp_path, capsys):
    """The demo pairs as somebody's own, with names that differ between the sides."""
    for side, name in (('low', 'low'), ('high', 'normal')):
        (tmp_path / side).mkdir()
        for path in Path('data/tiny/val', side).iterdir():
            shutil.copy(path, tmp_path / side / f'{name}{path.name}')
    own = OwnData(str(tmp_path), train_low='low', train_high='high', val_low='low', val_high='high')
    train(TrainOptions(TINY, {'train_cfg.max_iters': 2}, str(tmp_path / 'out'), own_data=own))
    # the command that it proposes knows of the data, and so does one that names it again
    config, checkpoint = re.search(r'saga-mm test (\S+) (\S+)', capsys.readouterr().out).groups()
    found = evaluate(EvalOptions(config=config, checkpoint=checkpoint))
    assert found == evaluate(
        EvalOptions(
            TINY,
            own_data=OwnData(val_low=str(tmp_path / 'low'), val_high=str(tmp_path / 'high')),
            checkpoint=checkpoint,
        )
    )
    assert found['input/PSNR'] == pytest.approx(
        np.mean(
            [
                psnr(read(path), read(tmp_path / 'high' / f'normal{path.name[3:]}'))
                for path in (tmp_path / 'low').iterdir()
            ]
        )
    )


def test_one_folder_of_good_photographs(inside, tmp_path, capsys):
    photos = str(Path('data/tiny/train/high').resolve())
    options = TrainOptions(TINY, {'train_cfg.max_iters': 2}, str(tmp_path / 'out'), own_data=OwnData(train_high=photos))
    runner = train(options)
    assert len(runner.train_dataloader.dataset) == 5 and len(runner.val_dataloader.dataset) == 1
    config, checkpoint = re.search(r'saga-mm test (\S+) (\S+)', capsys.readouterr().out).groups()
    shown = tmp_path / 'shown'
    found = [evaluate(EvalOptions(config=config, checkpoint=checkpoint, show_dir=str(shown))) for _ in range(2)]
    # the held-out photograph is darkened in the same way each time, and shown as the model saw it
    assert found[0] == found[1]
    (first, *_) = sorted(shown.iterdir())
    picture = read(first)[-64:]
    assert picture[:, :64].mean() < 0.6 * picture[:, 128:].mean()


def test_a_look_at_the_data(inside, tmp_path, capsys):
    assert check_data(CheckOptions(config=TINY, out=str(tmp_path)))
    out = capsys.readouterr().out
    assert '6 pictures of 64 x 64 pixels' in out and '3 pairs of 64 x 64 pixels' in out and 'no problems' in out
    assert Image.open(tmp_path / 'train' / 'pairs.png').size[0] > 500
    shutil.copytree('data/tiny/val', tmp_path / 'own')
    (tmp_path / 'own/high/000001.png').unlink()
    own = OwnData(val_low=str(tmp_path / 'own/low'), val_high=str(tmp_path / 'own/high'))
    with pytest.raises(SagaError, match=r'000001\.png'):
        evaluate(EvalOptions(config=TINY, checkpoint=CHECKPOINT, own_data=own))


def test_mistakes_are_one_line_and_start_nothing(inside, tmp_path):
    for name, (change, words) in {
        'folder': ({'train_dataloader.dataset.high': 'gone'}, 'gone'),
        'part': (
            {'model.backbone.type': 'saga_mm.SAGANet'},
            "there is no 'saga_mm.SAGANet'; did you mean saga_mm.SAGA",
        ),
        'option': ({'model.head.chanels': 3}, "'chanels'"),
        'metric': ({'val_evaluator.0.metrics': ['PNSR']}, 'PNSR'),
        'transform': ({'train_dataloader.dataset.pipeline.1.crop_size': 0}, 'crop_size must be'),
    }.items():
        with pytest.raises(SagaError, match=words) as caught:
            train(TrainOptions(config=TINY, work_dir=str(tmp_path / name), cfg_options=change))
        assert '\n' not in str(caught.value), name
        assert not list((tmp_path / name).glob('*.pth')), name
    for options, words in [
        (dict(task_options={'score_thr': 0.5}), '--score-thr: for detection'),
        (dict(out='a.pkl'), r'out=a\.pkl: name a \.json file for the figures'),
        (dict(own_data=OwnData(val_ann='a.json')), '--val-ann: for detection, and config'),
        (dict(own_data=OwnData(val_low='a')), r'--val-low needs --val-high as well'),
        (dict(show_dir='data/tiny/val/low'), 'is the folder of the images themselves'),
    ]:
        with pytest.raises(SagaError, match=words) as caught:
            evaluate(EvalOptions(config=TINY, checkpoint=CHECKPOINT, **options))
        assert '\n' not in str(caught.value)
    with pytest.raises(SagaError, match='which has no predict; it has train, test, enhance'):
        predict(PredictOptions(config=TINY, checkpoint=CHECKPOINT, source='data'))
    with pytest.raises(SagaError, match=r'--mode: for segmentation, and config .* is for low-light enhancement'):
        compare(EvalOptions(config=TINY, checkpoint=CHECKPOINT))


def test_the_tools(inside, run_here):
    ends = [
        run_here('test.py', TINY, WORK),
        run_here('report.py', WORK),
        run_here('check_dataset.py', TINY),
        run_here('train.py', TINY, '--work-dir', 'again', '--train-mask', 'a'),
    ]
    assert [status or 0 for _, _, status in ends] == [0, 0, 0, 2]
    assert ends[0][1] == ends[1][1] == ''
    assert re.search(r'PSNR \(gamma 0\.3\) +\d+\.\d+\n', ends[0][0])
    assert re.search(r'PSNR +\d+\.\d+ +\d+\.\d+ +[24]\n', ends[1][0])
    assert re.fullmatch(r'error: --train-mask: for segmentation, .*\n', ends[3][1])


def test_averaged_weights_of_another_model_are_not_resumed(inside, tmp_path):
    for change, words in (
        ({'steps': torch.zeros(3)}, 'holds no averaged weights'),
        ({'module.x': torch.ones(1)}, 'unexpected'),
    ):
        checkpoint = load_checkpoint(CHECKPOINT)
        checkpoint['ema_state_dict'].update(change)
        torch.save(checkpoint, tmp_path / 'a.pth')
        with pytest.raises(SagaError, match=words):
            train(TrainOptions(config=TINY, work_dir=str(tmp_path / 'out'), resume=str(tmp_path / 'a.pth')))
