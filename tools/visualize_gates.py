"""Draw where the gates of each stage open over an image.

usage: python tools/visualize_gates.py CONFIG|NAME [CHECKPOINT] IMAGE
"""

from __future__ import annotations

import argparse
from pathlib import Path

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw where the gates of each stage open over an image.')
    parser.add_argument('model', help='config file, or name of a backbone such as saga_pvt_tiny')
    parser.add_argument('checkpoint', nargs='?', help='the weights, a .pth file; random ones without')
    parser.add_argument('image', help='the picture')
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'), help='run at this size (default: at most 640 pixels a side)'
    )
    parser.add_argument('--out', type=Path, metavar='DIR', help='for IMAGE_gates.png (default: work_dirs/gates/MODEL)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from saga_mm.analysis.gates import report_gates

    report_gates(args.model, args.checkpoint, args.image, args.size and tuple(args.size), args.out)


if __name__ == '__main__':
    run_tool(main)
