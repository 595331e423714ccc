"""A training of a single number: with mmengine's own runners, in a second, without any of the detection libraries.

As a program: ``toy_training.py WORK_DIR,RUNNER,KILL_AT ...`` runs one training after the other, each in a process that
dies in the middle of writing the KILL_AT-th file.
"""

import itertools
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

import pytest
import torch
import torch._dynamo
from mmengine.fileio import LocalBackend
from mmengine.model import BaseModel
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch.utils.data import DataLoader, TensorDataset

from saga_mm.engine.hooks import AtomicCheckpointHook
from saga_mm.loading.checkpoint import make_files_safe

COUNTER = itertools.count()


class Number(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor, mode: str = 'tensor') -> dict | list:
        return {'loss': (self.weight * inputs - 3).square().mean()} if mode == 'loss' else [self.weight]

    def train_step(self, data: list, optim_wrapper) -> dict:
        losses = self(data[0], mode='loss')
        optim_wrapper.update_params(losses['loss'])
        return losses

    def val_step(self, data: list) -> list:
        return self(data[0])


class Growing:
    """An evaluator whose score is better each time."""

    def __init__(self) -> None:
        self.score = 0

    def process(self, **_: object) -> None:
        pass

    def evaluate(self, size: int) -> dict:
        self.score += 1
        return {'acc': float(self.score)}


def toy_runner(
    work_dir: str,
    runner_type: str = 'Runner',
    epochs: int = 4,
    hook: type = AtomicCheckpointHook,
    keep: int = 1,
    published_keys: list[str] | None = None,
    **more,
):
    """A runner of 4 epochs of 2 iterations that keeps one checkpoint and the best one."""
    from mmengine.evaluator import Evaluator

    class ToyEvaluator(Growing, Evaluator):
        pass

    loader = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2)
    checkpoint = hook(interval=1, max_keep_ckpts=keep, save_best='acc', rule='greater', published_keys=published_keys)
    options = dict(
        model=Number(),
        work_dir=work_dir,
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=ToyEvaluator(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.5)),
        param_scheduler=dict(type='ExponentialLR', gamma=0.9),
        default_hooks=dict(checkpoint=checkpoint, logger=None),
        # runners of one name and second would share a logger
        experiment_name=f'toy_{next(COUNTER)}',
    )
    options.update(more)
    if runner_type == 'Runner':
        return Runner(**options)
    return RUNNERS.get(runner_type)(**options)


def die_while_writing(number: int) -> None:
    """Make the ``number``-th write of a checkpoint stop half way, as a kill does."""
    written = 0

    def put(self: LocalBackend, obj: bytes, filepath: str) -> None:
        nonlocal written
        written += 1
        with open(filepath, 'wb') as file:
            file.write(obj[: len(obj) // 2] if written == number else obj)
        if written == number:
            os.kill(os.getpid(), signal.SIGKILL)

    LocalBackend.put = put


if __name__ == '__main__':
    make_files_safe()
    quick = runpy.run_path(str(Path(__file__).parents[1] / 'quick_runners.py'))
    quick['make_runners_quick'](pytest.MonkeyPatch())
    # forked from one that has imported everything
    for case in sys.argv[1:]:
        folder, runner, number = case.split(',')
        if not (child := os.fork()):
            try:
                die_while_writing(int(number))
                toy_runner(folder, runner).train()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, case
