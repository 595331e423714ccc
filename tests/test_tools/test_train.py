import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.files import locked_folder
from saga_mm.loading.checkpoint import load_checkpoint
from saga_mm.loading.config import load_config
from saga_mm.runs.length import Length
from saga_mm.runs.test import EvalOptions, evaluate
from saga_mm.runs.train import TrainOptions, train
from saga_mm.tasks.own_data import OwnData

WORK = Path('work_dirs/tiny')
NOISE = re.compile(r'warn|deprecat|OneDL|copypaste|creating index|System environment|INFO|Traceback', re.IGNORECASE)


def losses(folder: Path) -> list[tuple[int, float]]:
    """Step and loss of each line of the newest log."""
    log = max(folder.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [(row['step'], row['loss']) for row in rows if 'loss' in row]


def test_what_a_training_leaves(trained):
    folder = trained / WORK
    assert {path.name for path in folder.glob('*.pth')} >= {'epoch_1.pth', 'epoch_2.pth'}
    assert (folder / 'last_checkpoint').read_text() == str(folder / 'epoch_2.pth')
    checkpoint = load_checkpoint(folder / 'epoch_2.pth')
    assert checkpoint['meta']['iter'] == 6 and checkpoint['meta']['dataset_meta']['classes'][0] == 'disc'
    log = min(folder.glob('*/*.log')).read_text()  # the first: tests that evaluate add theirs
    assert 'System environment' in log and 'Epoch(train) [2][3/3]' in log and 'CheckpointHook' in log


def test_the_model_that_was_checked_trains_as_one_that_the_runner_builds(inside, tiny, tmp_path):
    # a runner that is named builds its model itself
    train(TrainOptions(tiny, {'runner_type': 'Runner', 'train_cfg.max_epochs': 1}, str(tmp_path)))
    given, own = (load_checkpoint(folder / 'epoch_1.pth') for folder in (WORK, tmp_path))
    for key, value in own['state_dict'].items():
        assert torch.equal(given['state_dict'][key], value), key
    losses = [each['message_hub']['log_scalars']['train/loss'].data[0].tolist() for each in (given, own)]
    assert losses[0] == losses[1] and len(losses[0]) == 3


def test_resume_continues_where_it_stopped(inside, tiny, tmp_path, capsys):
    options = dict(config=tiny, cfg_options={'default_hooks.logger.interval': 1})
    work = tmp_path / 'resumed'
    work.mkdir()
    shutil.copy(WORK / 'epoch_1.pth', work)
    whole = train(TrainOptions(**options, work_dir=str(tmp_path / 'whole')))
    runner = train(TrainOptions(**options, work_dir=str(work), resume='auto'))
    assert f'resuming from {work}/epoch_1.pth, iteration 3' in capsys.readouterr().out
    assert runner.iter == whole.iter == 6 and runner.epoch == 2
    steps = dict(losses(tmp_path / 'whole'))
    assert [step for step, _ in losses(work)] == [4, 5, 6]
    assert all(loss == pytest.approx(steps[step], rel=0.2) for step, loss in losses(work))
    first, second = (load_checkpoint(folder / 'epoch_2.pth') for folder in (tmp_path / 'whole', work))
    assert first['param_schedulers'][0]['last_step'] == second['param_schedulers'][0]['last_step'] == 6
    states = first['optimizer']['state'], second['optimizer']['state']
    assert states[0][0]['step'] == states[1][0]['step'] == 6
    history = second['message_hub']['log_scalars']['train/loss'].data[0]
    assert (
        len(history) == 6
        and history[:3].tolist() == first['message_hub']['log_scalars']['train/loss'].data[0][:3].tolist()
    )


def test_a_short_training_from_weights(inside, tiny, tmp_path, capsys):
    change = {'needs_pretrained': True}
    options = TrainOptions(
        tiny, change, str(tmp_path / 'out'), weights=str(WORK), length=Length(epochs=1, batch_size=3, lr=1e-4)
    )
    runner = train(options)
    out = capsys.readouterr().out
    assert runner.iter == 2 and '1 epochs of 2 iterations; warm-up, schedule, ' in out
    assert re.search(r'--weights .*best_\S+\.pth: \d+ weights fit\n', out) and 'made for a pretrained' not in out
    # the copy of the config is that of the short training
    copied = load_config(tmp_path / 'out' / 'tiny.py')
    assert copied.train_cfg.max_epochs == 1 and copied.param_scheduler[0].end == 2
    assert copied.optim_wrapper.optimizer.lr == 1e-4 and copied.train_dataloader.batch_size == 3


def test_resume_passes_over_broken_files(inside, tiny, tmp_path, capsys):
    shutil.copy(WORK / 'epoch_2.pth', tmp_path)
    (tmp_path / 'epoch_3.pth').write_bytes((tmp_path / 'epoch_2.pth').read_bytes()[:1000])
    runner = train(TrainOptions(config=tiny, work_dir=str(tmp_path), resume='auto'))
    out = capsys.readouterr().out
    assert f'skipped checkpoint {tmp_path}/epoch_3.pth: is damaged' in out and 'epoch_2.pth, iteration 6' in out
    assert runner.iter == 6 and 'training is complete' in out


def wrong(inside: Path, tmp_path: Path) -> dict[str, tuple[dict, str]]:
    """Options that cannot work, and what is said."""
    torch.save({'state_dict': {'x': torch.zeros(1)}}, tmp_path / 'other.pth')
    checkpoint = load_checkpoint(WORK / 'epoch_2.pth')
    checkpoint['state_dict']['backbone.stages.0.norm.weight'] = torch.zeros(99)
    torch.save(checkpoint, tmp_path / 'shape.pth')
    (tmp_path / 'nan.json').write_text('{"images": [')
    head = 'model.roi_head.bbox_head'
    return {
        'option': ({'model.backbone.archs': 1}, r"model\.backbone: PVT has no option 'archs'; did you mean arch\?"),
        'type': ({'model.neck.type': 'FPPN'}, r"model\.neck: there is no 'FPPN'; did you mean FPN"),
        'optimizer': ({'optim_wrapper.optimizer.type': 'AdamV'}, r"optim_wrapper\.optimizer: there is no 'AdamV'"),
        'transform': ({'train_dataloader.dataset.pipeline.2.probb': 1}, r"RandomFlip has no option 'probb'"),
        'classes': ({f'{head}.num_classes': 7}, r'bbox_head\.num_classes is 7, but the train data has 5 classes'),
        'images': ({'train_dataloader.dataset.data_prefix.img': 'images/gone/'}, 'images/gone'),
        'annotations': ({'val_dataloader.dataset.ann_file': 'gone.json'}, r'gone\.json'),
        'load_from': ({'load_from': str(tmp_path / 'other.pth')}, 'none of its 1 weights fits this MaskRCNN'),
        'pretrained': (
            {'model.backbone.init_cfg': dict(type='Pretrained', checkpoint='gone.pth')},
            r'gone\.pth: no such',
        ),
        'section': ({'train_dataloader': None}, 'has no train_dataloader, so there is nothing to train'),
        'resume': (dict(resume=str(tmp_path / 'shape.pth')), 'is of another model than this MaskRCNN'),
        'best': (dict(resume=str(next(WORK.glob('best_*.pth')))), 'holds no optimizer'),
        'amp': (dict(amp=True), '--amp: mixed precision needs a GPU'),
        'weights': (dict(weights=str(WORK), resume='auto'), '--weights: does not go with --resume'),
        'length': (dict(length=Length(epochs=-1)), '--epochs -1: must be more than 0'),
        'own': (dict(own_data=OwnData(train_ann='a.json')), '--train-ann needs --val-ann as well'),
        'json': (dict(own_data=OwnData(train_ann=str(tmp_path / 'nan.json'), val_ann='b.json')), r'nan\.json'),
        'launcher': (dict(launcher='pytorch'), '--launcher pytorch: LOCAL_RANK is not set'),
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason='names what is missing without a GPU')
def test_mistakes_are_one_line_and_start_nothing(inside, tiny, tmp_path):
    for name, (change, words) in wrong(inside, tmp_path).items():
        options = (
            change
            if '.' not in next(iter(change)) and set(change) <= set(vars(TrainOptions('')))
            else {'cfg_options': change}
        )
        with pytest.raises(SagaError, match=words) as caught:
            train(TrainOptions(config=tiny, work_dir=str(tmp_path / name), **options))
        assert '\n' not in str(caught.value), name
        assert not list((tmp_path / name).glob('*.pth')), name


def test_one_training_in_a_folder_at_a_time(inside, tiny, tmp_path):
    options = TrainOptions(config=tiny, work_dir=str(tmp_path / 'out'))
    with locked_folder(tmp_path / 'out', 'busy'), pytest.raises(SagaError, match=r'--work-dir .*out: another training'):
        train(options)
    assert os.listdir(tmp_path / 'out') == []


def test_weights_that_are_no_numbers(inside, tiny, tmp_path):
    checkpoint = load_checkpoint(WORK / 'epoch_2.pth')
    checkpoint['state_dict'] = dict.fromkeys(checkpoint['state_dict'], 'text') | {'more': torch.ones(1)}
    file = str(tmp_path / 'a.pth')
    torch.save(checkpoint, file)
    for start in ({'resume': file}, {'cfg_options': {'load_from': file}}):
        with pytest.raises(SagaError, match='none of its'):
            train(TrainOptions(config=tiny, work_dir=str(tmp_path / 'out'), **start))
    with pytest.raises(SagaError, match='none of its'):
        evaluate(EvalOptions(config=tiny, checkpoint=file))


def test_pretrained_and_load_from_say_what_they_leave_out(inside, tiny, tmp_path, capsys):
    state = load_checkpoint(WORK / 'epoch_2.pth')['state_dict']
    part = {name: value for name, value in state.items() if 'mask_head' not in name}
    torch.save({'state_dict': {**part, 'extra.weight': torch.zeros(1)}}, tmp_path / 'part.pth')
    backbone = dict(type='Pretrained', checkpoint=str(tmp_path / 'part.pth'), prefix='backbone')
    options = {'model.backbone.init_cfg': backbone, 'load_from': str(tmp_path / 'part.pth'), 'train_cfg.max_epochs': 1}
    runner = train(TrainOptions(config=tiny, work_dir=str(tmp_path), cfg_options=options))
    out = capsys.readouterr().out
    words = r'part\.pth: \d+ weights fit, \d+ missing \(roi_head\.mask_head\..*\), 1 unexpected \(extra\.weight\)'
    assert re.search(words, out)
    assert 'part.pth for backbone' not in out and 'do not match exactly' not in out
    assert runner.iter == 3


@pytest.mark.parametrize('key', ['resume', 'load_from', 'pretrained'])
def test_payload_is_refused_wherever_it_is_named(inside, tiny, planted, tmp_path, key):
    file, target = planted
    options = {
        'resume': dict(resume=str(file)),
        'load_from': dict(cfg_options={'load_from': str(file)}),
        'pretrained': dict(cfg_options={'model.backbone.init_cfg': dict(type='Pretrained', checkpoint=str(file))}),
    }[key]
    with pytest.raises(SagaError, match=r'epoch_9\.pth: refused, and nothing in it was loaded: it holds posix\.system'):
        train(TrainOptions(config=tiny, work_dir=str(tmp_path / 'out'), **options))
    assert not target.exists()


def test_flexible_runner_trains_and_resumes(inside, tiny, tmp_path):
    options = {'runner_type': 'FlexibleRunner', 'strategy': {'type': 'SingleDeviceStrategy'}, 'train_cfg.max_epochs': 1}
    train(TrainOptions(config=tiny, work_dir=str(tmp_path), cfg_options=options))
    options['train_cfg.max_epochs'] = 2
    runner = train(TrainOptions(config=tiny, work_dir=str(tmp_path), cfg_options=options, resume='auto'))
    assert type(runner).__name__ == 'FlexibleRunner' and runner.iter == 6
    assert load_checkpoint(tmp_path / 'epoch_2.pth')['meta']['iter'] == 6


def test_own_data(inside, tiny, tmp_path, capsys):
    """The demo data as somebody's own, with one class less."""
    for part in ('train', 'val'):
        content = json.loads(Path(f'data/tiny/annotations/instances_{part}.json').read_text())
        content['categories'] = [{**entry, 'id': entry['id'] + 10} for entry in content['categories'][:4]]
        content['annotations'] = [
            {**entry, 'category_id': entry['category_id'] + 10}
            for entry in content['annotations']
            if entry['category_id'] < 5
        ]
        (tmp_path / f'{part}.json').write_text(json.dumps(content))
    shutil.copytree('data/tiny/images', tmp_path / 'images')
    own = OwnData(
        str(tmp_path), train_ann='train.json', val_ann='val.json', train_img='images/train', val_img='images/val'
    )
    options = TrainOptions(
        config=tiny, work_dir=str(tmp_path / 'out'), cfg_options={'train_cfg.max_epochs': 1}, own_data=own
    )
    runner = train(options)
    assert runner.train_dataloader.dataset.metainfo['classes'] == ('disc', 'square', 'triangle', 'star')
    assert runner.model.roi_head.bbox_head.num_classes == runner.model.roi_head.mask_head.num_classes == 4
    out = capsys.readouterr().out
    assert 'validated: ' in out

    # the command that it proposes knows of the data and the classes
    config, checkpoint = re.search(r'saga-mm test (\S+) (\S+)', out).groups()
    evaluate(EvalOptions(config=config, checkpoint=checkpoint))


def test_a_payload_is_refused_by_the_tool(inside, tiny, planted, run_here):
    file, target = planted
    out, err, status = run_here('train.py', tiny, '--resume', file)
    assert status == 2 and not target.exists() and not out
    assert re.fullmatch(r'error: checkpoint .*epoch_9\.pth: refused, .*\n', err)


@pytest.mark.slow
def test_as_a_user_runs_it(trained, tiny, start_tool, tmp_path):
    """Goes on from the first of two epochs. Trainings that are killed are in ``test_parallel/test_trainings.py``."""
    shutil.copytree(trained / 'data', tmp_path / 'data')
    (tmp_path / 'out').mkdir()
    shutil.copy(trained / WORK / 'epoch_1.pth', tmp_path / 'out')
    tool = start_tool('train.py', tiny, '--work-dir', 'out', '--resume', cwd=tmp_path)
    out, err = tool.communicate(timeout=200)
    assert tool.returncode == 0 and err == '', err
    assert not NOISE.search(out), NOISE.search(out)
    assert re.search(r'resuming from .*epoch_1\.pth, iteration 3\n', out)
    assert 'left' in out and 'validated: ' in out and 'training is complete' in out
    assert re.search(r'evaluate and draw +python tools/test\.py', out) and len(out.splitlines()) < 25
