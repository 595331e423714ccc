"""Measure time and memory of low-light enhancers against the leader, in one run.

usage: python tools/benchmark_low_light.py [--sizes 400x608,1280x1280] [--models retinexformer,saga_unet,saga_unet_tiny]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time, resident memory and traced cost of low-light enhancers on the CPU, in fresh processes.',
        epilog='Models take turns, so other work on the machine falls on all of them; OMP_NUM_THREADS sets threads.',
    )
    parser.add_argument(
        '--sizes', default='400x608,1280x1280', metavar='HxW,...', help='in pixels (default: 400x608,1280x1280)'
    )
    parser.add_argument(
        '--models',
        default='retinexformer,saga_unet,saga_unet_tiny',
        metavar='A,B,...',
        help='ratios are to the first; saga_unet:linear is saga_unet with another attention '
        '(default: retinexformer,saga_unet,saga_unet_tiny)',
    )
    parser.add_argument('--repeats', type=int, default=3, metavar='N', help='runs of each (default: 3)')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/low_light_cost'),
        metavar='DIR',
        help='for cost.json, .md and .png (default: work_dirs/low_light_cost)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from benchmarks.low_light_cost_report import report_costs

    report_costs(args.sizes, args.models, args.repeats, args.out)


if __name__ == '__main__':
    run_tool(main)
