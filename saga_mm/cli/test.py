"""``saga-mm test``: evaluate a checkpoint."""

from __future__ import annotations

import argparse

from saga_mm.cli.options import (
    add_data_options,
    add_engine_options,
    add_launcher,
    add_out,
    add_task_options,
    add_work_dir,
    own_data_of,
    task_options,
)
from saga_mm.cli.parser import Parser
from saga_mm.cli.required import require_run
from saga_mm.errors import SagaError


def parser() -> Parser:
    """The options."""
    made = Parser('saga-mm test', description='Evaluate a checkpoint.')
    made.add_argument('config', help='a config file, or its name inside configs/')
    made.add_argument('checkpoint', help='the weights: a .pth file, or a work folder for the best in it')
    made.add_argument('--show-dir', metavar='DIR', help='draw predictions beside the ground truth into this folder')
    add_out(
        made,
        'FILE',
        '.json: figures, and beside it results in COCO format, class maps, or figures of each picture; .pkl: raw '
        'predictions of a detector',
    )
    add_task_options(made, 'test', 'modes')
    add_engine_options(made)
    add_work_dir(made)
    add_launcher(made)
    add_data_options(made, training=False)
    return made


def main(args: argparse.Namespace) -> None:
    """Evaluate, or compare ways to do so."""
    if args.sizes and not args.mode:
        raise SagaError('--sizes: goes with --mode, which compares ways to segment large images')
    if args.score_thr is not None and not args.show_dir:
        raise SagaError(
            '--score-thr: is for the pictures of --show-dir, and the figures count all scores; name --show-dir too, or '
            'leave it out'
        )
    require_run(args.config, args.checkpoint)

    from saga_mm.runs.test import EvalOptions, compare, evaluate

    options = EvalOptions(
        config=args.config,
        cfg_options=args.cfg_options,
        work_dir=args.work_dir,
        launcher=args.launcher,
        own_data=own_data_of(args),
        checkpoint=args.checkpoint,
        show_dir=args.show_dir,
        out=args.out,
        task_options=task_options(args, 'test', 'modes'),
        engine=args.engine,
        precision=args.precision,
        explain=args.explain,
    )
    (compare if args.mode else evaluate)(options)
