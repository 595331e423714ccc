"""``saga-mm report``: summarise a training."""

from __future__ import annotations

import argparse
from pathlib import Path

from saga_mm.cli.parser import Parser
from saga_mm.errors import SagaError

SHOWN = 12


def parser() -> Parser:
    """The options."""
    made = Parser('saga-mm report', description='Print the metrics of a training and draw its curves.')
    made.add_argument('work_dir', type=Path, help='the work folder of the training')
    made.add_argument(
        '--pictures', type=Path, metavar='DIR', help='pictures that saga-mm test --show-dir or predict drew'
    )
    made.add_argument('--max-pictures', type=int, metavar='N', help=f'how many of them to show (default: {SHOWN})')
    made.add_old('--count', '--max-pictures')
    return made


def main(args: argparse.Namespace) -> None:
    """Print and draw."""
    from saga_mm.display.run_report import (
        contact_sheet,
        curves,
        divergence,
        find_drawn,
        metric_rows,
        plot_curves,
        read_scalars,
    )
    from saga_mm.display.table import format_table

    if args.max_pictures is not None and args.pictures is None:
        raise SagaError('--max-pictures: goes with --pictures, of which it says how many to show')
    series = curves(read_scalars(args.work_dir))
    print(format_table(('metric', 'last', 'best', 'at iteration'), metric_rows(series)))
    if (diverged := divergence(series)) is not None:
        print(f'\ndiverged     {diverged}')
    print(f'\ncurves       {plot_curves(series, args.work_dir / "curves.png")}')
    if args.pictures:
        drawn = find_drawn(args.pictures)[: SHOWN if args.max_pictures is None else args.max_pictures]
        print(f'predictions  {contact_sheet(drawn, args.work_dir / "predictions.jpg")}, all in {args.pictures}')
