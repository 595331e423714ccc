"""Evaluate a checkpoint as the command line asks."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

from saga_mm.display.console import is_speaker, say
from saga_mm.display.drawing import DrawHook
from saga_mm.display.metrics import metric_table
from saga_mm.engine.loader_workers import lost_workers_named
from saga_mm.engine.stack_runner import build_runner
from saga_mm.engines import explain
from saga_mm.errors import SagaError
from saga_mm.files import full_disk_named, user_path, write_file
from saga_mm.loading.build import config_mistakes
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.loading.trained import Trained
from saga_mm.loading.work_dir import find_best
from saga_mm.operators import in_use
from saga_mm.runs.prepare import OF_TRAINING, OF_VALIDATION, RunOptions, check, prepare_config, tell_unused
from saga_mm.tasks import MODES, TASKS, start_verb, task_of
from saga_mm.tasks.predictor import Place
from saga_mm.tasks.trained_classes import fit_classes

if TYPE_CHECKING:
    from saga_mm.tasks.segmentation.modes import Comparison


@dataclass
class EvalOptions(RunOptions):
    """The command line of an evaluation.

    Attributes:
        checkpoint: The weights, or a work folder, of which the best are taken.
        show_dir: Where to draw predictions beside the ground truth.
        out: ``FILE.json`` for the figures, with results in COCO format or class maps beside it; for detection also
            ``FILE.pkl`` for raw predictions.
        task_options: What only some tasks have, by name, such as ``score_thr``.
        engine: As of :func:`saga_mm.engines.use_engine`.
        precision: As of :func:`saga_mm.engines.use_engine`.
        explain: Print at the end which engine ran each part, and why.
    """

    checkpoint: str = ''
    show_dir: str | None = None
    out: str | None = None
    task_options: dict[str, Any] = field(default_factory=dict)
    engine: str = 'auto'
    precision: str = 'f32'
    explain: bool = False


def evaluate(options: EvalOptions) -> dict[str, Any]:
    """Check everything, evaluate, and print the figures.

    Returns:
        The metrics by name.

    Raises:
        SagaError: Something was wrong before the evaluation started.
    """
    checkpoint = find_best(options.checkpoint)
    if options.out:
        _check_out(options.out)
    cfg = prepare_config(options, training=False)
    tell_unused(options.cfg_options, (*OF_TRAINING, *OF_VALIDATION))
    evaluation = start_verb(cfg, 'test', options.task_options)
    out = user_path(options.out) if options.out else None
    evaluation.set_up(cfg, out)
    images = _image_root(cfg)
    if options.show_dir:
        _check_show_dir(options.show_dir, images)
    trained = Trained(cfg, checkpoint)
    # before the model is built: data that name fewer classes get the heads of the checkpoint
    fit_classes(cfg, trained.meta, checkpoint)
    model = trained.build()
    check(cfg, model, training=False, launcher=options.launcher)
    trained.keep()
    cfg.load_from, cfg.resume = str(checkpoint), False
    runner = build_runner(cfg, evaluation.prepare_model, (options.engine, options.precision), model=lambda: model)
    if options.show_dir:
        runner.register_hook(DrawHook(str(user_path(options.show_dir)), images, evaluation.draw, evaluation.image_of))
    say(f'testing {checkpoint} with {cfg.filename}')
    if cfg.get('default_scope') == 'mmdet':
        say(in_use())
    with config_mistakes(cfg), full_disk_named(cfg.work_dir), lost_workers_named():
        metrics = runner.test()
    if options.explain:
        model = getattr(runner.model, 'module', runner.model)
        say(str(explain(model)))
    if is_speaker():
        print(metric_table(metrics))
        if options.show_dir:
            say(f'pictures are in {options.show_dir}')
        if out:
            written = [out.name, *_write_figures(metrics, options, checkpoint, evaluation.results(out))]
            say(f'results are in {", ".join(str(out.parent / name) for name in written)}')
    return metrics


def compare(options: EvalOptions) -> Comparison:
    """Compare ways to segment the test images: print a table, and write it with a plot.

    Raises:
        SagaError: Something was wrong before the first image, or the memory is too small for strips.
    """
    if options.show_dir is not None:
        raise SagaError('--show-dir: does not go with --mode, which measures and draws nothing; test without --mode')
    if options.launcher != 'none':
        raise SagaError(f'--launcher {options.launcher}: does not go with --mode, which runs in one process')
    if options.out:
        _check_out(options.out, ('.json',))
    checkpoint = find_best(options.checkpoint)
    cfg = prepare_config(options, training=False)
    tell_unused(options.cfg_options, (*OF_TRAINING, *OF_VALIDATION))
    if MODES not in task_of(cfg).verbs:
        who = ' and '.join(task.name for task in TASKS if MODES in task.verbs)
        raise SagaError(f'--mode: for {who}, and config {cfg.filename} is for {task_of(cfg).name}')
    modes = start_verb(cfg, MODES, options.task_options)
    trained = Trained(cfg, checkpoint)
    fit_classes(cfg, trained.meta, checkpoint)
    check(cfg, None, training=False, launcher=options.launcher)
    found = modes.run(trained, Place(None, options.engine, options.precision))
    print(found.table())
    out = user_path(options.out or Path(cfg.work_dir, 'modes.json'))
    plot = found.write(out, {'config': options.config, 'checkpoint': options.checkpoint})
    say(f'figures are in {out}, the plot is {plot}')
    if options.explain:
        say(str(explain(found.segmenter.model, budget=found.segmenter.budget)))
    return found


def _write_figures(metrics: dict[str, Any], options: EvalOptions, checkpoint: Path, results: list[str]) -> list[str]:
    """Write the figures if a JSON file is asked for, and return what else there is."""
    out = user_path(options.out)
    if out.suffix != '.json':
        return []
    # JSON has neither NaN nor the infinity that the PSNR of equal images is
    figures = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in metrics.items()
    }
    summary = {'config': options.config, 'checkpoint': str(checkpoint), 'metrics': figures, 'results': results}
    write_file(out, json.dumps(summary, indent=2, default=float) + '\n')
    return results


def _check_out(out: str, suffixes: tuple[str, ...] = ('.json', '.pkl')) -> None:
    path = user_path(out)
    if path.suffix not in suffixes:
        kinds = {'.json': 'a .json file for figures and results', '.pkl': 'a .pkl file for raw predictions'}
        raise SagaError(f'--out {out}: name {", or ".join(kinds[suffix] for suffix in suffixes)}')
    if path.is_dir():
        raise SagaError(f'--out {out}: is a folder; name a file')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SagaError(f'--out {out}: its folder cannot be made ({error.strerror})') from error
    if not os.access(path.parent, os.W_OK):
        raise SagaError(f'--out {out}: cannot be written there')


def _image_root(cfg: Config) -> Path:
    leaf = next(leaf_datasets(cfg.test_dataloader.dataset))
    prefix = (leaf.get('data_prefix') or {}).get('img') or (leaf.get('data_prefix') or {}).get('img_path')
    return Path(leaf.get('data_root') or '.') / (prefix or leaf.get('low') or leaf.get('high') or '')


def _check_show_dir(show_dir: str, images: Path) -> None:
    out = user_path(show_dir)
    if out.exists() and not out.is_dir():
        raise SagaError(f'--show-dir {show_dir}: is a file, and a folder is needed')
    if out.resolve() == images.resolve():
        raise SagaError(f'--show-dir {show_dir}: is the folder of the images themselves; choose another')
