"""Print and draw how much of their rank token mixers use, layer by layer.

usage: python tools/analyze_rank.py CONFIG|NAME [CHECKPOINT] IMAGES... --mixers saga,saga:gates=none,linear,focused
"""

from __future__ import annotations

import argparse
from pathlib import Path

from saga_mm.analysis.rank import SHARE
from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Effective rank of the KV state and of the output of each layer.',
        epilog='Softmax attention keeps no KV state: for it, only the rank of the output is given.',
    )
    parser.add_argument('model', help='config file, or name of a backbone such as saga_pvt_tiny')
    parser.add_argument(
        'files', nargs='+', metavar='FILE', help='weights (.pth) if there are some, then pictures or folders of them'
    )
    parser.add_argument(
        '--mixers',
        metavar='A,B,...',
        help="mixers to compare in this backbone, such as saga,saga:gates=none,linear,softmax (default: the model's)",
    )
    parser.add_argument(
        '--size', type=int, nargs=2, default=(224, 224), metavar=('H', 'W'), help='image size (default: 224 224)'
    )
    parser.add_argument(
        '--share', type=float, default=SHARE, help='of the energy, the sum of squared singular values (default: 0.9)'
    )
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='for ranks.png and .json (default: work_dirs/rank/MODEL)'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.analysis.rank_report import report_ranks

    report_ranks(args.model, args.files, args.mixers, tuple(args.size), args.share, args.out)


if __name__ == '__main__':
    run_tool(main)
