"""Measure how fast a video in low light is enhanced, where the time goes, and how much it flickers.

usage: python tools/benchmark_video.py [--size 720 1280] [--arch tiny | --weights base] [--device cpu]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from saga_mm.cli.run import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Frames a second from video file to video file, the shares of decoding, enhancing and encoding, '
        'and the flicker of a static scene with noise: carried from frame to frame against frame by frame.',
        epilog='OMP_NUM_THREADS sets threads.',
    )
    parser.add_argument(
        '--size', type=int, nargs=2, default=(720, 1280), metavar=('H', 'W'), help='of frames (default: 720 1280)'
    )
    parser.add_argument('--frames', type=int, default=12, metavar='N', help='to time (default: 12)')
    parser.add_argument('--arch', default='tiny', help='trunk with random weights: tiny or base (default: tiny)')
    parser.add_argument(
        '--weights',
        metavar='NAME',
        help='instead: weights that come with the package, or a file; only these have a flicker that says something',
    )
    parser.add_argument('--device', help='cpu, cuda:1, ... (default: a GPU if there is one)')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/video'),
        metavar='DIR',
        help='for video.json and video.md (default: work_dirs/video)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from benchmarks.video_report import report_video

    report_video(tuple(args.size), args.frames, args.arch, args.weights, args.device, args.out)


if __name__ == '__main__':
    run_tool(main)
