import json
import math

import numpy as np
import pytest
from PIL import Image

from saga_mm.cli.report import main, parser
from saga_mm.display.run_report import (
    contact_sheet,
    curves,
    divergence,
    find_drawn,
    metric_rows,
    plot_curves,
    read_scalars,
)
from saga_mm.display.table import format_table
from saga_mm.errors import SagaError


def write_log(folder, name, records):
    (folder / name / 'vis_data').mkdir(parents=True)
    (folder / name / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, records)) + '\n')


def losses(start, stop, value=1.0):
    return [{'loss': value / i, 'iter': i, 'epoch': 1, 'step': i} for i in range(start, stop)]


def test_the_newest_run_counts_and_a_resumed_one_goes_on(tmp_path):
    write_log(tmp_path, '1', losses(1, 9))
    write_log(tmp_path, '2', [*losses(1, 6, 2.0), {'coco/bbox_mAP': 0.25, 'step': 1}])
    write_log(
        tmp_path, '3', [*losses(4, 7, 3.0), {'coco/bbox_mAP': 0.5, 'step': 2}, {'coco/bbox_mAP_l': -1.0, 'step': 2}]
    )
    series = curves(read_scalars(tmp_path))
    assert series['loss'] == [(1, 2.0), (2, 1.0), (3, 2 / 3), (4, 0.75), (5, 0.6), (6, 0.5)]
    assert series['coco/bbox_mAP'][-1] == (6, 0.5)
    assert metric_rows(series) == [('box AP', 0.5, 0.5, 6)]


def test_validations_before_a_resume_are_kept(tmp_path):
    write_log(tmp_path, '1', [*losses(1, 4), {'mIoU': 70.0, 'step': 1}, *losses(4, 7), {'mIoU': 40.0, 'step': 2}])
    # resumed after three iterations, and once more to make up for a validation alone
    write_log(tmp_path, '2', [*losses(4, 7), {'mIoU': 60.0, 'step': 2}])
    write_log(tmp_path, '3', [{'mIoU': 61.0, 'step': 2}])
    series = curves(read_scalars(tmp_path))
    assert series['mIoU'] == [(3, 70.0), (6, 60.0), (6, 61.0)] and len(series['loss']) == 6
    assert metric_rows(series) == [('mIoU', 61.0, 70.0, 3)]
    # a training that begins anew in the same folder
    write_log(tmp_path, '4', [*losses(1, 3), {'mIoU': 10.0, 'step': 1}])
    assert curves(read_scalars(tmp_path))['mIoU'] == [(2, 10.0)]


def test_the_first_loss_that_is_nan_is_named(tmp_path, capsys):
    finite = {'loss': 2.0, 'loss_mask': 1.0}
    broken = {'loss': math.nan, 'loss_mask': math.inf}
    write_log(tmp_path, '1', [{**finite, 'iter': 50}, {**finite, 'iter': 100}, {**broken, 'iter': 150}])
    series = curves(read_scalars(tmp_path))
    words = 'loss is nan, loss_mask is inf at iteration 150; the last finite losses are those of iteration 100'
    assert divergence(series) == words
    main(parser().parse_args([str(tmp_path)]))
    assert f'diverged     {words}' in capsys.readouterr().out
    assert divergence({'loss': [(50, 2.0)]}) is None


def test_the_best_of_evaluations_is_no_nan():
    assert metric_rows({'PSNR': [(1, math.nan), (2, 20.0), (3, 19.0)], 'SSIM': [(1, math.nan)]}) == [
        ('PSNR', 19.0, 20.0, 2)
    ]


