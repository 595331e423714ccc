"""Building the stack's runner without its noise, and with its mistakes in one line."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

import saga_mm.engine.hooks  # noqa: F401  registers what configs of earlier runs name
from saga_mm.engine.continuation import ContinuationHook, MissedValidationHook, place_training_data
from saga_mm.engine.one_value import OneValueHook
from saga_mm.engine.progress_hook import ProgressHook
from saga_mm.engines import use_engine
from saga_mm.files import write_file
from saga_mm.loading.build import config_mistakes
from saga_mm.loading.quiet import filter_screen
from saga_mm.rows import MemoryBudget
from saga_mm.tasks.task import Task, task_of


def build_runner(
    cfg: Config,
    max_memory: int | None = None,
    engine: str = 'torch',
    precision: str = 'f32',
    start: tuple[int, int] | None = None,
) -> Any:
    """The runner that a config asks for: mmengine's own, or one named by ``runner_type``, such as ``FlexibleRunner``.

    Args:
        cfg: The config.
        max_memory: Bytes that the program may take while it predicts; None for half of what is free.
        engine: As of :func:`saga_mm.engines.use_engine`.
        precision: As of :func:`saga_mm.engines.use_engine`.
        start: Epochs and iterations that a training which is resumed has done.

    Raises:
        SagaError: A part of the config cannot be built.
    """
    _forget_visualizer((cfg.get('visualizer') or {}).get('name'))
    _filter_loggers()
    # its logger dumps environment, config and hooks on the screen before a filter can be set; the file has them
    with config_mistakes(cfg), redirect_stdout(io.StringIO()), _whole_configs():
        runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    _filter_loggers()
    runner.register_hook(ProgressHook())
    runner.register_hook(OneValueHook())
    runner.register_hook(ContinuationHook())
    runner.register_hook(MissedValidationHook())
    place_training_data(runner, start)
    runner.register_hook(LightPredictionHook(task_of(cfg), max_memory, (engine, precision)))
    return runner


class LightPredictionHook(Hook):
    """Has the model of a run predict in less memory, as the task knows how.

    Args:
        task: What the model is for.
        max_memory: As of :func:`build_runner`.
        engine: Engine and precision, as of :func:`saga_mm.engines.use_engine`.
    """

    def __init__(self, task: Task, max_memory: int | None = None, engine: tuple[str, str] = ('torch', 'f32')) -> None:
        self.task, self.max_memory, self.engine = task, max_memory, engine

    def before_run(self, runner: Any) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        use_engine(model, *self.engine)
        self.task.lighten(model, MemoryBudget.of(model, self.max_memory))


@contextmanager
def _whole_configs() -> Iterator[None]:
    """Have the copy of the config that mmengine writes into the work folder appear complete or not at all."""
    dump = Config.dump

    def dump_whole(cfg: Config, file: str | os.PathLike[str] | None = None) -> str | None:
        text = dump(cfg)
        return text if file is None else write_file(file, text)

    Config.dump = dump_whole
    try:
        yield
    finally:
        Config.dump = dump


def _filter_loggers() -> None:
    for logger in MMLogger._instance_dict.values():
        filter_screen(logger)


def _forget_visualizer(name: str | None) -> None:
    """mmengine keeps visualizers by name, so a second run of a process would write into the folder of the first."""
    for cls in (Visualizer, *Visualizer.__subclasses__()):
        cls._instance_dict.pop(name, None)


def log_file(runner: Any) -> str | None:
    """Where a runner's log is written."""
    files = [handler.baseFilename for handler in runner.logger.handlers if isinstance(handler, logging.FileHandler)]
    return files[0] if files else None
