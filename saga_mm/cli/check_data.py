"""``saga-mm check-data``: check and draw the data of a config."""

from __future__ import annotations

import argparse

from saga_mm.cli.options import add_data_options, add_out, add_work_dir, own_data_of
from saga_mm.cli.parser import Parser
from saga_mm.cli.required import require_model


def parser() -> Parser:
    """The options."""
    made = Parser(
        'saga-mm check-data',
        description='Summarise the data sets of a config and list their problems. The exit status is 1 if there '
        'are any.',
    )
    made.add_argument('config', help='a config file, or its name inside configs/')
    made.add_argument('--split', choices=('train', 'val', 'test'), help='the part to check (default: train and val)')
    add_out(made, 'DIR', 'where pictures go (default: dataset/ in the work folder)')
    made.add_argument(
        '--max-pictures',
        type=int,
        default=24,
        metavar='N',
        help='pictures to draw with their labels (default: %(default)s)',
    )
    add_work_dir(made)
    add_data_options(made, training=True)
    return made


def main(args: argparse.Namespace) -> int:
    """Check the data; the status is 1 if there are problems."""
    require_model(args.config)

    from saga_mm.runs.check_data import CheckOptions, check_data

    options = CheckOptions(
        config=args.config,
        cfg_options=args.cfg_options,
        work_dir=args.work_dir,
        own_data=own_data_of(args),
        split=args.split,
        out=args.out,
        max_pictures=args.max_pictures,
    )
    return 0 if check_data(options) else 1
