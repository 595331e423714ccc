"""Train a model: python tools/train.py configs/saga_maskrcnn.py"""

import argparse

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    from saga_mm.cli.options import add_data_options, add_run_options

    parser = argparse.ArgumentParser(description='Train a model for detection, segmentation or low-light enhancement.')
    parser.add_argument('config', help='a config file, or its name inside configs/')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from a checkpoint, or from the newest one in a folder (default: the work folder)',
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision (needs a GPU)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='fit the learning rate to the number of images a step'
    )
    add_run_options(parser)
    add_data_options(parser, training=True)
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.cli.options import own_data_of
    from saga_mm.cli.train import TrainOptions, train

    train(
        TrainOptions(
            config=args.config,
            cfg_options=args.cfg_options,
            work_dir=args.work_dir,
            launcher=args.launcher,
            own_data=own_data_of(args),
            resume=args.resume,
            amp=args.amp,
            auto_scale_lr=args.auto_scale_lr,
        )
    )


if __name__ == '__main__':
    run_tool(main, interrupted='Stopped. The same command with --resume continues from the newest checkpoint.')
