"""Measure time and memory of attention, backbones, whole models and enhancers beside their baselines, in one run.

usage: python tools/benchmark.py {op,backbone,model,enhancer,video} [--sizes 512,640,1280] [--backward] [--compile]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from saga_mm.cli.run import run_tool
from saga_mm.errors import SagaError

# options that go with `video`; the others are refused
VIDEO = ('layer', 'sizes', 'device', 'only', 'repeats', 'threads', 'out')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time and memory beside baselines: first correctness, then times in turns, then peaks of memory.',
        epilog='Ctrl-C writes what has been measured. Exit status 1: a subject computes something else than it should.',
    )
    parser.add_argument('layer', choices=('op', 'backbone', 'model', 'enhancer', 'video'), help='what is measured')
    parser.add_argument('--sizes', default='', metavar='N|HxW,...', help='image sizes in pixels, such as 640,480x1280')
    parser.add_argument('--batch', type=int, default=1, metavar='N', help='images (default: 1)')
    parser.add_argument('--dtype', default='float32', help='float32 (default), bfloat16 or float16')
    parser.add_argument('--device', default='cpu', help='cpu (default) or cuda')
    parser.add_argument('--backward', action='store_true', help='forward and backward in training mode')
    parser.add_argument('--compile', action='store_true', help='compiled variants beside eager ones')
    parser.add_argument(
        '--only',
        default='',
        metavar='A,B,...',
        help='subjects; mixers may have options: a:key=value; of video: weights, by name or file (default: tiny)',
    )
    parser.add_argument('--hosts', default='pvt_tiny', metavar='A,B,...', help='backbones (default: pvt_tiny)')
    parser.add_argument('--stages', default='1,3', metavar='N,...', help="op: PVT's stages (default: 1,3)")
    parser.add_argument(
        '--repeats', type=int, default=5, metavar='N', help='least number of runs (default: 5); of video: frames'
    )
    parser.add_argument('--min-seconds', type=float, default=2.0, metavar='S', help='least time for each (default: 2)')
    parser.add_argument('--threads', type=int, metavar='N', help="of the CPU (default: PyTorch's own choice)")
    parser.add_argument('--no-memory', dest='memory', action='store_false', help='do not measure peaks of memory')
    parser.add_argument('--trace', action='store_true', help='run nothing: live bytes by trace, for any size')
    parser.add_argument('--out', type=Path, metavar='DIR', help='results (default: work_dirs/benchmark/LAYER)')
    args = parser.parse_args()
    if args.layer == 'video':
        given = [key for key in vars(args) if key not in VIDEO and getattr(args, key) != parser.get_default(key)]
        if given:
            option = 'no-memory' if given[0] == 'memory' else given[0].replace('_', '-')
            raise SagaError(f'--{option}: does not go with video; leave it out')
    return args


def main() -> None:
    args = parse_args()

    if args.layer == 'video':
        from benchmarks.options import parse_sizes
        from benchmarks.video_report import report_video

        size, *others = parse_sizes(args.sizes or '720x1280')
        if others:
            raise SagaError(f'--sizes {args.sizes}: video is measured at one size')
        out = args.out or Path('work_dirs/benchmark/video')
        report_video(size, args.repeats, args.only or 'tiny', args.device, out, args.threads)
        return

    from benchmarks.options import Options
    from benchmarks.run import run

    sys.exit(run(Options(**vars(args))))


if __name__ == '__main__':
    run_tool(main, 'Interrupted; what was measured is written.')