@pytest.mark.filterwarnings('error::UserWarning')
def test_folders_and_pictures_with_names_in_any_script(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    work, drawn = tmp_path / '训练 العربية 🎉 $x$', tmp_path / 'рисунки_画'
    write_log(work, '1', [*losses(1, 4), {'天空/mIoU': 70.0, '🎉/mIoU': 60.0, 'step': 1}])
    drawn.mkdir()
    Image.new('RGB', (64, 32)).save(drawn / '猫 🎉.png')
    main(parser().parse_args([work.name, '--pictures', drawn.name]))
    assert Image.open(work / 'curves.png').size[0] > 500 and Image.open(work / 'predictions.jpg').size[0] > 500
    told = capsys.readouterr().out
    assert work.name in told and drawn.name in told


def test_table_is_aligned():
    table = format_table(('name', 'value'), [('a', 0.5), ('longer', 12)])
    assert table.splitlines() == ['name    value', '-------------', 'a       0.500', 'longer  12']


def test_letters_of_two_columns_keep_a_table_aligned():
    table = format_table(('name', 'value'), [('天空', 1), ('e\u0301', 2), ('longer', 3)])
    assert table.splitlines()[2:] == ['天空    1', 'e\u0301       2', 'longer  3']


def test_pictures_are_written(tmp_path):
    path = plot_curves({'loss': [(1, 2.0), (2, 1.0)], 'coco/bbox_mAP_50': [(2, 0.5)]}, tmp_path / 'a' / 'curves.png')
    assert Image.open(path).size[0] > 500
    for name, size in (('1.png', (64, 32)), ('2.png', (96, 48))):
        Image.new('L', size, 200).save(tmp_path / name)
    sheet = contact_sheet([tmp_path / '1.png', tmp_path / '2.png'] * 2, tmp_path / 'sheet.jpg', columns=3, width=80)
    assert Image.open(sheet).size == (240, 80)


def test_segmentation(tmp_path):
    found = [{'aAcc': 80.0, 'mIoU': 60.5, 'time': 0.1, 'step': 1}, {'aAcc': 90.0, 'mIoU': 58.0, 'step': 2}]
    write_log(tmp_path, '1', [*losses(1, 3), found[0], *losses(3, 5), found[1]])
    series = curves(read_scalars(tmp_path))
    assert metric_rows(series) == [('aAcc', 90.0, 90.0, 4), ('mIoU', 58.0, 60.5, 2)]
    assert '58.00  60.50' in format_table(('metric', 'last', 'best', 'at iteration'), metric_rows(series))
    assert Image.open(plot_curves(series, tmp_path / 'curves.png')).size[0] > 500


def test_missing_logs_and_pictures_are_named(tmp_path):
    with pytest.raises(SagaError, match='holds no training log'):
        read_scalars(tmp_path)
    with pytest.raises(SagaError, match='no pictures to put into'):
        contact_sheet([], tmp_path / 'sheet.jpg')


def test_damaged_logs(tmp_path):
    write_log(tmp_path, '1', losses(1, 4))
    log = tmp_path / '1' / 'vis_data' / 'scalars.json'
    whole = log.read_bytes()
    # a run that is killed leaves a part of a line
    log.write_bytes(whole + b'{"loss": 1.0, "it')
    assert len(read_scalars(tmp_path)) == 3
    for spoilt in (b'\xff\x00', b'[1, 2]', b'{"iter": "x"}', b'{"iter": 1'):
        log.write_bytes(spoilt + b'\n' + whole)
        with pytest.raises(SagaError, match=r'scalars\.json, line 1: is no line of a training log'):
            read_scalars(tmp_path)


def test_class_maps_are_not_shown(tmp_path):
    for name in ('a.jpg', 'maps/a.png', 'b.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new('L', (8, 8)).save(tmp_path / name)
    assert [path.name for path in find_drawn(tmp_path)] == ['a.jpg', 'b.png']
    with pytest.raises(SagaError, match='nowhere: has no pictures'):
        find_drawn(tmp_path / 'nowhere')


def test_the_figure_of_a_classification_is_drawn(tmp_path):
    losses = {'loss': [(1, 2.0), (4, 1.0)]}
    drawn = [
        np.array(Image.open(plot_curves({**losses, **more}, tmp_path / f'{len(more)}.png')))
        for more in ({}, {'accuracy/top1': [(2, 40.0), (4, 60.0)]})
    ]
    # axes and their numbers are grey, curves are not
    right = [picture[:, picture.shape[1] // 2 :, :3].astype(int) for picture in drawn]
    assert [bool((np.ptp(half, axis=2) > 60).any()) for half in right] == [False, True]
