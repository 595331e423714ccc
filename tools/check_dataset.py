"""Look at the data before a training: python tools/check_dataset.py configs/saga_upernet.py"""

import argparse
import sys

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    from saga_mm.cli.options import add_data_options, add_run_options

    parser = argparse.ArgumentParser(
        description='Say what is in the data of a config and what is wrong with it; status 1 if anything is.'
    )
    parser.add_argument('config', help='a config file, or its name inside configs/')
    parser.add_argument('--split', choices=('train', 'val', 'test'), help='one part (default: train and val)')
    parser.add_argument('--out', metavar='DIR', help='where pictures go (default: dataset/ in the work folder)')
    parser.add_argument(
        '--max-pictures',
        type=int,
        default=24,
        metavar='N',
        help='pictures to draw with what is marked on them (default: %(default)s)',
    )
    add_run_options(parser)
    add_data_options(parser, training=True)
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.cli.check_data import CheckOptions, check_data
    from saga_mm.cli.options import own_data_of

    fine = check_data(
        CheckOptions(
            config=args.config,
            cfg_options=args.cfg_options,
            work_dir=args.work_dir,
            own_data=own_data_of(args),
            split=args.split,
            out=args.out,
            max_pictures=args.max_pictures,
        )
    )
    if not fine:
        sys.exit(1)


if __name__ == '__main__':
    run_tool(main)
