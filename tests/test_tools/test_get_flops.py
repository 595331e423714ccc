import json
from functools import partial
from pathlib import Path

import pytest

from saga_mm.rows import limit_chunks

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/coco/mask-rcnn_saga-pvt-t_fpn_1x_coco.py'


@pytest.fixture
def get_flops(run_here):
    return partial(run_here, 'get_flops.py')


def test_backbone_by_name(get_flops):
    out, err, status = get_flops('pvt_tiny', '--shape', '64', '96', '--batch-size', '2')
    assert status == 0 and not err
    assert 'stages.3' in out and 'inference, batch 2, image 64 x 96' in out


def test_json_and_options_of_a_backbone(get_flops):
    out, _, status = get_flops('saga_pvt_tiny', '--json', '--training', '--cfg-options', 'with_cp=True')
    data = json.loads(out)
    assert status == 0 and data['shape'] == [1, 3, 224, 224] and data['training']
    # checkpointing runs the blocks again
    assert data['total']['backward_macs'] > 2.5 * data['total']['macs']


def test_detector_config_and_its_options(get_flops):
    options = ('model.neck.out_channels=128', 'model.rpn_head.in_channels=128')
    # in whole maps, which are soon traced
    with limit_chunks(2**30):
        out, _, status = get_flops(CONFIG, '--json', '--cfg-options', *options)
    data = json.loads(out)
    parts = {part['name']: part for part in data['parts']}
    assert status == 0 and data['shape'] == [1, 3, 800, 1280]
    assert list(parts) == ['backbone', 'neck', 'rpn_head', 'roi_head']
    assert parts['roi_head']['macs'] is None and parts['roi_head']['parameters'] > 0
    # for each level a 1 x 1 convolution of the stage's channels, then a 3 x 3 one
    levels = ((4, 64), (8, 128), (16, 320), (32, 512))
    assert parts['neck']['macs'] == sum((800 // s) * (1280 // s) * 128 * (c + 128 * 9) for s, c in levels)


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (('saga_pvt_tiniest',), 'saga_pvt_tiny'),
        (('configs/absent.py',), 'configs/absent.py'),
        (('pvt_tiny', '--shape', '0', '64'), 'at least 1'),
        (('pvt_tiny', '--batch-size', '-1'), 'at least 1'),
        (('pvt_tiny', '--cfg-options', 'colour=red'), 'colour'),
        ((CONFIG, '--cfg-options', 'model.backbone.colour=red'), 'colour'),
        ((CONFIG, '--cfg-options', 'model.backbone.attention=magic'), 'magic'),
    ],
)
def test_errors_are_one_line(get_flops, args, words):
    out, err, status = get_flops(*args)
    assert status == 2 and not out
    assert err.startswith('error: ') and err.count('\n') == 1 and words in err
