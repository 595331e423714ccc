"""Evaluate a checkpoint: python tools/test.py configs/saga_maskrcnn.py work_dirs/saga_maskrcnn/epoch_8.pth"""

import argparse

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    from saga_mm.cli.options import add_data_options, add_engine_options, add_run_options

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
    parser.add_argument(
        '--mode',
        nargs='+',
        choices=('whole', 'slide', 'strips'),
        help='for segmentation: compare ways to segment large images by mIoU, time and memory',
    )
    parser.add_argument(
        '--sizes',
        type=lambda text: [int(side) for side in text.split(',')],
        default=(),
        metavar='A,B,...',
        help='with --mode: longest sides to resize images to (default: as they are)',
    )
    parser.add_argument(
        '--max-memory',
        metavar='SIZE',
        help='for segmentation: what the program may take, such as 4GB (default: half of what is free); with --mode, '
        'what it may take in strips',
    )
    parser.add_argument('--score-thr', type=float, help='for detection: lowest score that is drawn (default: 0.3)')
    add_engine_options(parser)
    add_run_options(parser)
    add_data_options(parser, training=False)
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.cli.options import own_data_of
    from saga_mm.errors import SagaError

    if args.sizes and not args.mode:
        raise SagaError('--sizes: goes with --mode, which compares ways to segment large images')
    shared = dict(
        config=args.config,
        cfg_options=args.cfg_options,
        work_dir=args.work_dir,
        launcher=args.launcher,
        own_data=own_data_of(args),
        checkpoint=args.checkpoint,
        show_dir=args.show_dir,
        out=args.out,
        score_thr=args.score_thr,
        max_memory=args.max_memory,
        engine=args.engine,
        precision=args.precision,
        explain=args.explain,
    )
    if args.mode:
        from saga_mm.cli.test_modes import ModeOptions, compare

        compare(ModeOptions(**shared, modes=args.mode, sizes=args.sizes))
    else:
        from saga_mm.cli.test import EvalOptions, evaluate

        evaluate(EvalOptions(**shared))


if __name__ == '__main__':
    run_tool(main)
