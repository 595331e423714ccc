"""Evaluate a checkpoint: python tools/test.py configs/saga_maskrcnn.py work_dirs/saga_maskrcnn/epoch_8.pth"""

import argparse

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    from saga_mm.cli.options import add_data_options, add_engine_options, add_run_options, add_task_options

    parser = argparse.ArgumentParser(description='Evaluate a checkpoint.')
    parser.add_argument('config', help='a config file, or its name inside configs/')
    parser.add_argument('checkpoint', help='the weights: a .pth file, or a work folder for the best in it')
    parser.add_argument('--show-dir', metavar='DIR', help='draw predictions beside the ground truth into this folder')
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='.json: figures, and beside it results in COCO format, class maps, or figures of each enhanced picture; '
        '.pkl: raw predictions of a detector',
    )
    add_task_options(parser, 'test', 'modes')
    add_engine_options(parser)
    add_run_options(parser)
    add_data_options(parser, training=False)
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.cli.options import own_data_of, task_options
    from saga_mm.cli.test import EvalOptions, compare, evaluate
    from saga_mm.errors import SagaError

    if args.sizes and not args.mode:
        raise SagaError('--sizes: goes with --mode, which compares ways to segment large images')
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


if __name__ == '__main__':
    run_tool(main)
