import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from saga_mm.engine.runner import LightPredictionHook

toy_runner = runpy.run_path(str(Path(__file__).with_name('toy_training.py')))['toy_runner']


class Noting:
    """A task that notes which models it is given, and within which memory."""

    def __init__(self) -> None:
        self.models, self.allowed = [], []

    def lighten(self, model, budget) -> None:
        self.models.append(model)
        self.allowed.append(budget.allowed)


@pytest.mark.parametrize('kind', ['Runner', 'FlexibleRunner'])
def test_the_model_of_a_run_is_given_to_the_task(kind, tmp_path):
    task, runner = Noting(), toy_runner(str(tmp_path), kind, epochs=1)
    runner.register_hook(LightPredictionHook(task))
    runner.train()
    assert task.models == [runner.model]


def test_it_is_taken_out_of_its_wrapper():
    @MODEL_WRAPPERS.register_module(force=True)
    class Wrapper(nn.Module):
        def __init__(self, module) -> None:
            super().__init__()
            self.module = module

    task, model = Noting(), nn.Linear(1, 1)
    LightPredictionHook(task, 2**40).before_run(SimpleNamespace(model=Wrapper(model)))
    assert task.models == [model] and task.allowed == [2**40]
