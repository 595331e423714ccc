"""What a training run reached: python tools/report.py work_dirs/saga_maskrcnn"""

import argparse
from pathlib import Path

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Print what a training run reached and draw its curves.')
    parser.add_argument('work_dir', type=Path, help='where tools/train.py wrote')
    parser.add_argument(
        '--pictures', type=Path, metavar='DIR', help='pictures that tools/test.py --show-dir or tools/predict.py drew'
    )
    parser.add_argument('--count', type=int, default=12, help='how many of them to show (default: %(default)s)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.display.run_report import contact_sheet, curves, find_drawn, metric_rows, plot_curves, read_scalars
    from saga_mm.display.table import format_table

    series = curves(read_scalars(args.work_dir))
    print(format_table(('metric', 'last', 'best', 'at iteration'), metric_rows(series)))
    print(f'\ncurves       {plot_curves(series, args.work_dir / "curves.png")}')
    if args.pictures:
        sheet = contact_sheet(find_drawn(args.pictures)[: args.count], args.work_dir / 'predictions.jpg')
        print(f'predictions  {sheet}, all in {args.pictures}')


if __name__ == '__main__':
    run_tool(main)
