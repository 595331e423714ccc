import inspect
import sys

import pytest
from mmengine.config import Config

from saga_mm import tasks
from saga_mm.errors import SagaError
from saga_mm.loading.config import load_config
from saga_mm.onnx.file import kind_of
from saga_mm.tasks import TASKS, options_of, start_exported, start_verb, task_of
from saga_mm.tasks.data import TaskData
from saga_mm.tasks.evaluation import Evaluation
from saga_mm.tasks.export import Export
from saga_mm.tasks.prediction import Prediction
from saga_mm.tasks.task import Implementation, Option, Task

KINDS = {'train': Evaluation, 'test': Evaluation, 'predict': Prediction, 'check-data': TaskData, 'export': Export}


class Echo(Prediction):
    """A prediction that does nothing."""

    def __init__(self, loud: bool = False) -> None:
        self.loud = loud


FURTHER = Task(
    name='counting',
    scope='saga_mm',
    models=('Counter',),
    data=Implementation('saga_mm.tasks.detection.data:DetectionData', {'val_img': Option('folder of the images')}),
    verbs={'predict': Implementation(f'{__name__}:Echo', {'loud': Option('say it twice', {'action': 'store_true'})})},
)


@pytest.mark.parametrize('task', TASKS, ids=lambda task: task.scope)
def test_verbs_are_of_their_kind_and_take_their_options(task):
    assert issubclass(task.data.load(), TaskData)
    for verb, implementation in task.verbs.items():
        code = implementation.load()
        assert verb not in KINDS or issubclass(code, KINDS[verb])
        assert set(implementation.options) <= set(inspect.signature(code).parameters)


def test_a_further_task_is_one_entry(monkeypatch):
    monkeypatch.setattr(tasks, 'TASKS', (*TASKS, FURTHER))
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _here())
    cfg = Config(dict(default_scope='saga_mm', model=dict(type='saga_mm.Counter')))
    assert task_of(cfg) is FURTHER
    assert start_verb(cfg, 'predict', {'loud': True, 'score_thr': None, 'own_size': False}).loud
    assert options_of('predict')['loud'][1] == ['counting']
    assert options_of('data')['val_img'][1] == ['detection', 'segmentation', 'classification', 'counting']
    with pytest.raises(SagaError, match=r'^config None: is for counting, which has no train; it has predict$'):
        start_verb(cfg, 'train', {})
    # the other task of the scope is what it was
    assert task_of(load_config('saga_lowlight.py')).name == 'low-light enhancement'


def _here():
    module = type(sys)(__name__)
    module.Echo = Echo
    return module


def test_what_a_task_does_not_have_is_refused_by_name(onnx_models, tmp_path):
    cfg = load_config('saga_lowlight.py')
    with pytest.raises(
        SagaError, match=r'saga_lowlight\.py: is for low-light enhancement, which has no predict; it has'
    ):
        start_verb(cfg, 'predict', {})
    with pytest.raises(
        SagaError, match=r'^--score-thr: for detection, and config .*saga_lowlight\.py is for low-light'
    ):
        start_verb(cfg, 'test', {'score_thr': 0.0})
    segmentor = onnx_models.save(onnx_models.segmentor(), tmp_path / 'a.onnx')
    with pytest.raises(
        SagaError, match=r'^--result: for another verb than predict-exported, and .*a\.onnx is for segmentation'
    ):
        start_exported(segmentor, kind_of(segmentor), {'result': 'labels'})
    enhancer = onnx_models.save(onnx_models.enhancer(), tmp_path / 'b.onnx')
    with pytest.raises(SagaError, match=r'b\.onnx: is of kind enhancer; predict runs exported .* segmentor and class'):
        start_exported(enhancer, kind_of(enhancer), {})
