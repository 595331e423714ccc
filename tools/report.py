"""Print what a training run reached and draw its curves and predictions.

usage: python tools/report.py WORK_DIR
"""

import argparse
from pathlib import Path

from saga_mm.analysis.report import contact_sheet, curves, format_table, metric_rows, plot_curves, read_scalars
from saga_mm.engine.cli import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description='Print what a training run reached and draw its curves.')
    parser.add_argument('work_dir', type=Path, help='where tools/train.py wrote')
    parser.add_argument('--pictures', type=int, default=8, help='drawn predictions to put on one sheet')
    args = parser.parse_args()
    series = curves(read_scalars(args.work_dir))
    print(format_table(('metric', 'last', 'best', 'at iteration'), metric_rows(series)))
    print(f'\ncurves: {plot_curves(series, args.work_dir / "curves.png")}')
    drawn = sorted(args.work_dir.glob('**/vis_image/*'))[: args.pictures]
    if drawn:
        print(
            f'ground truth (left) beside predictions (right): {contact_sheet(drawn, args.work_dir / "predictions.png")}'
        )


if __name__ == '__main__':
    run_tool(main)
