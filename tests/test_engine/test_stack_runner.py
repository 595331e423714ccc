import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from saga_mm.engine.stack_runner import PrepareModelHook

toy_runner = runpy.run_path(str(Path(__file__).with_name('toy_training.py')))['toy_runner']


@pytest.mark.parametrize('kind', ['Runner', 'FlexibleRunner'])
def test_the_model_of_a_run_is_given_to_the_task(kind, tmp_path):
    models, runner = [], toy_runner(str(tmp_path), kind, epochs=1)
    runner.register_hook(PrepareModelHook(models.append))
    runner.train()
    assert models == [runner.model]


def test_it_is_taken_out_of_its_wrapper():
    @MODEL_WRAPPERS.register_module(force=True)
    class Wrapper(nn.Module):
        def __init__(self, module) -> None:
            super().__init__()
            self.module = module

    models, model = [], nn.Linear(1, 1)
    PrepareModelHook(models.append).before_run(SimpleNamespace(model=Wrapper(model)))
    assert models == [model]
