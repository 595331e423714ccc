import pytest
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import MODELS

from saga_mm.errors import SagaError
from saga_mm.loading.build import build_model, config_mistakes, swallowed_options


class Neck(BaseModule):
    def __init__(self, channels: int, num_outs: int = 2) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f'channels must be positive,\nnot {channels}')


class WideNeck(Neck):
    def __init__(self, extra: int = 0, **kwargs) -> None:
        super().__init__(**kwargs)


class Whole(BaseModule):
    def __init__(self, backbone: dict, neck: dict | None = None, data_preprocessor: dict | None = None) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.neck = neck and MODELS.build(neck)


@pytest.fixture(autouse=True)
def _registered():
    names = {'TestWhole': Whole, 'TestNeck': Neck, 'TestWideNeck': WideNeck}
    for name, cls in names.items():
        MODELS.register_module(name, module=cls)
    yield
    for name in names:
        MODELS.module_dict.pop(name)


def config(**parts) -> Config:
    backbone = dict(type='saga_mm.PVT', arch='tiny', out_indices=(0,))
    return Config(dict(model=dict(type='TestWhole', backbone={**backbone, **parts.pop('backbone', {})}, **parts)))


def test_builds():
    assert type(build_model(config(neck=dict(type='TestNeck', channels=3))).backbone).__name__ == 'PVT'


@pytest.mark.parametrize(
    ('parts', 'words'),
    [
        (dict(backbone=dict(archs='small')), "model.backbone: PVT has no option 'archs'; did you mean arch?"),
        (
            dict(neck=dict(type='TestNeck', chanels=3)),
            "model.neck: Neck has no option 'chanels'; did you mean channels?",
        ),
        (
            dict(neck=dict(type='TestWideNeck', xtra=3, channels=1)),
            "WideNeck has no option 'xtra'; did you mean extra?",
        ),
        (dict(neck=dict(type='TestNeck')), "model.neck: Neck needs 'channels'"),
        (dict(neck=dict(type='TestNeck', channels=0)), 'model.neck: Neck: channels must be positive, not 0'),
        (dict(neck=dict(type='TestNek', channels=1)), "model.neck: there is no 'TestNek'; did you mean TestNeck"),
        (
            dict(backbone=dict(type='saga_mm.PTV')),
            "model.backbone: there is no 'saga_mm.PTV'; did you mean saga_mm.PVT",
        ),
        (dict(backbone=dict(type='no_such.PVT')), "model.backbone: there is no 'no_such.PVT'"),
        (dict(backbone=dict(attention='sagga')), "model.backbone: PVT: unknown attention 'sagga'"),
        (dict(neckk=dict(type='TestNeck')), "model: Whole has no option 'neckk'; did you mean neck?"),
    ],
)
def test_mistakes_name_the_part_and_the_cure(parts, words):
    with pytest.raises(SagaError) as caught:
        build_model(config(**parts))
    assert words in str(caught.value) and '\n' not in str(caught.value)


def test_a_config_without_a_model_is_named(tmp_path):
    (tmp_path / 'some.py').write_text('lr = 1')
    with pytest.raises(SagaError, match=r'some\.py: has no model'):
        build_model(Config.fromfile(str(tmp_path / 'some.py')))


def test_errors_outside_of_building_keep_their_traceback():
    with pytest.raises(ValueError), config_mistakes(config()):
        raise ValueError('something else')


def test_options_that_a_class_takes_and_does_not_use():
    """Python refuses no keyword of a class with ``**kwargs``, and mmseg's metrics never look at theirs."""
    pytest.importorskip('mmseg.evaluation')
    found = swallowed_options(
        Config(
            {
                'default_scope': 'mmseg',
                'test_evaluator': [{'type': 'IoUMetric', 'iou_metric': ['mFscore'], 'nan_to_num': 0}],
                'val_evaluator': {'type': 'IoUMetric', 'iou_metrics': ['mIoU'], 'prefix': 'a'},
                'model': {'type': 'EncoderDecoder', 'anything': 1, 'decode_head': {'type': 'Unknown', 'x': 1}},
            }
        )
    )
    wanted = "IoUMetric has no option 'iou_metric'; did you mean iou_metrics?"
    assert list(found) == [('test_evaluator.0.iou_metric', wanted)]
