"""What a training run reached: python tools/report.py work_dirs/saga_maskrcnn"""

import argparse
from pathlib import Path

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Print what a training run reached and draw its curves.')
    parser.add_argument('work_dir', type=Path, help='where tools/train.py wrote')
    parser.add_argument('--pictures', type=Path, metavar='DIR', help='predictions that tools/test.py --show-dir drew')
    parser.add_argument('--count', type=int, default=12, help='how many of them to show (default: %(default)s)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.display.run_report import contact_sheet, curves, metric_rows, plot_curves, read_scalars
    from saga_mm.display.table import format_table

    series = curves(read_scalars(args.work_dir))
    print(format_table(('metric', 'last', 'best', 'at iteration'), metric_rows(series)))
    print(f'\ncurves       {plot_curves(series, args.work_dir / "curves.png")}')
    if args.pictures:
        drawn = sorted(path for path in args.pictures.rglob('*') if path.suffix in ('.jpg', '.png'))
        sheet = contact_sheet(drawn[: args.count], args.work_dir / 'predictions.jpg')
        print(f'predictions  {sheet} (predictions beside the ground truth), all in {args.pictures}')


if __name__ == '__main__':
    run_tool(main)
