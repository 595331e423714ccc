"""Build mmengine's runner with little output, and report mistakes in the config in one line."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn

import saga_mm.engine.hooks  # noqa: F401  registers what configs of earlier runs name
from saga_mm.engine.continuation import ContinuationHook, MissedValidationHook, place_training_data
from saga_mm.engine.one_value import OneValueHook
from saga_mm.engine.progress_hook import ProgressHook
from saga_mm.engine.stopping import StopHook
from saga_mm.engine.update_hook import UpdateHook
from saga_mm.engines import use_engine
from saga_mm.files import write_file
from saga_mm.loading.build import config_mistakes
from saga_mm.loading.quiet import filter_screen


def build_runner(
    cfg: Config,
    prepare_model: Callable[[nn.Module], None],
    place: tuple[str, str] = ('torch', 'f32'),
    start: Mapping[str, Any] | None = None,
    model: Callable[[], nn.Module] | None = None,
    kind: type[Runner] = Runner,
) -> Any:
    """The runner that a config asks for: mmengine's own, or one named by ``runner_type``, such as ``FlexibleRunner``.

    Args:
        cfg: The config.
        prepare_model: Called with the model before the run; see :class:`~saga_mm.tasks.evaluation.Evaluation`.
        place: Engine and precision, as of :func:`saga_mm.engines.use_engine`.
        start: What the checkpoint of a training which is resumed says of it (``meta``).
        model: Gives the model when the runner would build it, where it is built already; runners other than mmengine's
            own build it themselves.
        kind: A runner derived from mmengine's own, to take its place.

    Raises:
        SagaError: A part of the config cannot be built.
    """
    _forget_visualizer((cfg.get('visualizer') or {}).get('name'))
    _filter_loggers()
    if model is not None:
        kind = type('Runner', (kind,), {'build_model': lambda self, _: model()})
    # its logger dumps environment, config and hooks on the screen before a filter can be set; the file has them
    with config_mistakes(cfg), redirect_stdout(io.StringIO()), _whole_configs():
        runner = kind.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    _filter_loggers()
    runner.register_hook(ProgressHook())
    runner.register_hook(OneValueHook())
    runner.register_hook(ContinuationHook())
    runner.register_hook(MissedValidationHook())
    runner.register_hook(UpdateHook())
    runner.register_hook(StopHook())
    place_training_data(runner, start)
    runner.register_hook(PrepareModelHook(prepare_model, place))
    return runner


class PrepareModelHook(Hook):
    """Prepares the model of a run: sets its engine and how its task predicts.

    Args:
        prepare_model: As of :func:`build_runner`.
        place: As of :func:`build_runner`.
    """

    def __init__(self, prepare_model: Callable[[nn.Module], None], place: tuple[str, str] = ('torch', 'f32')) -> None:
        self.prepare_model, self.place = prepare_model, place

    def before_run(self, runner: Any) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        use_engine(model, *self.place)
        self.prepare_model(model)


@contextmanager
def _whole_configs() -> Iterator[None]:
    """Make mmengine write its copy of the config into the work folder completely or not at all."""
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
    """Remove the visualizer of an earlier run, which mmengine keeps by name: it writes into the earlier folder."""
    for cls in (Visualizer, *Visualizer.__subclasses__()):
        cls._instance_dict.pop(name, None)


def log_file(runner: Any) -> str | None:
    """Where a runner's log is written."""
    files = [handler.baseFilename for handler in runner.logger.handlers if isinstance(handler, logging.FileHandler)]
    return files[0] if files else None
