"""Print, as Markdown, the parity, the parameters and the half-precision behaviour of all models.

usage: python tools/report_models.py --out tables.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from saga_mm.cli.run import run_tool

TABLES = ('parity', 'parameters', 'half')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Print parity with published models, parameters beside theirs, and half precision, as Markdown.'
    )
    parser.add_argument(
        '--golden', type=Path, default=Path('tests/golden'), metavar='DIR', help='golden cases (default: tests/golden)'
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(200, 336),
        metavar=('H', 'W'),
        help='tokens of the half-precision table (default: 200 336)',
    )
    parser.add_argument('--only', nargs='+', choices=TABLES, default=(), help='some of the tables (default: all)')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the tables here as well')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from benchmarks.model_tables import report_models

    report_models(args.golden, tuple(args.size), args.only, args.out)


if __name__ == '__main__':
    run_tool(main)
