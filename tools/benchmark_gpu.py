"""Check and time the Triton kernels on a CUDA GPU, and PVT with SAGA beside PVT with softmax attention, in one go.

usage: python tools/benchmark_gpu.py [--parts check,cores,nets] [--tokens 4096,...] [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from saga_mm.cli.run import run_tool
from saga_mm.errors import SagaError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Kernels against float64; their speed beside a copy and PyTorch; throughput and memory of PVT.',
        epilog='Takes some minutes, most of them compiling. Exit status 1: something is wrong, and nothing was timed.',
    )
    parser.add_argument(
        '--parts',
        default='check,cores,nets',
        metavar='A,B,...',
        help='check, cores, nets (default: these three), and tune: try tiles, for saga_mm/ops/triton/launch.py',
    )
    parser.add_argument('--tokens', default='', metavar='N,...', help='tokens of an image (default: 4096 to 1048576)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark_gpu'), metavar='DIR', help='results')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from benchmarks.gpu.cores import TOKENS
    from benchmarks.gpu.run import run

    counts = args.tokens.split(',') if args.tokens else []
    if not all(count.isdecimal() and int(count) > 0 for count in counts):
        raise SagaError(f'--tokens {args.tokens}: give whole numbers above 0, such as 4096,65536')
    tokens = tuple(map(int, counts)) or TOKENS
    sys.exit(run([part.strip() for part in args.parts.split(',')], args.out, tokens))


if __name__ == '__main__':
    run_tool(main, 'Interrupted; what was measured is written.')
