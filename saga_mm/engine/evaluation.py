"""An evaluation from its command line to a table of figures."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saga_mm.analysis.metrics import metric_table
from saga_mm.engine.build import config_mistakes
from saga_mm.engine.checkpoint import load_state
from saga_mm.engine.own_data import leaf_datasets
from saga_mm.engine.prepare import RunOptions, check, read
from saga_mm.engine.progress import is_speaker, say
from saga_mm.engine.resume import find_best
from saga_mm.engine.runner import build_runner
from saga_mm.engine.weights import check_match
from saga_mm.errors import SagaError


@dataclass
class EvalOptions(RunOptions):
    """The command line of an evaluation.

    Attributes:
        checkpoint: The weights, or a work folder, of which the best are taken.
        show_dir: Where to draw predictions beside the ground truth.
        out: ``FILE.json`` for the figures, with results in COCO format beside it, or ``FILE.pkl`` for raw predictions.
        score_thr: Predictions below are not drawn.
    """

    checkpoint: str = ''
    show_dir: str | None = None
    out: str | None = None
    score_thr: float = 0.3


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
    cfg = read(options, training=False)
    images = _image_root(cfg)
    if options.show_dir:
        _check_show_dir(options.show_dir, images)
    model = check(cfg, training=False, launcher=options.launcher)
    check_match(model, load_state(checkpoint), checkpoint)
    del model
    cfg.load_from, cfg.resume = str(checkpoint), False
    if options.out:
        _set_out(cfg, Path(options.out))
    runner = build_runner(cfg)
    if options.show_dir:
        from saga_mm.engine.drawing import DrawHook

        runner.register_hook(DrawHook(options.show_dir, images, options.score_thr))
    say(f'testing {checkpoint} with {cfg.filename}')
    with config_mistakes(cfg):
        metrics = runner.test()
    if is_speaker():
        _report(metrics, options, checkpoint)
    return metrics


def _report(metrics: dict[str, Any], options: EvalOptions, checkpoint: Path) -> None:
    print(metric_table(metrics))
    if options.show_dir:
        say(f'pictures are in {options.show_dir}')
    if options.out:
        out = Path(options.out)
        written = [out.name]
        if out.suffix == '.json':
            results = sorted(path.name for path in out.parent.glob(f'{out.stem}.*.json'))
            run = {'config': options.config, 'checkpoint': str(checkpoint)}
            summary = {**run, 'metrics': metrics, 'results': results}
            out.write_text(json.dumps(summary, indent=2, default=float) + '\n', encoding='utf-8')
            written += results
        say(f'results are in {out.parent}: {", ".join(written)}')


def _check_out(out: str) -> None:
    path = Path(out)
    if path.suffix not in ('.json', '.pkl'):
        raise SagaError(f'--out {out}: name a .json file for figures and results, or a .pkl file for raw predictions')
    if path.is_dir():
        raise SagaError(f'--out {out}: is a folder; name a file')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SagaError(f'--out {out}: its folder cannot be made ({error.strerror})') from error
    if not os.access(path.parent, os.W_OK):
        raise SagaError(f'--out {out}: cannot be written there')


def _set_out(cfg: Config, out: Path) -> None:
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
    if out.suffix == '.pkl':
        dump = 'DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
        cfg.test_evaluator = [*evaluators, {'type': dump, 'out_file_path': str(out)}]
        return
    for evaluator in evaluators:
        if evaluator.get('type') == 'CocoMetric':
            evaluator['outfile_prefix'] = str(out.with_suffix(''))


def _image_root(cfg: Config) -> Path:
    leaf = next(leaf_datasets(cfg.test_dataloader.dataset))
    prefix = (leaf.get('data_prefix') or {}).get('img') or (leaf.get('data_prefix') or {}).get('img_path') or ''
    return Path(leaf.get('data_root') or '.') / prefix


def _check_show_dir(show_dir: str, images: Path) -> None:
    out = Path(show_dir)
    if out.exists() and not out.is_dir():
        raise SagaError(f'--show-dir {show_dir}: is a file, and a folder is needed')
    if out.resolve() == images.resolve():
        raise SagaError(f'--show-dir {show_dir}: is the folder of the images themselves; choose another')
